"""One line of what `mltm-agent check` says."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """grade: at `FAIL` the agent stops or loses tasks. message: what is wrong, and what to do."""

    grade: Literal["ok", "warn", "FAIL"]
    what: str
    message: str = ""
