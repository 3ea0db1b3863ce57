"""Secrets where others can see them: command lines, environments, logs, the database, the spool, answers."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attack.guards import replace
from attack.product import processes
from attack.product.house import PASSWORD, House, build_config, open_house
from attack.product.real_agent import RealAgent, running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_ENV_SECRET = "s3cr3t-of-the-environment"  # noqa: S105 - what is looked for


def run(trial: Trial) -> None:
    """Let a task run that has a secret variable; log in, well and badly; then look everywhere."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        code = "import pathlib, time\npathlib.Path('up').touch()\ntime.sleep(60)\n"
        task_id = house.submit("ann", build_config(env={"API_KEY": _ENV_SECRET}), code)
        for password in (PASSWORD, "a wrong password of ann"):
            form = {"username": "ann", "password": password}
            house.ask("", "POST", "/auth/login", data=form)
        up = house.spool("ann") / "tasks" / task_id / "work" / "up"
        processes.wait_until(up.exists, "the task runs")
        secrets = _list_secrets(house, agent)
        for place, data in _read_places(house, agent, task_id):
            for name, secret in secrets.items():
                is_his_own = name == "a task's variable" and place.startswith(("environment", "a file", "an answer"))
                shown = secret.encode() in data and not is_his_own
                trial.tally.count(f"{name} is in {place}" if shown else "")


def _list_secrets(house: House, agent: RealAgent) -> dict[str, str]:
    credential = json.loads(agent.credential.read_text(encoding="utf-8"))["credential"]
    tokens = {f"the token of {name}": token for name, token in house.tokens.items()}
    return {
        **tokens, "the agent's credential": credential, "the enrolment code": agent.code, "a password": PASSWORD,
        "a mistyped password": "a wrong password of ann", "a task's variable": _ENV_SECRET,
    }  # fmt: skip


def _read_places(house: House, agent: RealAgent, task_id: str) -> Iterator[tuple[str, bytes]]:
    yield from _read_processes({house.accounts[name].uid for name in ("gateway", "ann")})
    for log in (house.log, agent.log):
        yield f"log {log.name}", log.read_bytes()
    for argv in (["squeue", "--all"], ["scontrol", "show", "job"], ["sacct", "--allusers"]):
        env = {"PATH": f"{agent.standin.bin_dir}:{os.environ['PATH']}", "SLURM_CONF": str(agent.standin.slurm_conf)}
        done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60)
        yield f"what {argv[0]} tells", done.stdout + done.stderr
    for what, paths in (
        ("a file of the database", (house.home / "data").glob("gateway.sqlite*")),
        ("Slurm's", agent.standin.dir.rglob("*")),
        ("a file of the spool", house.spool("ann").rglob("*")),
    ):
        yield from ((f"{what}, {path.name}", path.read_bytes()) for path in paths if path.is_file())
    for address in (f"/v1/tasks/{task_id}", "/v1/tokens", "/v1/tasks", "/healthz", "/v1/me", "/openapi.json"):
        yield f"an answer, {address}", house.ask("ann", "GET", address).content


def _read_processes(uids: set[int]) -> Iterator[tuple[str, bytes]]:
    for folder in [path for path in Path("/proc").iterdir() if path.name.isdigit()]:
        try:
            if folder.stat().st_uid in uids:
                yield f"command line of {folder.name}", (folder / "cmdline").read_bytes()
                yield f"environment of {folder.name}", (folder / "environ").read_bytes()
        except OSError:  # it has ended
            continue


def take_guard_out() -> None:
    """A gateway that keeps tokens as they are."""
    from gateway.services import passwords

    replace(passwords, "hash_secret", lambda secret: secret)


SCENARIO = Scenario(
    threats="T7",
    tries_to="find tokens, credentials, codes and passwords in /proc, logs, database, Slurm, spool, answers",
    run=run,
    take_guard_out=take_guard_out,
    tries=1,
    control_tries=1,
)
