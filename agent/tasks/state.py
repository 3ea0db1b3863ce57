"""What this process keeps of one active task between two rounds. Replaced, never edited; all of it is advice."""

from dataclasses import dataclass

from agent.protocol.kept import Kept
from agent.protocol.observation import Observation
from agent.protocol.task_report import Told
from agent.slurm.request import SubmitRequest
from mltm.contract.task_config import TaskConfig

__all__ = ["Submission", "TaskState"]


@dataclass(frozen=True)
class Submission:
    """An attempt whose files are written, and which waits for its sbatch."""

    number: int
    request: SubmitRequest


@dataclass(frozen=True)
class TaskState:
    """A new process starts without and goes on the same. Times are seconds of this host's boot clock."""

    listing: tuple[str, ...] = ()  #: the names in control/ when it was last looked at; (): look again
    synced: tuple[object, ...] = ()  #: the deciding records that were made durable here before anything rested on them
    due_s: float = 0.0
    needs_poll: bool = False
    observed: Observation | None = None
    told: Told = Told()  # noqa: RUF009 - frozen
    kept: Kept | None = None  #: what the spool has of `observed` and `told`
    owner: str = ""  #: "" while its manifest was not read
    config: TaskConfig | None = None
    refusal: str | None = None  #: why this site will not run it
    may_submit: int = 0  #: the attempt whose intent this process won and for which it has not called sbatch
    is_submitted: bool = False  #: Slurm may know something about it
    is_unclaimed: bool = False
    submission: Submission | None = None
