"""What is slow to make and the same every time (Debian roots, images) is kept here, outside the checkout."""

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.errors import LabError
from lab.files import locked

__all__ = ["find_cache", "make_key", "make_once", "remove_tree"]


def find_cache(environment: Mapping[str, str]) -> Path:
    """Return the folder of what is kept: MLTM_CACHE, else the place that XDG gives it."""
    chosen = environment.get("MLTM_CACHE")
    if chosen:
        return Path(chosen).resolve()
    home = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/")) / ".cache"
    return Path(home).resolve() / "ml-task-manager"


def make_key(*parts: str | bytes) -> str:
    """Return a short name for everything that a thing is made from."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def make_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Return `target`, made by `build(private path)` if it is not there. Half-built it never has that name."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    private = target.with_name(f"new-{target.name}")
    with locked(target.with_name(f".{target.name}.lock")):
        if not target.exists():
            remove_tree(private)  # of one that was killed
            build(private)
            private.rename(target)
    return target


def remove_tree(path: Path) -> None:
    """Remove a file or folder, and nothing that is mounted below it."""
    done = subprocess.run(
        ["rm", "-rf", "--one-file-system", "--", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"Cannot remove {path}: {done.stderr.strip()[-300:]}")
