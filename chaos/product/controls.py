"""Controls: products that lack one rule of the protocol. The harness has to see what goes wrong with each.

Only processes of chaos ever run these. A harness that calls a control clean proves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.protocol.actions import Action, OpenAttempt, PutFence
from agent.protocol.decide import Situation, decide
from agent.protocol.journal import TaskJournal
from agent.protocol.observation import Observation, is_over
from agent.settings import Waits
from agent.spool.commands import record_command
from agent.spool.records import read_journal
from chaos.product.instrument import replace_everywhere
from mltm.contract.agent_api import Ack, CommandMessage
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Command
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock

__all__ = ["AGENT_CONTROLS", "WRAPPER_CONTROLS"]

#: What takes the place of the wrapper's functions: `no-claim` starts the code whoever owns the attempt.
WRAPPER_CONTROLS = {"no-claim": "decide_claim() { :; }\ncheck_note() { :; }\n"}


def drop_fence() -> None:
    """An agent that opens the next attempt where it should fence this one first."""

    def without_fence(log: TaskJournal, seen: Situation, waits: Waits) -> Action:
        step = decide(log, seen, waits)
        return OpenAttempt(step.number + 1) if isinstance(step, PutFence) else step

    replace_everywhere(decide, without_fence)


def believe_slurm() -> None:
    """An agent that takes Slurm's word for an end, without the beat."""

    def is_over_at_once(observed: Observation, *_: object) -> bool:
        return observed.ended is not None or observed.absent_polls > 0

    replace_everywhere(is_over, is_over_at_once)


def keep_cancels_in_memory() -> None:
    """An agent that acknowledges a cancel and obeys it, and has it nowhere but in its process's memory."""
    kept: dict[TaskId, Command] = {}

    def remember(spool: Spool, message: CommandMessage, clock: Clock) -> Ack:
        if message.kind != "cancel":
            return record_command(spool, message, clock)
        kept[TaskId(message.task_id)] = Command(
            kind="cancel", command_id=message.command_id, by=message.by, at=clock.now()
        )
        return Ack(outcome="done")

    def recall(spool: Spool, task_id: TaskId, names: Sequence[str] | None = None) -> TaskJournal:
        log = read_journal(spool, task_id, names)
        return replace(log, cancel=log.cancel or kept.get(task_id))

    replace_everywhere(record_command, remember)
    replace_everywhere(read_journal, recall)


AGENT_CONTROLS: dict[str, Callable[[], None]] = {
    "no-fence": drop_fence,
    "slurms-word": believe_slurm,
    "cancel-in-memory": keep_cancels_in_memory,
}
