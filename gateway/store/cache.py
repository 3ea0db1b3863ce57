"""The index of cached pieces of cluster files; the bytes lie in the cache folder."""

from dataclasses import dataclass
from datetime import datetime

from gateway.store.models import CachedBytes
from gateway.store.moments import render_moment

__all__ = ["Piece", "add_piece", "drop_oldest", "find_piece", "find_size"]


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


def find_piece(task_id: str, file: str, attempt: int, offset: int, *, final_only: bool) -> Piece | None:
    """The piece that reaches furthest from `offset` on; a final one before others."""
    query = CachedBytes.select().where(
        CachedBytes.task_id == task_id,
        CachedBytes.file == file,
        CachedBytes.attempt == attempt,
        CachedBytes.asked <= offset,
        CachedBytes.start + CachedBytes.length > offset,
    )
    if final_only:
        query = query.where(CachedBytes.final == True)  # noqa: E712  # a Peewee expression
    order = (CachedBytes.final.desc(), (CachedBytes.start + CachedBytes.length).desc())
    row: CachedBytes | None = query.order_by(*order).first()
    return _piece(row) if row else None


def find_size(task_id: str, file: str, attempt: int) -> int | None:
    """The file's length, where a piece says that it will not grow any more."""
    row: CachedBytes | None = CachedBytes.get_or_none(
        CachedBytes.task_id == task_id,
        CachedBytes.file == file,
        CachedBytes.attempt == attempt,
        CachedBytes.final == True,  # noqa: E712  # a Peewee expression
    )
    return row.size if row else None


def _piece(row: CachedBytes) -> Piece:
    return Piece(**{name: getattr(row, name) for name in Piece.__dataclass_fields__})


def drop_oldest(max_bytes: int) -> list[Piece]:
    """Forget the oldest pieces until the rest fits; returns them, for their files to be deleted."""
    total, dropped = 0, []
    for row in list(CachedBytes.select().order_by(CachedBytes.kept_at.desc())):
        total += row.length
        if total > max_bytes:
            dropped.append(_piece(row))
            row.delete_instance()
    return dropped
