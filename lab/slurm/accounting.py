"""The accounting half of a lab: MariaDB, slurmdbd, and the account that tasks are charged to."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from lab.errors import LabError
from lab.packages import find_program
from lab.processes import wait_until
from lab.slurm import daemons
from lab.slurm.layout import ACCOUNT, CLUSTER, DATABASE, Lab, read_user_name


def start_database(lab: Lab) -> None:
    """Make the database's folder once, start MariaDB on a socket of its own and wait for it."""
    data = _make_database(lab)
    # slurmdbd would make it, but goes on with the connection that failed for want of it, and libmariadb 11.8.9 breaks
    # such a connection: error 5027, "maximum allowed number of columns (=0)"
    init = lab.dir / "mariadb.sql"
    init.write_text(f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n", encoding="ascii")
    daemons.start(
        lab,
        "mariadbd",
        [
            "mariadbd",
            "--no-defaults",
            f"--datadir={data}",
            f"--socket={lab.mariadb_socket}",
            f"--pid-file={lab.run_dir}/mariadb.pid",
            f"--init-file={init}",
            "--skip-networking",
            # A lab's accounts may be lost in a power cut; its start should not wait for the disk.
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-log-file-size=64M",
            "--innodb-lock-wait-timeout=900",
            *_user_option(),
        ],
    )
    daemons.wait_for(lab, "mariadbd", lambda: daemons.is_listening(lab.mariadb_socket), timeout_s=60)


def _make_database(lab: Lab) -> Path:
    """Return the database's folder. It gets its name when it is whole, so an interrupted `up` leaves no half of one."""
    data, fresh = lab.dir / "mariadb", lab.dir / "mariadb.new"
    if not data.is_dir():
        shutil.rmtree(fresh, ignore_errors=True)
        options = [f"--datadir={fresh}", "--auth-root-authentication-method=normal", "--skip-test-db", *_user_option()]
        _run(lab, ["mariadb-install-db", "--no-defaults", *options])
        fresh.replace(data)
    return data


def start_slurmdbd(lab: Lab) -> None:
    """Start slurmdbd and wait until sacctmgr gets an answer from it."""
    daemons.start(lab, "slurmdbd", ["slurmdbd", "-D"], env={"MYSQL_UNIX_PORT": str(lab.mariadb_socket)})
    daemons.wait_for(lab, "slurmdbd", lambda: _has_answer(lab, "cluster"), timeout_s=60)


def add_account(lab: Lab, user: str) -> None:
    """Register the cluster, the account and the user, unless they are there."""
    _sacctmgr(lab, "add", "cluster", CLUSTER)
    _sacctmgr(lab, "add", "account", ACCOUNT, f"cluster={CLUSTER}", "description=lab", "organization=lab")
    add_user(lab, user)


def add_user(lab: Lab, user: str) -> None:
    """Let one more Unix user charge the lab's account."""
    _sacctmgr(lab, "add", "user", user, f"account={ACCOUNT}", f"defaultaccount={ACCOUNT}")
    # slurmdbd makes root a user of the account `root`; adding does not change the default of one that is there
    _sacctmgr(lab, "modify", "user", user, "set", f"defaultaccount={ACCOUNT}")


def _sacctmgr(lab: Lab, *words: str) -> None:
    done = daemons.run_client(lab, ["sacctmgr", "-i", "-Q", *words])
    if (
        done.returncode
        and "Nothing new added" not in done.stdout + done.stderr
        and "already exists" not in done.stdout + done.stderr
    ):
        raise LabError(f"sacctmgr {' '.join(words)} failed: {done.stderr or done.stdout}")


def _has_answer(lab: Lab, *what: str) -> bool:
    done = daemons.run_client(lab, ["sacctmgr", "-n", "-P", "show", *what])
    return done.returncode == 0 and (len(what) == 1 or bool(done.stdout.strip()))


def _user_option() -> list[str]:
    return [f"--user={read_user_name()}"] if os.geteuid() == 0 else []


def _run(lab: Lab, argv: list[str]) -> None:
    program = find_program(argv[0])
    if program is None:
        raise LabError(f"There is no {argv[0]} on this machine.")
    env = daemons.daemon_env(lab)
    done = subprocess.run([program, *argv[1:]], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{argv[0]} failed ({done.returncode}): {(done.stderr or done.stdout)[-800:]}")


def wait_registered(lab: Lab, *, timeout_s: float = 30) -> None:
    """Wait until slurmctld and slurmdbd know each other: before that, jobs are refused for want of an account."""

    def has_port() -> bool:
        done = daemons.run_client(lab, ["sacctmgr", "-n", "-P", "show", "cluster", "format=ControlPort"])
        return done.stdout.strip() not in ("", "0")

    started = time.monotonic()
    if not wait_until(has_port, timeout_s=timeout_s, pause_s=0.1):
        waited = time.monotonic() - started
        raise LabError(f"slurmctld has not registered with slurmdbd after {waited:.0f} s.")
