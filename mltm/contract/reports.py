"""Reports of agents, and what a set of them says about a task.

A task's state is a pure function of the *set* of its reports: any order, any repetition, any two agents, the
same row (protocol: "Reports and commands"). Nothing else may compute a task's state.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import Field, StrictBool

from mltm.contract.base_models import MAX_INT64, Explained, Integer, Timestamp, render_canonical
from mltm.contract.limits import Code, JobIdText, Line, MessageText, Seconds, fit_json
from mltm.contract.manifest import Manifest
from mltm.contract.states import ORDER, Evidence, State, is_final

__all__ = [
    "OPTIONAL_DETAILS",
    "AttemptDetails",
    "AttemptView",
    "NoteKind",
    "Report",
    "ReportContent",
    "StatusNote",
    "TaskView",
    "compute_task_view",
    "digest_report",
    "parse_details",
]

_T = TypeVar("_T")
NoteKind = Literal["", "paused", "held", "waiting_for_slurm", "waiting_for_limit", "attention"]
_EVIDENCE = {evidence: rank for rank, evidence in enumerate(Evidence)}


class StatusNote(Explained):
    """What stands beside the state, without being one. An empty kind takes the former note back."""

    kind: NoteKind = ""
    message: MessageText = ""


class AttemptDetails(Explained):
    """Where an attempt stands, as agents report it and users are shown it."""

    attempt: Integer = Field(ge=1, le=MAX_INT64)
    state: State
    message: MessageText = ""  #: the reason, for people
    job_id: JobIdText | None = None
    node: Line | None = None
    slurm_state: Line | None = None
    exit_code: Code | None = None
    signal: Code | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    elapsed_s: Seconds | None = None


OPTIONAL_DETAILS: Final = frozenset(AttemptDetails.model_fields) - {"attempt", "state", "message"}
_D = TypeVar("_D", bound=AttemptDetails)


def parse_details(shape: type[_D], raw: str | bytes) -> _D:
    """Read kept JSON, of any version: a detail that does not fit is left out and named. Raises ValidationError."""
    return fit_json(shape, raw, OPTIONAL_DETAILS)


class ReportContent(AttemptDetails):
    """What a report says, whatever its identity."""

    task_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    evidence: Evidence
    closed: StrictBool = False  #: true if it repeats a closed record: the task's end
    note: StatusNote | None = None
    taken: StrictBool = False  #: the agent has its own copy; the gateway may remove its entry
    manifest: Manifest | None = None  #: of a dropped task: the gateway makes the row from it


class Report(ReportContent):
    """One event of an agent. Identified by (spool_id, epoch, seq); the same identity has the same content for ever."""

    spool_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    epoch: Integer = Field(ge=1, le=MAX_INT64)
    seq: Integer = Field(ge=1, le=MAX_INT64)
    at: Timestamp


def digest_report(report: Report) -> str:
    """SHA-256 (hex) of a report's content, the same on both sides and in every version that knows its fields."""
    fields = report.model_dump(mode="json", exclude_defaults=True, exclude={"manifest": {"config"}})
    if report.manifest is not None:  # it is JSON already, and may be large
        fields["manifest"]["config"] = report.manifest.config
    for part in (fields, fields.get("note")):  # version 0.1 called it `words`: one report has one digest, for ever
        if isinstance(part, dict) and "message" in part:
            part["words"] = part.pop("message")
    return hashlib.sha256(render_canonical(fields)).hexdigest()


@dataclass(frozen=True)
class AttemptView:
    """What is known of one attempt. Each detail comes from the strongest report that has it, but for Slurm's state.

    That is of the report that gives the state: a succeeded attempt must not show the PENDING of an early poll.
    """

    attempt: int
    state: State
    closed: bool
    job_id: str | None
    node: str | None
    slurm_state: str | None
    exit_code: int | None
    signal: int | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    elapsed_s: float | None
    message: str


@dataclass(frozen=True)
class TaskView:
    """What is known of a task."""

    state: State
    taken: bool
    note: StatusNote
    attempts: tuple[AttemptView, ...]

    @property
    def last(self) -> AttemptView | None:
        """The attempt that decides: the closed one, else the newest."""
        closed = [attempt for attempt in self.attempts if attempt.closed]
        return closed[-1] if closed else (self.attempts[-1] if self.attempts else None)


def compute_task_view(reports: Iterable[Report]) -> TaskView:
    """Compute what a set of reports (of one task) says. No report: the gateway has it, and nobody else yet."""
    known = list(reports)
    numbers = sorted({report.attempt for report in known})
    attempts = tuple(_view_attempt(n, [r for r in known if r.attempt == n]) for n in numbers)
    ends = [r for r in known if r.closed]
    deciding = ends or [r for r in known if r.attempt == numbers[-1]] if numbers else []
    state = max(deciding, key=_strength).state if deciding else State.ACCEPTED
    noted = [r for r in known if r.note is not None]
    note = max(noted, key=_recency).note if noted else None
    return TaskView(
        state=state,
        taken=any(r.taken for r in known),
        note=note if note is not None and not is_final(state) else StatusNote(),
        attempts=attempts,
    )


def _strength(report: Report) -> tuple[bool, int, int, int, int, str]:
    """The total order of the protocol (closed, evidence, state); ties end with the report's own identity."""
    return (report.closed, _EVIDENCE[report.evidence], ORDER[report.state], *_recency(report))


def _recency(report: Report) -> tuple[int, int, str]:
    return (report.epoch, report.seq, report.spool_id + digest_report(report))


def _view_attempt(number: int, reports: list[Report]) -> AttemptView:
    ranked = sorted(reports, key=_strength, reverse=True)

    def strongest(pick: Callable[[Report], _T | None]) -> _T | None:
        return next((value for report in ranked if (value := pick(report)) is not None), None)

    return AttemptView(
        attempt=number,
        state=ranked[0].state,
        closed=ranked[0].closed,
        job_id=strongest(lambda r: r.job_id),
        node=strongest(lambda r: r.node),
        slurm_state=ranked[0].slurm_state,  # of a weaker report it is older than what is shown beside it
        exit_code=strongest(lambda r: r.exit_code),
        signal=strongest(lambda r: r.signal),
        started_at=strongest(lambda r: r.started_at),
        ended_at=strongest(lambda r: r.ended_at),
        elapsed_s=strongest(lambda r: r.elapsed_s),
        message=ranked[0].message,
    )
