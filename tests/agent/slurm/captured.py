"""Answers that a real Slurm once gave: tests/data/slurm-<version>/<name>.<exit code>.<stdout or stderr>.

A newer version's folder holds only what it says otherwise than 22.05.
"""

from pathlib import Path

from agent.slurm.shell import CommandResult

__all__ = ["OLDEST", "VERSIONS", "list_captured", "read_captured"]

_DATA = Path(__file__).parents[2] / "data"
OLDEST = "22.05"
VERSIONS = tuple(sorted(path.name.removeprefix("slurm-") for path in _DATA.glob("slurm-*")))


def read_captured(name: str, version: str = OLDEST) -> CommandResult:
    """One captured answer, of this version where it differs; a stream without a file was empty."""
    folders = (_DATA / f"slurm-{version}", _DATA / f"slurm-{OLDEST}")
    found = next((paths for folder in folders if (paths := list(folder.glob(f"{name}.*.std*")))), [])
    assert found, f"there is no captured answer {name}"
    text = {path.suffix: path.read_text(encoding="utf-8") for path in found}
    code = int(found[0].name.split(".")[-2])
    return CommandResult((name.split("-", maxsplit=1)[0],), code, text.get(".stdout", ""), text.get(".stderr", ""))


def list_captured(program: str, version: str = OLDEST) -> list[str]:
    """The names of a version's own captured answers of a program."""
    folder = _DATA / f"slurm-{version}"
    return sorted({path.name.split(".")[0] for path in folder.glob(f"{program}-*")})
