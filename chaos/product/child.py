"""What runs in a forked child: the agent's or the gateway's own command, with its points armed."""

import json
import os
import sys
from pathlib import Path

import agent.cli
import gateway.cli
from agent.job.wrapper import WRAPPER
from chaos.faults.points import Role
from chaos.product.controls import AGENT_CONTROLS
from chaos.product.instrument import arm, replace_everywhere

__all__ = ["PRELOAD", "run"]

PRELOAD = ["chaos.product.child"]  #: what the server that forks has imported already: a start costs milliseconds then


def run(role: Role, argv: list[str], log: Path, plans: Path, wrapper: Path, control: str, env: dict[str, str]) -> None:
    """Become the process: a session of its own, its output in `log`, its command line `argv`; `control`: see there.

    `env`: variables that the process needs from its first instruction on (LD_PRELOAD): it is started anew then.
    """
    os.setsid()
    _redirect(log)
    os.environ |= {"COLUMNS": "200", **env}
    if env:
        arguments = [role, json.dumps(argv), str(plans), str(wrapper), control]
        os.execv(sys.executable, [sys.executable, "-m", "chaos.product.child", *arguments])  # noqa: S606 - no shell on purpose
    _become(role, argv, plans, wrapper, control)


def _become(role: Role, argv: list[str], plans: Path, wrapper: Path, control: str) -> None:
    if role == "agent" and control in AGENT_CONTROLS:
        AGENT_CONTROLS[control]()
    arm(role, plans)
    replace_everywhere(WRAPPER, wrapper)
    sys.argv = argv
    (agent.cli.main if role == "agent" else gateway.cli.main)()


def _redirect(log: Path) -> None:
    quiet = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((quiet, 0), (out, 1), (out, 2)):
        os.dup2(source, target)


if __name__ == "__main__":
    given_role, given_argv, given_plans, given_wrapper, given_control = sys.argv[1:]
    _become(
        "agent" if given_role == "agent" else "gateway", json.loads(given_argv), Path(given_plans), Path(given_wrapper),
        given_control,
    )  # fmt: skip
