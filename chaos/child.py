"""What runs in a forked child: the agent's or the gateway's own command, with its points armed."""

import os
import sys
from pathlib import Path

import agent.cli
import gateway.cli
from agent.job.wrapper import WRAPPER
from chaos.controls import AGENT_CONTROLS
from chaos.instrument import arm, replace_everywhere
from chaos.points import Role

__all__ = ["PRELOAD", "run"]

PRELOAD = ["chaos.child"]  #: what the server that forks has imported already: a start costs milliseconds then


def run(role: Role, argv: list[str], log: Path, plans: Path, wrapper: Path, control: str, env: dict[str, str]) -> None:
    """Become the process: a session of its own, its output in `log`, its command line `argv`; `control`: see there."""
    os.setsid()
    _redirect(log)
    os.environ |= {"COLUMNS": "200", **env}
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
