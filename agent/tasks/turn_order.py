"""In which order tasks take their turns: owner by owner, so that nobody waits for the end of another one's thousands.

A round opens a few attempts only. It knows nothing of what a turn does.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import count, zip_longest

from mltm.contract.ids import TaskId

__all__ = ["TurnOrder"]


class TurnOrder:
    """Remembers whose attempts were opened last."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._opened: dict[str, int] = {}  # by owner: how far back it was; who is not here has opened none

    def arrange(self, owners: Mapping[TaskId, str]) -> Iterator[TaskId]:
        """One task of each owner, then a second one of each; first who has waited longest since an attempt of his.

        An owner's own tasks keep their order. owners: "" for a task of which that is not known yet.
        """
        tasks: defaultdict[str, list[TaskId]] = defaultdict(list)
        for task_id, owner in owners.items():
            tasks[owner].append(task_id)
        self._opened = {owner: number for owner, number in self._opened.items() if owner in tasks}
        in_turn = sorted(tasks, key=lambda owner: self._opened.get(owner, 0))
        for round_of_all in zip_longest(*(tasks[owner] for owner in in_turn)):
            yield from (task_id for task_id in round_of_all if task_id is not None)

    def note_opened(self, owner: str) -> None:
        """An attempt of this owner's was opened: the others come first next time."""
        self._opened[owner] = next(self._numbers)
