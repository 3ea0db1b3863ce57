"""Controls: products that lack one rule of the protocol. The harness has to see what goes wrong with each.

Only processes of chaos ever run these. A harness that calls a control clean proves nothing.
"""

from collections.abc import Callable

from agent.commands import record_command
from agent.decide import Seen, decide
from agent.observe import Observation, is_over
from agent.settings import Waits
from agent.steps import OpenAttempt, PutFence, Step
from agent.tasklog import TaskLog
from chaos.instrument import replace_everywhere
from mltm.contract.agent_api import Ack, CommandMessage

__all__ = ["AGENT_CONTROLS", "WRAPPER_CONTROLS"]

#: What takes the place of the wrapper's functions: `no-claim` starts the code whoever owns the attempt.
WRAPPER_CONTROLS = {"no-claim": "decide_claim() { :; }\ncheck_note() { :; }\n"}


def drop_fence() -> None:
    """An agent that opens the next attempt where it should fence this one first."""

    def without_fence(log: TaskLog, seen: Seen, waits: Waits) -> Step:
        step = decide(log, seen, waits)
        return OpenAttempt(step.number + 1) if isinstance(step, PutFence) else step

    replace_everywhere(decide, without_fence)


def believe_slurm() -> None:
    """An agent that takes Slurm's word for an end, without the beat."""

    def is_over_at_once(observed: Observation, *_: object) -> bool:
        return observed.ended is not None or observed.absent_polls > 0

    replace_everywhere(is_over, is_over_at_once)


def forget_cancels() -> None:
    """An agent that acknowledges a cancel and keeps it in memory only."""

    def remember(spool: object, message: CommandMessage, clock: object) -> Ack:
        return Ack(outcome="done") if message.kind == "cancel" else record_command(spool, message, clock)  # type: ignore[arg-type]

    replace_everywhere(record_command, remember)


AGENT_CONTROLS: dict[str, Callable[[], None]] = {
    "no-fence": drop_fence,
    "slurms-word": believe_slurm,
    "cancel-in-memory": forget_cancels,
}
