"""Where each of the stand-in's programs begins: find the folder, log the call, meet the fault, do the work."""

import importlib
import sys
from pathlib import Path

from lab.standin import faults, state

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol")


def main(command: str, folder: Path) -> int:
    """Run one of Slurm's commands over the stand-in's folder; return its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        print(f"slurm-wlm {state.VERSION}")
        return 0
    state.log_call(folder, command, arguments)
    fault = faults.take_fault(folder, command) or {"mode": ""}
    if fault["mode"] == "hang":
        faults.hang(fault)
    if fault["mode"] == "error":
        faults.fail(fault, "")
    code = importlib.import_module(f"lab.standin.{command}").run(folder, arguments, fault)
    return int(code)
