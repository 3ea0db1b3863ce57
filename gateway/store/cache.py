"""The index of cached pieces of cluster files; the bytes lie in the cache folder."""

from dataclasses import dataclass
from datetime import datetime

import peewee

from gateway.store.commands import close_answered
from gateway.store.damaged import read_state
from gateway.store.models import Attempt, CachedBytes, Task, render_timestamp
from gateway.values import AgentIdentity
from mltm.contract.states import is_final

__all__ = ["CachedPiece", "add_answer", "drop_old", "find_final", "find_last_attempt", "find_piece", "list_piece_ids"]


@dataclass(frozen=True)
class CachedPiece:
    """Bytes start … start+length of a file. The bytes between `asked` and `start` no longer exist.

    attempt: whose log it is; 0: an output, or a log of which the agent did not say it.
    """

    piece_id: str
    task_id: str
    file: str
    attempt: int
    asked: int
    start: int
    length: int
    size: int
    final: bool


def add_answer(agent: AgentIdentity, piece: CachedPiece, now: datetime) -> None:
    """Add a piece whose bytes are in place, and close the command that asked for it. Raises NotFoundError."""
    CachedBytes.insert(**vars(piece), kept_at=render_timestamp(now)).on_conflict_replace().execute()
    close_answered(agent, piece.piece_id, now)


def find_final(task_id: str, file: str, attempt: int, offset: int) -> CachedPiece | None:
    """Of a file that no longer grows: the piece that reaches furthest from `offset` on."""
    query = CachedBytes.select().where(
        CachedBytes.task_id == task_id,
        CachedBytes.file == file,
        CachedBytes.attempt == attempt,
        CachedBytes.asked <= offset,
        CachedBytes.start + CachedBytes.length > offset,
        CachedBytes.final == True,  # noqa: E712  # a Peewee expression
    )
    row: CachedBytes | None = query.order_by((CachedBytes.start + CachedBytes.length).desc()).first()
    return _piece(row) if row else None


def find_last_attempt(task_id: str) -> int | None:
    """The last attempt of a task that has ended; None while there may be another one, whose log is a new file."""
    row: Task | None = Task.get_or_none(Task.task_id == task_id)
    if row is None or not is_final(read_state(row.state)):
        return None
    last: int | None = Attempt.select(peewee.fn.MAX(Attempt.attempt)).where(Attempt.task_id == task_id).scalar()
    return last


def find_piece(piece_id: str) -> CachedPiece | None:
    """The piece that answered the command of this id; None if there is none."""
    row: CachedBytes | None = CachedBytes.get_or_none(CachedBytes.piece_id == piece_id)
    return _piece(row) if row else None


def list_piece_ids() -> list[str]:
    """The names of the files that belong in the cache folder."""
    return [row.piece_id for row in CachedBytes.select(CachedBytes.piece_id)]


def _piece(row: CachedBytes) -> CachedPiece:
    return CachedPiece(**{name: getattr(row, name) for name in CachedPiece.__dataclass_fields__})


def drop_old(max_bytes: int, asked_before: datetime) -> list[CachedPiece]:
    """Remove rows of pieces, and return them, so that the caller deletes their files.

    Pieces of growing files, and empty pieces, serve one reader only: they go if they were asked for before
    `asked_before`. Then the oldest go, until the rest fits into `max_bytes`.
    """
    is_for_once = (CachedBytes.final == False) | (CachedBytes.length == 0)  # noqa: E712  # a Peewee expression
    dropped = list(CachedBytes.select().where(is_for_once, CachedBytes.kept_at <= render_timestamp(asked_before)))
    for row in dropped:
        row.delete_instance()
    excess = (CachedBytes.select(peewee.fn.SUM(CachedBytes.length)).scalar() or 0) - max_bytes
    while excess > 0:
        dropped.append(CachedBytes.select().order_by(CachedBytes.kept_at).get())
        dropped[-1].delete_instance()
        excess -= dropped[-1].length
    return [_piece(row) for row in dropped]
