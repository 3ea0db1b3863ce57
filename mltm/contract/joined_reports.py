"""What the reports of a task say, kept so that one more report costs the same, however many came before.

The same function as `compute_task_view`, computed step by step: any order, any repetition, the same view. Pure.
"""

from collections.abc import Mapping
from typing import Final

from mltm.contract.base_models import Message
from mltm.contract.reports import AttemptDetails, AttemptView, Report, StatusNote, TaskView
from mltm.contract.states import ORDER, Evidence, State, is_final

__all__ = ["JoinedAttempt", "JoinedTask", "Rank", "build_view", "join_attempt", "join_task", "rank_report"]

_EVIDENCE: Final = {evidence: rank for rank, evidence in enumerate(Evidence)}
_FROM_STRONGEST: Final = ("job_id", "node", "exit_code", "signal", "started_at", "ended_at", "elapsed_s")


class Rank(Message):
    """Where a report stands among the others of its task."""

    closed: bool
    evidence: Evidence
    state: State
    epoch: int
    seq: int
    identity: str  #: spool id and digest: it decides between reports that are equal otherwise

    @property
    def strength(self) -> tuple[bool, int, int, int, int, str]:
        """The total order of the protocol: closed, evidence, state, then the report's own identity."""
        return (self.closed, _EVIDENCE[self.evidence], ORDER[self.state], *self.recency)

    @property
    def recency(self) -> tuple[int, int, str]:
        """The order of notes: the latest one stands."""
        return (self.epoch, self.seq, self.identity)


class JoinedAttempt(Message):
    """What is known of one attempt, and how strong each part of it is. `top`: the strongest report."""

    top: Rank
    known: AttemptDetails
    ranks: dict[str, Rank]


class JoinedTask(Message):
    """What is known of a task beside its attempts. newest, closed: numbers of attempts; 0: there is none."""

    newest: int = 0
    closed: int = 0
    end: Rank | None = None
    taken: bool = False
    note: StatusNote | None = None
    noted: Rank | None = None

    @property
    def deciding(self) -> int:
        """The attempt that a user is shown the reason of; 0 before the first report."""
        return self.closed or self.newest


def rank_report(report: Report, digest: str) -> Rank:
    """The report's place; `digest` is that of `digest_report`."""
    return Rank(
        closed=report.closed, evidence=report.evidence, state=report.state, epoch=report.epoch, seq=report.seq,
        identity=report.spool_id + digest,
    )  # fmt: skip


def join_attempt(before: JoinedAttempt | None, report: Report, rank: Rank) -> JoinedAttempt:
    """Join one report of this attempt."""
    known = {} if before is None else before.known.model_dump(exclude_none=True)
    ranks = {} if before is None else dict(before.ranks)
    top = rank if before is None or rank.strength > before.top.strength else before.top
    if top == rank:  # Slurm's state goes with the state: of a weaker report it is older than what is shown beside it
        known |= {
            "attempt": report.attempt, "state": report.state, "message": report.message,
            "slurm_state": report.slurm_state,
        }  # fmt: skip
    for name in _FROM_STRONGEST:
        value = getattr(report, name)
        if value is not None and (name not in ranks or rank.strength > ranks[name].strength):
            known[name], ranks[name] = value, rank
    return JoinedAttempt(top=top, known=AttemptDetails.model_validate(known), ranks=ranks)


def join_task(before: JoinedTask, report: Report, rank: Rank) -> JoinedTask:
    """Join one report of this task; `join_attempt` joins what it says of its attempt."""
    is_end = report.closed and (before.end is None or rank.strength > before.end.strength)
    is_note = report.note is not None and (before.noted is None or rank.recency > before.noted.recency)
    return JoinedTask(
        newest=max(before.newest, report.attempt),
        closed=max(before.closed, report.attempt) if report.closed else before.closed,
        end=rank if is_end else before.end,
        taken=before.taken or report.taken,
        note=report.note if is_note else before.note,
        noted=rank if is_note else before.noted,
    )


def build_view(task: JoinedTask, attempts: Mapping[int, JoinedAttempt]) -> TaskView:
    """What is known of the task. Of the attempts, `task.deciding` is needed; only those that are given are shown."""
    state = State.ACCEPTED
    if task.end is not None:
        state = task.end.state
    elif task.newest:
        state = attempts[task.newest].top.state
    return TaskView(
        state=state,
        taken=task.taken,
        note=task.note if task.note is not None and not is_final(state) else StatusNote(),
        attempts=tuple(_view(attempts[number]) for number in sorted(attempts)),
    )


def _view(attempt: JoinedAttempt) -> AttemptView:
    fields = {name: getattr(attempt.known, name) for name in AttemptDetails.model_fields}
    return AttemptView(closed=attempt.top.closed, **fields)
