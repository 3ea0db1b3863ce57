"""What agents keep of a task from one process to the next, as a value. Pure: the spool room reads and writes it."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.protocol.observation import Observation, carry_over
from agent.protocol.task_report import Told

__all__ = ["Kept", "continue_observation"]


@dataclass(frozen=True)
class Kept:
    """What was observed of a task, and what was told of it."""

    observed: Observation
    told: Told = Told()  # noqa: RUF009 - frozen


def continue_observation(kept: Sequence[Kept], boot_id: str, attempt: int, now_s: float) -> Kept:
    """Go on from what was kept last of this attempt; a new observation if there is nothing."""
    fresh = Observation(boot_id=boot_id, attempt=attempt, since_s=now_s, beat_since_s=now_s)
    if not kept:
        return Kept(fresh)
    newest = kept[0]
    if newest.observed.attempt != attempt:
        return Kept(fresh, newest.told)
    if newest.observed.boot_id == boot_id:
        return newest
    return Kept(carry_over(newest.observed, boot_id, now_s), newest.told)
