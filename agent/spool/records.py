"""The journal on disk, which is written once: reads it, and links records into it. Decides nothing."""

import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.errors import SpoolError
from agent.protocol.journal import AttemptJournal, TaskJournal
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import (
    Amended,
    Claim,
    Closed,
    Command,
    Dup,
    Exit,
    Fence,
    Intent,
    JobClaim,
    Note,
    Refused,
    Submit,
    Submitted,
    render_record,
)
from mltm.contract.manifest import Manifest
from mltm.contract.spool_layout import Attempt, Spool, TaskFolder
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = [
    "link_amended",
    "link_fence",
    "link_intent",
    "link_note",
    "name_deciding",
    "read_journal",
    "sync_found",
    "write_submitted",
]

_Record = TypeVar("_Record", bound=BaseModel)


@cache
def _intents() -> TypeAdapter[Submit | Closed]:
    return TypeAdapter(Intent)


@cache
def _claims() -> TypeAdapter[JobClaim | Fence]:
    return TypeAdapter(Claim)


def read_journal(spool: Spool, task_id: TaskId, names: Sequence[str] | None = None) -> TaskJournal:
    """Read a task's journal. names: a listing of its control folder, if the caller has one.

    Raises OSError, and SpoolError if a deciding record is damaged (damaged advice is ignored).
    """
    folder = spool.task(task_id)
    listed = files.list_names(folder.control) if names is None else names
    attempts: list[AttemptJournal] = []
    closed: Closed | None = None
    for number in itertools.count(1):
        intent = _read_intent(folder.attempt(number))
        if intent is None:
            break
        if isinstance(intent, Closed):
            closed = intent
            break
        attempts.append(_read_attempt(folder.attempt(number), intent, listed))
    return TaskJournal(
        task_id=task_id,
        attempts=tuple(attempts),
        closed=closed,
        cancel=_read_advice(folder.cancel, Command),
        held=_is_held(listed),
        manifest=_read_advice(folder.manifest, Manifest),
        amended=_read_advice(folder.amended, Amended) if folder.amended.name in listed else None,
    )


def name_deciding(journal: TaskJournal) -> tuple[object, ...]:
    """Name the records that decide, to see later whether there is a new one."""
    last = journal.last
    found = () if last is None else (last.claim and last.claim.nonce, last.noted is not None, last.declined is not None)
    return (journal.manifest is not None, len(journal.attempts), journal.closed and journal.closed.nonce, *found)


def sync_found(spool: Spool, journal: TaskJournal, *, is_first: bool) -> None:
    """Make what was found durable, before anything depends on it: its writer may have died before it could.

    is_first: the task itself is new here, so that its folder's name in tasks/ is synced too. Raises OSError.
    """
    folder = spool.task(journal.task_id)
    files.sync_folder(folder.control)
    if journal.last is not None and journal.last.noted is not None:
        files.sync_folder(folder.notes)
    if is_first:
        files.sync_folder(folder.path)
        files.sync_folder(spool.tasks)


def link_intent(attempt: Attempt, record: Submit | Closed) -> Submit | Closed:
    """Link an intent, or read the one that is there. Returns the record that counts. Raises OSError, SpoolError."""
    decided = files.link_once(attempt.intent, render_record(record), record.nonce)
    return _parse_intent(attempt.intent, decided)


def link_fence(attempt: Attempt, record: Fence) -> JobClaim | Fence:
    """Fence an attempt, or read who owns it. Returns the record that counts. Raises OSError, SpoolError."""
    decided = files.link_once(attempt.claim, render_record(record), record.nonce)
    return _parse_claim(attempt.claim, decided)


def link_note(attempt: Attempt, claim: JobClaim, clock: Clock) -> None:
    """Note the claim out of user code's reach. Whoever was first noted the same claim. Raises OSError."""
    files.link_once(attempt.note, render_record(Note(claim=claim, at=clock.now())), clock.nonce())


def link_amended(folder: TaskFolder, record: Amended, clock: Clock) -> None:
    """Correct an end, once. Whoever was first has corrected it. Raises OSError."""
    files.link_once(folder.amended, render_record(record), clock.nonce())


def write_submitted(attempt: Attempt, record: Submitted, clock: Clock) -> None:
    """Write what Slurm answered. It is advice: the last one replaces the others. Raises OSError."""
    files.replace(attempt.submitted, render_record(record), clock.nonce())


def _read_intent(attempt: Attempt) -> Submit | Closed | None:
    raw = _read_deciding(attempt.intent)
    return None if raw is None else _parse_intent(attempt.intent, raw)


def _read_claim(attempt: Attempt, *, is_owner_known: bool) -> JobClaim | Fence | None:
    """Read a claim. A damaged one counts as missing if its note or exit record says who owned it (rule 4)."""
    try:
        raw = _read_deciding(attempt.claim)
        return None if raw is None else _parse_claim(attempt.claim, raw)
    except SpoolError:
        if is_owner_known:
            return None
        raise


def _read_deciding(path: Path) -> bytes | None:
    try:
        return files.read_bytes(path)
    except files.NoFileError as error:
        raise _unreadable(path) from error


def _read_attempt(attempt: Attempt, intent: Submit, listed: Sequence[str]) -> AttemptJournal:
    note, ended = _read_advice(attempt.note, Note), _read_advice(attempt.exit, Exit)
    control = attempt.control
    return AttemptJournal(
        number=attempt.number,
        intent=intent,
        claim=_read_claim(attempt, is_owner_known=note is not None or ended is not None),
        noted=note.claim if note else None,
        exit=ended,
        submitted=_read_advice(attempt.submitted, Submitted),
        refused=_read_all(control, listed, attempt.refused("").name, Refused),
        dups=_read_all(control, listed, attempt.dup("").name, Dup),
    )


def _parse_intent(path: Path, raw: bytes) -> Submit | Closed:
    try:
        return _intents().validate_json(raw)
    except ValidationError as error:
        raise _unreadable(path) from error


def _parse_claim(path: Path, raw: bytes) -> JobClaim | Fence:
    try:
        return _claims().validate_json(raw)
    except ValidationError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> SpoolError:
    return SpoolError(
        f"The record {path} is damaged. A person or the file system did that; this program never does.",
        next_step="Restore it from a backup of the spool, and its task goes on by itself. Do not remove or rewrite it: "
        "the task's code could start twice. Without a backup, leave it; no other task waits for it.",
    )


def _read_advice(path: Path, record_type: type[_Record]) -> _Record | None:
    try:
        raw = files.read_bytes(path)
        return None if raw is None else record_type.model_validate_json(raw)
    except (files.NoFileError, ValidationError):
        return None


def _read_all(control: Path, listed: Sequence[str], prefix: str, record_type: type[_Record]) -> tuple[_Record, ...]:
    found = (_read_advice(control / name, record_type) for name in listed if name.startswith(prefix))
    return tuple(record for record in found if record is not None)


def _is_held(listed: Sequence[str]) -> bool:
    """True if the latest of hold.<id> and release.<id> is a hold. The ids sort by time."""
    found = sorted((name.partition(".")[2], name) for name in listed if name.startswith(("hold.", "release.")))
    return bool(found) and found[-1][1].startswith("hold.")
