"""Looks at one drop (a config and its files, or a folder of them) and says what it is. Reads only."""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.bundle import BadSourceError, open_folder, open_source, read_small
from agent.drop_watch import Print, is_unfinished_name
from mltm.contract.manifest import check_file_name
from mltm.contract.names import ENTRYPOINT, RECEIPT_SUFFIX
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, parse_config, read_json_object
from mltm.contract.task_config import TaskConfig

__all__ = ["CHECKSUMS", "READY_SUFFIX", "DropView", "Fault", "is_candidate", "look_into", "matches_checksums"]

CHECKSUMS = "MANIFEST.sha256"
READY_SUFFIX = ".ready"
_MOST_FILES = 1000
_MAX_CHECKSUM_BYTES = 1024 * 1024
FaultKind = Literal["unfinished", "wrong"]


@dataclass(frozen=True)
class Fault:
    """Why a drop cannot become a task. unfinished: more may still arrive; wrong: it is there, and not right."""

    kind: FaultKind
    words: str


@dataclass(frozen=True)
class DropView:
    """One look. `names`: the files that become the task's, by their names in the source."""

    seen: Print
    config_name: str = ""
    config: TaskConfig | None = None
    script: str = ""
    names: tuple[str, ...] = ()
    fault: Fault | None = None


def is_candidate(name: str, *, is_folder: bool) -> bool:
    """True for a name in drop/ that may be a drop: a folder, or a config."""
    if is_unfinished_name(name) or name.lower().endswith(RECEIPT_SUFFIX):
        return False
    return is_folder or name.lower().endswith(".json")


def look_into(folder: Path, names: Sequence[str] | None, config_name: str | None) -> DropView:
    """Look at a drop in `folder`: its one config `config_name`, or the folder's own. Raises OSError.

    `names`: where given, only these count (a drop of single files lies among others).
    """
    uid = os.geteuid()
    with open_folder(folder) as descriptor:
        listed = sorted(os.listdir(descriptor))  # noqa: PTH208 - a descriptor, not a path
        whole = names is None
        chosen = listed if whole else [name for name in listed if name in (names or ())]
        try:
            name = config_name if config_name is not None else _find_config(chosen)
            raw = read_small(descriptor, name, MAX_CONFIG_BYTES, own_uid=uid)
        except BadSourceError as error:
            return DropView(_print(descriptor, chosen), fault=Fault("wrong", str(error)))
        except FileNotFoundError:
            return DropView(_print(descriptor, chosen), fault=Fault("unfinished", "Its config is not there."))
        config, fault = _parse(raw)
        if config is None:
            return DropView(_print(descriptor, chosen), config_name=name, fault=fault)
        if not whole and config.script in listed:
            chosen = sorted({*chosen, config.script})
        view = DropView(_print(descriptor, chosen), config_name=name, config=config, script=config.script)
        return _check_files(descriptor, view, [n for n in chosen if n != name], uid)


def _find_config(listed: Sequence[str]) -> str:
    configs = [n for n in listed if n.lower().endswith(".json") and not is_unfinished_name(n)]
    named = [n for n in configs if n == "config.json"] or configs
    if not named:
        raise FileNotFoundError
    if len(named) > 1:
        raise BadSourceError(
            f"There are {len(named)} configs ({', '.join(map(ascii, named[:3]))} …): "
            "one is needed, or one that is called config.json."
        )
    return named[0]


def _parse(raw: bytes) -> tuple[TaskConfig | None, Fault | None]:
    try:
        read_json_object(raw)
    except ConfigError as error:
        return None, Fault("unfinished", str(error))
    try:
        return parse_config(raw), None
    except ConfigError as error:
        return None, Fault("wrong", str(error))


def _check_files(descriptor: int, view: DropView, others: Sequence[str], uid: int) -> DropView:
    wanted = [n for n in others if not is_unfinished_name(n) and n != CHECKSUMS and not n.endswith(READY_SUFFIX)]
    fault = None
    if len(wanted) > _MOST_FILES:
        fault = Fault("wrong", f"It has {len(wanted):,} files; at most {_MOST_FILES:,} are taken.")
    elif view.script not in wanted:
        fault = Fault("unfinished", f"Its script {view.script!a} is not there.")
    else:
        fault = next((f for n in wanted if (f := _check_file(descriptor, n, view.script, uid)) is not None), None)
    return DropView(view.seen, view.config_name, view.config, view.script, tuple(wanted), fault)


def _check_file(descriptor: int, name: str, script: str, uid: int) -> Fault | None:
    try:
        check_file_name(name)
        if name == ENTRYPOINT and script != ENTRYPOINT:
            return Fault("wrong", f"{ENTRYPOINT} is the name that the script gets; call this file otherwise.")
        with open_source(descriptor, name, own_uid=uid) as source:
            if name == script and os.fstat(source).st_size == 0:
                return Fault("unfinished", f"Its script {name!a} is empty.")
    except (BadSourceError, ValueError) as error:
        return Fault("wrong", str(error))
    except FileNotFoundError:
        return Fault("unfinished", f"{name!a} has gone away.")
    return None


def _print(descriptor: int, names: Sequence[str]) -> Print:
    return tuple(_stat(descriptor, name) for name in names)


def _stat(descriptor: int, name: str) -> tuple[str, int, int, int]:
    try:
        seen = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return (name, -1, 0, 0)
    size = seen.st_size if stat.S_ISREG(seen.st_mode) else -1
    return (name, size, seen.st_mtime_ns, seen.st_ctime_ns)


def matches_checksums(folder: Path, names: Sequence[str]) -> bool:
    """True where the folder's MANIFEST.sha256 (as sha256sum writes it) lists every one of `names`, and all match."""
    uid = os.geteuid()
    try:
        with open_folder(folder) as descriptor:
            text = read_small(descriptor, CHECKSUMS, _MAX_CHECKSUM_BYTES, own_uid=uid).decode(errors="replace")
            listed = dict(_split_line(line) for line in text.splitlines() if len(line) > 66)
            return bool(names) and all(listed.get(n) == _hash(descriptor, n, uid) for n in names)
    except (OSError, BadSourceError):
        return False


def _split_line(line: str) -> tuple[str, str]:
    return line[66:].removeprefix("./"), line[:64].lower()


def _hash(descriptor: int, name: str, uid: int) -> str:
    with open_source(descriptor, name, own_uid=uid) as source:
        digest = hashlib.sha256()
        read: Callable[[], bytes] = lambda: os.read(source, 1024 * 1024)  # noqa: E731
        for block in iter(read, b""):
            digest.update(block)
        return digest.hexdigest()
