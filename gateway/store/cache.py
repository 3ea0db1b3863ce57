"""The index of cached pieces of cluster files; the bytes lie in the cache folder."""

from dataclasses import dataclass
from datetime import datetime

import peewee

from gateway.store.models import CachedBytes
from gateway.store.timestamps import render_moment

__all__ = ["Piece", "add_piece", "drop_old", "find_final", "find_piece", "list_piece_ids"]


@dataclass(frozen=True)
class Piece:
    """Bytes start … start+length of a file. Between `asked` and `start` there is nothing any more."""

    piece_id: str
    task_id: str
    file: str
    attempt: int
    asked: int
    start: int
    length: int
    size: int
    final: bool


def add_piece(piece: Piece, now: datetime) -> None:
    """Note a piece whose bytes are in place."""
    CachedBytes.insert(**vars(piece), kept_at=render_moment(now)).on_conflict_replace().execute()


def find_final(task_id: str, file: str, attempt: int, offset: int) -> Piece | None:
    """Of a file that grows no more: the piece that reaches furthest from `offset` on."""
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


def find_piece(piece_id: str) -> Piece | None:
    """The piece that answered the command of this id; None where it is not there (any more)."""
    row: CachedBytes | None = CachedBytes.get_or_none(CachedBytes.piece_id == piece_id)
    return _piece(row) if row else None


def list_piece_ids() -> list[str]:
    """Whose files belong in the cache folder."""
    return [row.piece_id for row in CachedBytes.select(CachedBytes.piece_id)]


def _piece(row: CachedBytes) -> Piece:
    return Piece(**{name: getattr(row, name) for name in Piece.__dataclass_fields__})


def drop_old(max_bytes: int, asked_before: datetime) -> list[Piece]:
    """Forget pieces, and return them for their files to be deleted.

    Those of growing files, and empty ones, serve only who asked for them: they go when that was `asked_before`. Then
    go the oldest, until the rest fits.
    """
    is_for_once = (CachedBytes.final == False) | (CachedBytes.length == 0)  # noqa: E712  # a Peewee expression
    dropped = list(CachedBytes.select().where(is_for_once, CachedBytes.kept_at <= render_moment(asked_before)))
    for row in dropped:
        row.delete_instance()
    excess = (CachedBytes.select(peewee.fn.SUM(CachedBytes.length)).scalar() or 0) - max_bytes
    while excess > 0:
        dropped.append(CachedBytes.select().order_by(CachedBytes.kept_at).get())
        dropped[-1].delete_instance()
        excess -= dropped[-1].length
    return [_piece(row) for row in dropped]
