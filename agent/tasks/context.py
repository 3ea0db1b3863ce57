"""What every step of a task's way needs: the settings, the spool, the outbox, the clock, and who writes."""

from dataclasses import dataclass

from agent.settings import AgentSettings
from agent.spool.outbox import Outbox
from mltm.contract.journal_records import Author
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock

__all__ = ["TaskContext"]


@dataclass(frozen=True)
class TaskContext:
    """The same for all tasks, as long as the process lives. boot_id: this host's boot."""

    settings: AgentSettings
    spool: Spool
    outbox: Outbox
    clock: Clock
    author: Author
    boot_id: str
