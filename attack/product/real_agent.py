"""A real agent as a process of its owner's account, on a stand-in for Slurm that this account owns."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attack.accounts import give
from attack.product import processes
from attack.product.house import CLUSTER, House
from lab.standin.control import Standin, running_standin

__all__ = ["RealAgent", "running_agent"]

_WAITS = """
[waits]
rescan_s = 1
glance_s = 0.2
poll_soon_s = 0.5
faulty_look_s = 0.5
drop_quiet_s = 0.5
drop_look_s = 0.2
drop_give_up_s = 2
heartbeat_s = 2
beat_every_s = 0.5
[slurm]
poll_interval_s = 1
sbatch_bucket = { burst = 50, per_second = 50 }
query_bucket = { burst = 50, per_second = 5 }
"""


@dataclass(frozen=True)
class RealAgent:
    """Where it keeps its things, and its Slurm."""

    home: Path
    log: Path
    standin: Standin
    code: str
    pid: int

    @property
    def credential(self) -> Path:
        """The file with its credential."""
        return self.home / "credential"


@contextlib.contextmanager
def running_agent(house: House, name: str, *, is_shared: bool = False) -> Iterator[RealAgent]:
    """Enrol the agent of a user, and let it run for a `with` block. Its images are this Python, without a container.

    is_shared: it is enrolled for the tasks of all users.
    """
    account, home = house.accounts[name], house.folder / name
    with running_standin(house.folder / f"slurm-{name}", accounting=False, kill_wait_s=1) as standin:
        for path in (standin.dir, *standin.dir.rglob("*")):
            os.chown(path, account.uid, account.uid)
        config = home / "agent.toml"
        config.write_text(_render_config(house, name, standin), encoding="utf-8")
        give(config, account, 0o600)
        code = house.make_codes(
            [*(["--shared"] if is_shared else ["--owner", name]), "--inbox", str(house.inbox(name))]
        )[0]
        options = ["--config", str(config)]
        processes.call(
            account, house.guard, ["agent", "enroll", *options, "--code-stdin"], home=home, stdin=f"{code}\n"
        )
        log = house.folder / f"agent-{name}.log"
        process = processes.start(account, house.guard, ["agent", "run", *options], home=home, log=log)
        try:
            yield RealAgent(home, log, standin, code, process.pid)
        finally:
            processes.end(process)


def _render_config(house: House, name: str, standin: Standin) -> str:
    lines = [
        f'spool = "{house.spool(name)}"', f'inbox = "{house.inbox(name)}"', f'cluster = "{CLUSTER}"',
        f'gateway_url = "{house.url}"',
        f'credential_file = "{house.folder / name}/credential"', 'runtime = "none"', 'observer = "polling"',
        f'images = {{ image = "{sys.executable}" }}', _WAITS,
        f'conf = "{standin.slurm_conf}"', f'path = "{standin.bin_dir}"',
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
