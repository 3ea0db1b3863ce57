"""Times in the database: text in UTC, always with microseconds, so that text order is time order."""

from datetime import UTC, datetime

__all__ = ["parse_moment", "render_moment"]


def render_moment(moment: datetime) -> str:
    """Render an aware time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parse_moment(text: str) -> datetime:
    """Read it back."""
    return datetime.fromisoformat(text)
