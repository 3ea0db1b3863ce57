"""Why a task cannot be launched here, in words for its owner."""

from dataclasses import dataclass

__all__ = ["Refusal"]


@dataclass(frozen=True)
class Refusal:
    """`field`: what in the task's config it is about. `permanent`: trying again later cannot help."""

    message: str
    field: str
    permanent: bool
