"""Reads one drop (a config and its script, or a folder) and says what is in it, and what is wrong. Changes nothing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from agent.intake.drop_checksums import CHECKSUMS
from agent.intake.private_copy import BadSourceError, open_source, read_small
from agent.intake.quiet_time import is_unfinished_name
from agent.spool.file_stamp import Stamps, read_stamp, read_stamps
from mltm.contract.base_models import JsonObject
from mltm.contract.manifest import FILE_NAME, check_file_name
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, parse_config, read_json_object
from mltm.contract.spool_layout import ENTRYPOINT, RECEIPT_SUFFIX
from mltm.contract.task_config import TaskConfig, check_json
from mltm.runtime.hostile_files import Folder, list_names, open_folder_below

__all__ = [
    "READY_SUFFIX",
    "DropContents",
    "DropSource",
    "Fault",
    "build_source",
    "find_source",
    "is_candidate",
    "is_unchanged",
    "read_drop",
]

READY_SUFFIX = ".ready"
_MAX_FILES = 1000
FaultKind = Literal["unfinished", "wrong"]


@dataclass(frozen=True)
class Fault:
    """Why a drop cannot become a task. unfinished: the rest may still arrive. wrong: a person must correct it."""

    kind: FaultKind
    message: str


@dataclass(frozen=True)
class DropContents:
    """What one reading found. names: the files that become the task's, by their names in the source.

    shown: the config's JSON; {} if it is not JSON, or cannot be kept. script: the name that the config gives, even a
    faulty one; "" for none.
    """

    stamps: Stamps
    config_name: str = ""
    config: TaskConfig | None = None
    shown: JsonObject = field(default_factory=dict)
    script: str = ""
    names: tuple[str, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True)
class DropSource:
    """Where a drop is: a folder of its own, or a config in `folder` whose script is in `files`."""

    name: str
    folder: Path
    files: Path
    is_folder: bool


def find_source(place: Path, name: str, drop: Path) -> DropSource:
    """Find out whether `name` in `place` is a folder. The script of a single config is in `drop`."""
    path = place / name
    return build_source(place, name, drop, is_folder=path.is_dir() and not path.is_symlink())


def build_source(place: Path, name: str, drop: Path, *, is_folder: bool) -> DropSource:
    """Say where a drop is. The script stays in `drop` until it is copied, because another config may name it too."""
    path = place / name
    return DropSource(name, path, path, is_folder) if is_folder else DropSource(name, place, drop, is_folder)


def is_candidate(name: str, *, is_folder: bool) -> bool:
    """True for a name in drop/ that may be a drop: a folder, or a config."""
    if not is_folder and not name.lower().endswith(".json"):
        return False
    return not is_unfinished_name(name) and not name.lower().endswith(RECEIPT_SUFFIX)


def read_drop(source: DropSource) -> DropContents:
    """Read a drop. Names, sizes and times are read before contents, so that a later change shows. Raises OSError."""
    try:
        return _read_drop(source)
    except PermissionError as error:
        name = ascii(Path(error.filename or source.name).name)
        return DropContents((), source.name, fault=Fault("unfinished", f"The agent's user may not read {name}."))


def is_unchanged(drop: Folder, before: DropContents) -> bool:
    """True if a single config in drop/ (an open folder) and its script have the sizes and times that they had.

    Much cheaper than reading them, and there may be thousands. A change within one tick of the file system's clock does
    not show: only trust it if the times had not changed for a while when they were read. Raises OSError.
    """
    return bool(before.stamps) and read_stamps(drop, [stamp.name for stamp in before.stamps]) == before.stamps


def _read_drop(source: DropSource) -> DropContents:
    with (
        open_folder_below(source.folder.parent, [source.folder.name]) as folder,
        open_folder_below(source.files.parent, [source.files.name]) as others,
    ):
        if source.is_folder:
            return _read_folder(folder)
        contents = _read_config(folder, source.name, read_stamps(folder, [source.name]))
        script = contents.script
        if script in {"", source.name}:
            return _check_files(others, contents, [])
        stamp = read_stamp(others, script)
        is_there = stamp.ctime_ns != 0
        return _check_files(others, replace(contents, stamps=(*contents.stamps, stamp)), [script] if is_there else [])


def _read_folder(folder: Folder) -> DropContents:
    listed = sorted(list_names(folder))
    stamps = read_stamps(folder, listed)
    try:
        name = _find_config(listed)
    except BadSourceError as error:
        return DropContents(stamps, fault=Fault("wrong", str(error)))
    except FileNotFoundError:
        return DropContents(stamps, fault=Fault("unfinished", "The config is missing."))
    return _check_files(folder, _read_config(folder, name, stamps), [n for n in listed if n != name])


def _find_config(listed: Sequence[str]) -> str:
    configs = [n for n in listed if n.lower().endswith(".json") and not is_unfinished_name(n)]
    named = [n for n in configs if n == "config.json"] or configs
    if not named:
        raise FileNotFoundError
    if len(named) > 1:
        raise BadSourceError(
            f"There are {len(named)} configs ({', '.join(map(ascii, named[:3]))} …). "
            "Keep one, or call one of them config.json."
        )
    return named[0]


def _read_config(folder: Folder, name: str, stamps: Stamps) -> DropContents:
    try:
        raw = read_small(folder, name, MAX_CONFIG_BYTES, own_uid=os.geteuid())
    except BadSourceError as error:
        return DropContents(stamps, name, fault=Fault("wrong", str(error)))
    except FileNotFoundError:
        return DropContents(stamps, name, fault=Fault("unfinished", "The config is missing."))
    try:
        shown = read_json_object(raw)
    except ConfigError as error:
        kind: FaultKind = "wrong" if len(raw) > MAX_CONFIG_BYTES else "unfinished"
        return DropContents(stamps, name, fault=Fault(kind, str(error)))
    try:
        config = parse_config(raw)
    except ConfigError as error:
        kept = shown if _can_be_kept(shown) else {}
        return DropContents(stamps, name, None, kept, _find_script_name(shown), fault=Fault("wrong", str(error)))
    return DropContents(stamps, name, config, shown, config.script)


def _find_script_name(shown: JsonObject) -> str:
    given = shown.get("script_path") or shown.get("script_name")
    name = given.rpartition("/")[2] if isinstance(given, str) else ""
    return name if FILE_NAME.fullmatch(name) else ""


def _can_be_kept(value: JsonObject) -> bool:
    try:
        check_json(value)
    except ValueError:
        return False
    return True


def _check_files(folder: Folder, contents: DropContents, others: Sequence[str]) -> DropContents:
    if contents.config is None:
        return contents
    wanted = [n for n in others if not is_unfinished_name(n) and n != CHECKSUMS and not n.endswith(READY_SUFFIX)]
    fault = None
    if len(wanted) > _MAX_FILES:
        fault = Fault("wrong", f"It has {len(wanted):,} files. At most {_MAX_FILES:,} are allowed.")
    elif contents.script not in wanted:
        fault = Fault("unfinished", f"The script {contents.script!a} is missing. Copy it again, with its config.")
    else:
        fault = next((f for n in wanted if (f := _check_file(folder, n, contents.script)) is not None), None)
    return replace(contents, names=tuple(wanted), fault=fault)


def _check_file(folder: Folder, name: str, script: str) -> Fault | None:
    try:
        check_file_name(name)
        if name == ENTRYPOINT and script != ENTRYPOINT:
            return Fault("wrong", f"The script will be called {ENTRYPOINT}. Rename this file.")
        with open_source(folder, name, own_uid=os.geteuid()) as source:
            if name == script and os.fstat(source).st_size == 0:
                return Fault("unfinished", f"The script {name!a} is empty.")
    except (BadSourceError, ValueError) as error:
        return Fault("wrong", str(error))
    except FileNotFoundError:
        return Fault("unfinished", f"{name!a} was removed.")
    return None
