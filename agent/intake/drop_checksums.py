"""Checks the checksums that a dropped folder may have: MANIFEST.sha256, as sha256sum writes it. Changes nothing."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.intake.private_copy import BadSourceError, open_source, read_small
from mltm.runtime.hostile_files import Folder, list_names, open_folder_below

__all__ = ["CHECKSUMS", "find_wrong_sum", "matches_checksums"]

CHECKSUMS = "MANIFEST.sha256"
_MAX_CHECKSUM_BYTES = 1024 * 1024


def matches_checksums(folder: Path, names: Sequence[str]) -> bool:
    """True if MANIFEST.sha256 lists every one of `names`, and every file that it lists is there and right."""
    try:
        with open_folder_below(folder.parent, [folder.name]) as opened:
            listed = _read_checksums(opened)
            return bool(names) and all(n in listed for n in names) and _find_wrong(opened, listed) is None
    except (OSError, BadSourceError):
        return False


def find_wrong_sum(folder: Path) -> str | None:
    """Find the first file that is missing or differs from its line in MANIFEST.sha256. Raises OSError."""
    with open_folder_below(folder.parent, [folder.name]) as opened:
        try:
            return _find_wrong(opened, _read_checksums(opened))
        except BadSourceError:
            return CHECKSUMS


def _read_checksums(folder: Folder) -> dict[str, str]:
    try:
        raw = read_small(folder, CHECKSUMS, _MAX_CHECKSUM_BYTES, own_uid=os.geteuid())
    except FileNotFoundError:
        return {}
    return dict(_split_line(line) for line in raw.decode(errors="replace").splitlines() if len(line) > 66)


def _find_wrong(folder: Folder, listed: dict[str, str]) -> str | None:
    there = set(list_names(folder))
    missing = next((name for name in listed if name not in there), None)  # first: it costs no hashing
    return missing or next((name for name, sha256 in listed.items() if _hash(folder, name) != sha256), None)


def _split_line(line: str) -> tuple[str, str]:
    return line[66:].removeprefix("./"), line[:64].lower()


def _hash(folder: Folder, name: str) -> str:
    with open_source(folder, name, own_uid=os.geteuid()) as source:
        digest = hashlib.sha256()
        read: Callable[[], bytes] = lambda: os.read(source, 1024 * 1024)  # noqa: E731
        for block in iter(read, b""):
            digest.update(block)
        return digest.hexdigest()
