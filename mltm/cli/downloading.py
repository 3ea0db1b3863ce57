"""The command get: which outputs are fetched, what happens to files that exist, and what is missing at the end."""

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mltm.cli import exit_codes
from mltm.cli.plain_text import safe_line
from mltm.cli.screen import is_agreed, print_error, print_json, print_line, print_note
from mltm.contract.problems import FieldProblem, Problem
from mltm.wire.downloads import place_inside
from mltm.wire.errors import MltmError, build_error

if TYPE_CHECKING:
    from mltm.client import Client

__all__ = ["download_outputs"]

NAMED_AT_MOST = 10
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


@dataclass
class _Fetch:
    """What `mltm get` has to do, and what became of it."""

    targets: list[tuple[str, Path]] = field(default_factory=list)
    fetched: list[dict[str, object]] = field(default_factory=list)
    missing: list[FieldProblem] = field(default_factory=list)

    def miss(self, path: str, message: str) -> None:
        """Note that a path is not fetched, and why."""
        self.missing.append(FieldProblem(field=path, allowed=message.rstrip(".")))


async def download_outputs(
    client: "Client", task_id: str, paths: Sequence[str], folder: Path, *, force: bool, as_json: bool
) -> int:
    """Download the named outputs, or all, into a folder. The name of a folder means everything in it.

    What cannot be fetched does not keep the rest from being fetched: it is named at the end, with a code of its own.
    Files that exist are overwritten only with `force`, or if a person at the terminal agrees.
    """
    known = [file.path for file in (await client.outputs(task_id)).files]
    fetch = _choose(task_id, known, paths, folder)
    _prepare(folder, [target for _, target in fetch.targets], force=force, may_ask=not as_json)
    for number, (path, target) in enumerate(fetch.targets):
        try:
            await _download_one(client, task_id, path, target, fetch)
        except BaseException:
            _tell_rest([path for path, _ in fetch.targets[number:]])
            raise
        if not as_json and fetch.fetched and fetch.fetched[-1]["path"] == path:
            print_line(safe_line(str(target)))
    return _sum_up(task_id, fetch, as_json=as_json)


def _choose(task_id: str, known: Sequence[str], paths: Sequence[str], folder: Path) -> _Fetch:
    """Find what is wanted among what there is. Raises MltmError if all that is named does not exist."""
    fetch = _Fetch()
    lacking = [wanted for wanted in paths if not any(_matches(path, wanted) for path in known)]
    if paths and len(lacking) == len(paths):
        names = ", ".join(repr(wanted) for wanted in lacking)
        raise build_error(
            "output_not_found", f"The task has no output {names}.", f"`mltm outputs {task_id}` lists them.", status=404
        )
    for wanted in lacking:
        fetch.miss(wanted, "the task has no such output")
    for path in known:
        if paths and not any(_matches(path, wanted) for wanted in paths):
            continue
        try:
            fetch.targets.append((path, place_inside(folder, path)))
        except MltmError as error:
            fetch.miss(path, error.problem.detail)
    return fetch


async def _download_one(client: "Client", task_id: str, path: str, target: Path, fetch: _Fetch) -> None:
    """Download one file, or note why not. Raises what would meet the next file, too."""
    try:
        size = await client.download(task_id, path, target)
    except MltmError as error:
        if not _is_of_one_file(error):
            raise
        fetch.miss(path, error.problem.detail)
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.errno in _OF_THE_DISK:
            raise
        fetch.miss(path, f"cannot be written to {target}: {error.strerror or error}")
    else:
        fetch.fetched.append({"path": path, "file": str(target), "size": size})


def _is_of_one_file(error: MltmError) -> bool:
    """False if the next file will meet the same: no gateway, no permission, too many requests."""
    return error.key == "connection_lost" or error.problem.status not in {0, 401, 403, 429, 502, 503, 504}


def _prepare(folder: Path, targets: Sequence[Path], *, force: bool, may_ask: bool) -> None:
    """Make the folder. Raises MltmError if files would be overwritten that nobody gave away, and OSError."""
    if targets:
        folder.mkdir(parents=True, exist_ok=True)
    existing = [str(target) for target in targets if os.path.lexists(target)]
    if force or not existing:
        return
    names = _name_some(existing)
    if may_ask and sys.stdin.isatty() and sys.stderr.isatty():
        print_note(f"These files exist: {names}.")
        if is_agreed(f"Overwrite {len(existing)} files?" if len(existing) > 1 else "Overwrite it?"):
            return
    raise build_error(
        "files_exist", f"Nothing was downloaded, because these files exist: {names}.",
        "Choose another folder with -o FOLDER, or overwrite them with --force.", status=409,
    )  # fmt: skip


def _tell_rest(rest: Sequence[str]) -> None:
    if rest:
        print_note(f"Not downloaded: {_name_some(rest)}.")


def _sum_up(task_id: str, fetch: _Fetch, *, as_json: bool) -> int:
    if as_json:
        missing = [{"path": problem.field, "message": problem.allowed} for problem in fetch.missing]
        print_json({"task_id": task_id, "files": fetch.fetched, "missing": missing})
    elif not fetch.targets and not fetch.missing:
        print_note("No outputs.")
    if not fetch.missing:
        return 0
    count, total = len(fetch.missing), len(fetch.missing) + len(fetch.fetched)
    problem = Problem(
        title="outputs missing", status=404, key="outputs_missing", fields=fetch.missing,
        detail=f"{count} of {total} outputs were not downloaded.",
        next_step=f"The others are complete. `mltm outputs {task_id}` lists what there is now.",
    )  # fmt: skip
    print_error(problem, as_json=as_json)
    return exit_codes.NOT_ALL


def _name_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_AT_MOST:,} more" if len(names) > NAMED_AT_MOST else ""
    return ", ".join(names[:NAMED_AT_MOST]) + more


def _matches(path: str, wanted: str) -> bool:
    return path == wanted or path.startswith(wanted.rstrip("/") + "/")
