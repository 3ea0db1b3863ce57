"""Decides which fault, if any, befalls a call. The list is in `faults.json`; how often each was used, beside it.

{"seed": 1, "faults": [{"command": "sbatch", "mode": "forget", "count": 2, "after": 0, "probability": 0.5, …}]}
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from lab import files
from lab.standin import state

Fault = dict[str, Any]


def take_fault(folder: Path, command: str) -> Fault | None:
    """Return the first fault that befalls this call, and count it."""
    if not (folder / "faults.json").exists():
        return None
    with state.locked(folder):
        return choose_fault(folder, command)


def choose_fault(folder: Path, command: str) -> Fault | None:
    """Do the work of `take_fault` for somebody who holds the lock already."""
    path, used_path = folder / "faults.json", folder / "faults.used.json"
    if not path.exists():
        return None
    listed = json.loads(path.read_text(encoding="utf-8"))
    used = json.loads(used_path.read_text(encoding="utf-8")) if used_path.exists() else {}
    chosen = None
    for index, fault in enumerate(listed.get("faults", [])):
        if fault["command"] == command and chosen is None and _befalls(fault, used, index, listed.get("seed", 0)):
            chosen = fault
    files.write_json(used_path, used)
    return chosen


def _befalls(fault: Fault, used: dict[str, list[int]], index: int, seed: int) -> bool:
    """Count a look at this fault, and a use of it if it befalls. `used` holds [looks, uses] by index."""
    if not any(re.search(fault.get("argument", ""), word) for word in sys.argv):
        return False
    looks, uses = used.get(str(index), [0, 0])
    chance = random.Random(f"{seed}:{index}:{looks}").random()  # noqa: S311 - the same seed gives the same faults
    befalls = looks >= fault.get("after", 0) and uses < fault.get("count", sys.maxsize)
    befalls = bool(befalls and chance < fault.get("probability", 1.0))
    used[str(index)] = [looks + 1, uses + befalls]
    return befalls


def hang(fault: Fault) -> NoReturn:
    """Never answer, and have a child that holds the output open: killing only the parent does not end the wait."""
    seconds = float(fault.get("seconds", 3600))
    with subprocess.Popen(["sleep", str(seconds)]):
        time.sleep(seconds)
    sys.exit(1)


def fail(fault: Fault, default_text: str) -> NoReturn:
    """End with a text on stderr and an exit code."""
    text = fault.get("text", default_text)
    sys.stderr.write(text if text.endswith("\n") or not text else text + "\n")
    sys.exit(int(fault.get("exit_code", exit_code_of_error())))


def exit_code_of_error() -> int:
    """Return the code that Slurm's commands end with on an error."""
    return int(os.environ.get("SLURM_EXIT_ERROR", "1"))
