"""A part of a file, as it travels to the gateway."""

from dataclasses import dataclass

__all__ = ["MAX_READ_BYTES", "FileBytes", "resolve_offset"]

MAX_READ_BYTES = 8 * 1024 * 1024  #: of one read, whatever was asked for


@dataclass(frozen=True)
class FileBytes:
    """Bytes of a file from `offset` on. size: the file's, at the time of the reading. attempt: whose log it is."""

    data: bytes
    offset: int
    size: int
    attempt: int | None = None


def resolve_offset(offset: int, size: int) -> int:
    """Count a negative offset from the end."""
    return offset if offset >= 0 else max(0, size + offset)
