"""Starts the two daemons' commands, and says so if the extra that they need is not installed."""

import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

__all__ = ["read_version", "run_agent", "run_gateway"]

_OURS = ("agent", "gateway", "mltm")


def run_gateway() -> None:
    """Run `mltm-gateway`."""
    _run("gateway.cli", "mltm-gateway", "gateway")


def run_agent() -> None:
    """Run `mltm-agent`."""
    _run("agent.cli", "mltm-agent", "agent")


def read_version() -> str:
    """The installed version; "unknown" if the code runs without being installed."""
    try:
        return version("ml-task-manager")
    except PackageNotFoundError:
        return "unknown"


def _run(module: str, program: str, extra: str) -> None:
    try:
        main = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _OURS:
            raise
        _refuse(program, missing, extra)
    main()


def _refuse(program: str, missing: str, extra: str) -> NoReturn:
    if "--version" in sys.argv[1:2]:
        sys.stdout.write(f"{program} {read_version()}\n")
        raise SystemExit(0)
    sys.stderr.write(
        f"{program}: the Python package {missing} is not installed.\n"
        f"  Install the {extra} with what it needs: pip install 'ml-task-manager[{extra}]'\n"
    )
    raise SystemExit(1)
