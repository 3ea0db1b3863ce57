"""Looks at one drop (a config and its files, or a folder of them) and says what it is. Reads only."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from agent.intake.drop_checksums import CHECKSUMS
from agent.intake.private_copy import BadSourceError, open_source, read_small
from agent.intake.quiet_time import Entry, Print, is_unfinished_name
from mltm.contract.base_models import JsonObject
from mltm.contract.manifest import FILE_NAME, check_file_name
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, parse_config, read_json_object
from mltm.contract.spool_layout import ENTRYPOINT, RECEIPT_SUFFIX
from mltm.contract.task_config import TaskConfig, check_json
from mltm.runtime.hostile_files import Folder, list_names, open_folder_below, stat_at

__all__ = [
    "READY_SUFFIX",
    "DropView",
    "Fault",
    "Source",
    "find_source",
    "is_candidate",
    "is_unchanged",
    "look_into",
    "make_source",
    "read_entry",
]

READY_SUFFIX = ".ready"
_MOST_FILES = 1000
FaultKind = Literal["unfinished", "wrong"]


@dataclass(frozen=True)
class Fault:
    """Why a drop cannot become a task. unfinished: more may still arrive; wrong: it is there, and not right."""

    kind: FaultKind
    message: str


@dataclass(frozen=True)
class DropView:
    """One look. `names`: the files that become the task's, by their names in the source.

    shown: the config's JSON, as far as it can be carried; {} where it is none. script: the name that the config gives,
    even a faulty one; "" for none.
    """

    seen: Print
    config_name: str = ""
    config: TaskConfig | None = None
    shown: JsonObject = field(default_factory=dict)
    script: str = ""
    names: tuple[str, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True)
class Source:
    """Where a drop lies: a folder of its own, or a config in `folder` whose script lies in `files`."""

    name: str
    folder: Path
    files: Path
    is_folder: bool


def find_source(place: Path, name: str, drop: Path) -> Source:
    """What `name` in `place` is. The script of a single config is read in `drop`: another config may name it too."""
    path = place / name
    return make_source(place, name, drop, is_folder=path.is_dir() and not path.is_symlink())


def make_source(place: Path, name: str, drop: Path, *, is_folder: bool) -> Source:
    """What `name` in `place` is, where it is known whether it is a folder."""
    path = place / name
    return Source(name, path, path, is_folder) if is_folder else Source(name, place, drop, is_folder)


def is_candidate(name: str, *, is_folder: bool) -> bool:
    """True for a name in drop/ that may be a drop: a folder, or a config."""
    if not is_folder and not name.lower().endswith(".json"):
        return False
    return not is_unfinished_name(name) and not name.lower().endswith(RECEIPT_SUFFIX)


def look_into(source: Source) -> DropView:
    """Look at a drop. Names, sizes and times are read before contents, so that a later change shows. Raises OSError."""
    try:
        return _look_into(source)
    except PermissionError as error:
        where = ascii(Path(error.filename or source.name).name)
        return DropView((), source.name, fault=Fault("unfinished", f"The agent's user may not read {where}."))


def is_unchanged(drop: Folder, before: DropView) -> bool:
    """True where a single config in drop/ (an open folder) and its script have the sizes and times that they had.

    Much cheaper than a look, and there may be thousands. What changes within a tick of the file system's clock does not
    show: a view that was made when the times had stood still for a while holds. Raises OSError.
    """
    return bool(before.seen) and _print(drop, [name for name, *_ in before.seen]) == before.seen


def _look_into(source: Source) -> DropView:
    with (
        open_folder_below(source.folder.parent, [source.folder.name]) as folder,
        open_folder_below(source.files.parent, [source.files.name]) as others,
    ):
        if source.is_folder:
            return _look_into_folder(folder)
        view = _read_config(folder, source.name, _print(folder, [source.name]))
        script = view.script
        if script in {"", source.name}:
            return _check_files(others, view, [])
        seen = read_entry(others, script)
        return _check_files(others, replace(view, seen=(*view.seen, seen)), [script] if seen[3] else [])


def _look_into_folder(folder: Folder) -> DropView:
    listed = sorted(list_names(folder))
    seen = _print(folder, listed)
    try:
        name = _find_config(listed)
    except BadSourceError as error:
        return DropView(seen, fault=Fault("wrong", str(error)))
    except FileNotFoundError:
        return DropView(seen, fault=Fault("unfinished", "Its config is not there."))
    return _check_files(folder, _read_config(folder, name, seen), [n for n in listed if n != name])


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


def _read_config(folder: Folder, name: str, seen: Print) -> DropView:
    try:
        raw = read_small(folder, name, MAX_CONFIG_BYTES, own_uid=os.geteuid())
    except BadSourceError as error:
        return DropView(seen, name, fault=Fault("wrong", str(error)))
    except FileNotFoundError:
        return DropView(seen, name, fault=Fault("unfinished", "Its config is not there."))
    try:
        shown = read_json_object(raw)
    except ConfigError as error:
        kind: FaultKind = "wrong" if len(raw) > MAX_CONFIG_BYTES else "unfinished"
        return DropView(seen, name, fault=Fault(kind, str(error)))
    try:
        config = parse_config(raw)
    except ConfigError as error:
        carried = shown if _can_be_carried(shown) else {}
        return DropView(seen, name, None, carried, _find_script_name(shown), fault=Fault("wrong", str(error)))
    return DropView(seen, name, config, shown, config.script)


def _find_script_name(shown: JsonObject) -> str:
    given = shown.get("script_path") or shown.get("script_name")
    name = given.rpartition("/")[2] if isinstance(given, str) else ""
    return name if FILE_NAME.fullmatch(name) else ""


def _can_be_carried(value: JsonObject) -> bool:
    try:
        check_json(value)
    except ValueError:
        return False
    return True


def _check_files(folder: Folder, view: DropView, others: Sequence[str]) -> DropView:
    if view.config is None:
        return view
    wanted = [n for n in others if not is_unfinished_name(n) and n != CHECKSUMS and not n.endswith(READY_SUFFIX)]
    fault = None
    if len(wanted) > _MOST_FILES:
        fault = Fault("wrong", f"It has {len(wanted):,} files; at most {_MOST_FILES:,} are taken.")
    elif view.script not in wanted:
        fault = Fault("unfinished", f"Its script {view.script!a} is not there: copy it again, with its config.")
    else:
        fault = next((f for n in wanted if (f := _check_file(folder, n, view.script)) is not None), None)
    return replace(view, names=tuple(wanted), fault=fault)


def _check_file(folder: Folder, name: str, script: str) -> Fault | None:
    try:
        check_file_name(name)
        if name == ENTRYPOINT and script != ENTRYPOINT:
            return Fault("wrong", f"{ENTRYPOINT} is the name that the script gets; call this file otherwise.")
        with open_source(folder, name, own_uid=os.geteuid()) as source:
            if name == script and os.fstat(source).st_size == 0:
                return Fault("unfinished", f"Its script {name!a} is empty.")
    except (BadSourceError, ValueError) as error:
        return Fault("wrong", str(error))
    except FileNotFoundError:
        return Fault("unfinished", f"{name!a} has gone away.")
    return None


def _print(folder: Folder, names: Sequence[str]) -> Print:
    return tuple(read_entry(folder, name) for name in names)


def read_entry(folder: Folder, name: str) -> Entry:
    """Stat a file in an open folder, following no link; what is not there has the times 0. Raises OSError."""
    try:
        seen = stat_at(folder, name)
    except FileNotFoundError:
        return (name, -1, 0, 0)
    size = seen.st_size if stat.S_ISREG(seen.st_mode) else -1
    return (name, size, seen.st_mtime_ns, seen.st_ctime_ns)
