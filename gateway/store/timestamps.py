"""Times in the database: text in UTC, always with microseconds, so that text order is time order."""

from datetime import UTC, datetime

__all__ = ["parse_timestamp", "render_timestamp"]


def render_timestamp(time: datetime) -> str:
    """Render an aware time."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def parse_timestamp(text: str) -> datetime:
    """Read it back."""
    return datetime.fromisoformat(text)
