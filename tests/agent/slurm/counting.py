"""Slurm's own programs, with a script before each that writes down that it was called."""

import shutil
from collections import Counter
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")


def build_counters(folder: Path) -> Path:
    """Make the folder that goes before PATH."""
    programs = folder / "counted"
    programs.mkdir()
    for command in COMMANDS:
        path = programs / command
        path.write_text(f'#!/bin/sh\necho {command} >>"{folder}/calls"\nexec "{shutil.which(command)}" "$@"\n')
        path.chmod(0o755)
    return programs


def read_counts(folder: Path) -> Counter[str]:
    """How often each was called."""
    calls = folder / "calls"
    return Counter(calls.read_text().split() if calls.exists() else ())
