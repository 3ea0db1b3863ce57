"""Answers that the lab's Slurm 22.05 once gave: tests/data/slurm-22.05/<name>.<exit code>.<stdout or stderr>."""

from pathlib import Path

from agent.shell import CommandResult

_FOLDER = Path(__file__).parents[2] / "data" / "slurm-22.05"


def read_captured(name: str) -> CommandResult:
    """One captured answer; a stream without a file was empty."""
    found = {path.suffix: path for path in _FOLDER.glob(f"{name}.*.std*")}
    assert found, f"there is no captured answer {name}"
    text = {suffix: path.read_text(encoding="utf-8") for suffix, path in found.items()}
    code = int(next(iter(found.values())).name.split(".")[-2])
    return CommandResult((name.split("-", maxsplit=1)[0],), code, text.get(".stdout", ""), text.get(".stderr", ""))


def list_captured(program: str) -> list[str]:
    """The names of all captured answers of a program."""
    return sorted({path.name.split(".")[0] for path in _FOLDER.glob(f"{program}-*")})
