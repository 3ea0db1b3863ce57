"""Finds what in the settings and on this host would let user code out of its container. Changes nothing.

What no setting can open is closed by container.py and wrapper.sh.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.errors import SettingsError
from agent.job.binds import Bind, BindError, parse_binds
from agent.job.links import is_changeable, is_replaceable
from agent.settings import AgentSettings
from mltm.contract.spool_layout import Spool
from mltm.runtime.locations import contains, overlaps, resolve

__all__ = ["NO_CONTAINER", "check_isolation", "explain_entry", "find_ways_out"]

NO_CONTAINER = (
    'Runtime "none" does not keep user code in: each task can do all that the agent\'s Unix user can. It can read '
    "the agent's credential, and change its own records and other tasks."
)
_SHARED = (
    'This agent runs the tasks of all users, so it needs a container. Set runtime = "apptainer" or "singularity", or '
    "enrol it for one user: mltm-gateway agent code --owner NAME. "
    "To let every user act as the agent's Unix user, set shared_without_container = true."
)
# Who reaches such a socket starts processes as the agent's user outside the container: jobs by munge or Slurm's own
# authentication, services by systemd and D-Bus. Below /proc/<pid>/root is the node's whole file system.
_NEVER = (
    "/proc",
    "/run/munge",
    "/run/slurm",
    "/run/slurmctld",
    "/run/slurmd",
    "/run/user",
    "/run/dbus",
    "/run/systemd",
)
# All processes of the node share them: sockets of tmux and ssh-agent, memory and files of other tasks.
_NEVER_WHOLE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - named to be refused
_KEYS = (".ssh", ".gnupg", ".config", ".aws", ".kube")


@dataclass(frozen=True)
class _Place:
    """What user code must not reach or change. what: as a sentence names it."""

    what: str
    path: Path


def check_isolation(settings: AgentSettings, environment: Mapping[str, str], *, is_shared: bool) -> None:
    """Refuse settings that let user code out of its container. Raises SettingsError, which names every way out."""
    if found := find_ways_out(settings, environment, is_shared=is_shared):
        raise SettingsError(" ".join(found), next_step="Correct the agent's config, then start again.")


def find_ways_out(settings: AgentSettings, environment: Mapping[str, str], *, is_shared: bool) -> list[str]:
    """Name each way out, in sentences that say what to change. is_shared: the agent runs the tasks of all users."""
    if settings.runtime == "none":
        is_refused = is_shared and not settings.shared_without_container
        return [f"{NO_CONTAINER} {_SHARED}"] if is_refused else []
    try:
        binds = parse_binds(settings.binds)
    except BindError as error:
        return [str(error)]
    judged = [(bind, _explain_bind(bind, binds, settings, environment)) for bind in binds]
    found = [message for _, message in judged if message]
    writable = _list_writable(settings, [bind for bind, message in judged if not message])
    places = [*_list_catalogue(settings), *_list_programs(settings, environment), *_list_own(settings, environment)]
    return found + [message for place in places if (message := _explain_place(place, writable))]


def explain_entry(path: Path, settings: AgentSettings) -> str:
    """Say where an image or a dataset leads that no task may have; "" if it may be used."""
    if settings.runtime == "none":
        return ""
    if (closed := _find_closed(path, settings)) is not None:
        return f"it leads to {closed.what} {closed.path}"
    for writable in _list_writable(settings, parse_binds(settings.binds)):
        if is_replaceable(path, writable):
            return f"it leads through {writable}, where tasks can put a link in its place"
    return ""


# --- what is wrong with a place ---------------------------------------------------------------------------------------


def _explain_bind(bind: Bind, binds: Sequence[Bind], settings: AgentSettings, environment: Mapping[str, str]) -> str:
    """Say what is wrong with a bind; "" if nothing is. All that is below its source is bound."""
    home = Path(environment.get("HOME") or "/nonexistent")
    closed = _find_closed(bind.source, settings) or _find_private(bind.source, home)
    if closed is not None:
        return f"The bind {bind.text!r} gives every task {closed.what} {closed.path}. Bind a folder without it."
    if not bind.is_writable:
        return ""
    programs = [*_list_programs(settings, environment), *_list_files(settings), *_list_hidden(bind.source, home)]
    wrong = (
        _explain_writable_catalogue(bind, settings)
        or next((f"change {each.what} {each.path}." for each in programs if is_changeable(each.path, bind.source)), "")
        or next((_explain_nested(other) for other in binds if is_replaceable(other.source, bind.source)), "")
    )
    read_only = f"Bind it read-only: {bind.source}:{bind.target}:ro."
    return f"The bind {bind.text!r} lets every task {wrong} {read_only}" if wrong else ""


def _explain_writable_catalogue(bind: Bind, settings: AgentSettings) -> str:
    found = next((place.path for place in _list_catalogue(settings) if overlaps(bind.source, place.path)), None)
    return f"write to {found}. A link put there leads a later task out of its container." if found else ""


def _explain_nested(other: Bind) -> str:
    return f"replace {other.source} by a link, and {other.text!r} leads the next task out of its container."


def _explain_place(place: _Place, writable: Sequence[Path]) -> str:
    """Say what is wrong with a path that the agent or the wrapper uses; "" if nothing is."""
    if not place.path.is_absolute():
        return f"{place.what} {str(place.path)!r} is not an absolute path. Write the whole path, from / on."
    for folder in writable:
        if is_replaceable(place.path, folder):
            return f"{place.what} {place.path} leads through {folder}, where tasks can write. Choose another place."
    return ""


# --- which places -----------------------------------------------------------------------------------------------------


def _find_closed(source: Path, settings: AgentSettings) -> _Place | None:
    """What no task may even read, if all below `source` were bound. What else a site keeps in the spool is its own."""
    place, root = resolve(source), resolve(settings.spool)
    is_own = place.is_relative_to(root) and place.relative_to(root).parts[:1] in _list_own_parts(Spool(settings.spool))
    if root.is_relative_to(place) or is_own:
        return _Place("the spool", settings.spool)
    if settings.inbox is not None and overlaps(source, settings.inbox):
        return _Place("the inbox, with the scripts of other tasks,", settings.inbox)
    if resolve(settings.credential_file).is_relative_to(place):
        return _Place("the agent's credential", settings.credential_file)
    for path, leads_to in _resolve_all(_NEVER):
        if leads_to.is_relative_to(place) or place.is_relative_to(leads_to):
            return _Place("what starts programs outside of containers,", path)
    for path, leads_to in _resolve_all(_NEVER_WHOLE):
        if leads_to.is_relative_to(place):
            return _Place("what all programs of the node share,", path)
    return None


@cache
def _resolve_all(paths: tuple[str, ...]) -> tuple[tuple[Path, Path], ...]:
    """Once, because each task asks: where the node's own folders lead does not change while the agent runs."""
    return tuple((Path(path), resolve(Path(path))) for path in paths)


def _find_private(source: Path, home: Path) -> _Place | None:
    """The home folder as a whole, or the keys in it. Other folders in it may be bound."""
    if contains(source, home):
        return _Place("the home folder of the agent's user,", home)
    keys = (home / name for name in _KEYS)
    return next((_Place("keys of the agent's user,", place) for place in keys if contains(place, source)), None)


def _list_own_parts(spool: Spool) -> set[tuple[str, ...]]:
    """The names in the spool's root that are the spool's own."""
    return {folder.relative_to(spool.root).parts[:1] for folder in (spool.inbox.root, *spool.agent_folders)}


def _list_writable(settings: AgentSettings, binds: Sequence[Bind]) -> list[Path]:
    """The folders in which user code can put names."""
    return [Spool(settings.spool).tasks, *(bind.source for bind in binds if bind.is_writable)]


def _list_catalogue(settings: AgentSettings) -> list[_Place]:
    named = [("images_dir", settings.images_dir), ("datasets_dir", settings.datasets_dir)]
    named += [(f"image {key}", path) for key, path in settings.images.items()]
    return [_Place(what, path) for what, path in named if path is not None]


def _list_programs(settings: AgentSettings, environment: Mapping[str, str]) -> list[_Place]:
    """What runs outside of containers, or says how."""
    search = f"{settings.slurm.path or ''}:{environment.get('PATH', '')}".split(":")
    places = [_Place("a folder of PATH,", Path(part)) for part in search if part.startswith("/")]
    modules = (Path(part) for part in sys.path if part.startswith("/"))
    places += [_Place("the agent's program", path) for path in (Path(__file__).parents[1], Path(sys.prefix), *modules)]
    conf = settings.slurm.conf or environment.get("SLURM_CONF")
    return [*places, _Place("slurm.conf", Path(conf))] if conf else places


def _list_files(settings: AgentSettings) -> list[_Place]:
    """What the agent reads beside its programs, wherever it was started."""
    named = [("the agent's config file", settings.file), ("ca_file", settings.ca_file)]
    return [_Place(what, path.absolute()) for what, path in named if path is not None]


def _list_own(settings: AgentSettings, environment: Mapping[str, str]) -> list[_Place]:
    """What no bind may hold, so that only a link on the way to it could be changed."""
    named = [("the spool", settings.spool), ("credential_file", settings.credential_file)]
    named += [("the home folder", Path(environment.get("HOME") or "/"))]
    return [*_list_files(settings), *(_Place(what, path.absolute()) for what, path in named)]


def _list_hidden(source: Path, home: Path) -> list[_Place]:
    """Where programs of the agent's user keep their settings: what is hidden in the home folder, caches apart."""
    resolved = source.resolve()
    if not resolved.is_relative_to(home.resolve()):
        return []
    first = resolved.relative_to(home.resolve()).parts[0]
    return [_Place("settings of the agent's user,", resolved)] if first[0] == "." and first != ".cache" else []
