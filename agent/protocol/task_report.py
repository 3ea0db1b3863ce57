"""What to tell the gateway about a task: a report's content from the journal and what was seen. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.observation import Observation
from agent.protocol.verdict import judge_exit
from agent.slurm.reasons import find_reason
from agent.slurm.states import classify_state
from agent.slurm.values import JobLine
from mltm.contract.base_models import Timestamp
from mltm.contract.journal_records import Exit, Verdict
from mltm.contract.limits import fit
from mltm.contract.reports import OPTIONAL_DETAILS, NoteKind, ReportContent, StatusNote
from mltm.contract.states import Evidence, State

__all__ = ["ReportDraft", "Told", "describe_amended", "describe_late_exit", "describe_task", "digest_draft"]


class ReportDraft(ReportContent):
    """A report before it has its identity. `at` None: now."""

    at: Timestamp | None = None


@dataclass(frozen=True)
class Told:
    """What was told of a task, across its attempts: apart from what was observed of it.

    reported, receipted: the digest of the report that the gateway was given, and of the one whose receipt was written.
    late_exits: attempts whose exit record became visible late, and was told.
    """

    reported: str = ""
    last_report: str = ""
    receipted: str = ""
    late_exits: tuple[int, ...] = ()


def digest_draft(draft: ReportDraft) -> str:
    """SHA-256 (hex) of what a draft says, whenever it says it."""
    return hashlib.sha256(draft.model_dump_json(exclude={"at"}).encode()).hexdigest()


def describe_task(journal: TaskJournal, observed: Observation, lines: Sequence[JobLine]) -> ReportDraft:
    """Describe where a task stands. Nothing final is said before `closed` is linked (rule 7)."""
    if journal.closed is not None and journal.amended is not None:
        return describe_amended(journal, journal.amended.verdict)
    if journal.closed is not None:
        return _describe_verdict(journal, journal.closed.verdict, journal.closed.attempt, Evidence.CLOSED)
    last = journal.last
    if last is None:
        return _draft(journal, 1, State.ACCEPTED, Evidence.NONE, note=_note_of_wait(journal, None))
    if last.may_have_run:
        return _describe_owned(journal, last, observed, lines)
    return _describe_unowned(journal, last, lines)


def describe_amended(journal: TaskJournal, verdict: Verdict) -> ReportDraft:
    """Describe the correction of an end."""
    return _describe_verdict(journal, verdict, journal.closed.attempt if journal.closed else 1, Evidence.AMENDED)


def _draft(journal: TaskJournal, attempt: int, state: State, evidence: Evidence, **fields: object) -> ReportDraft:
    manifest = journal.manifest
    is_drop = manifest is not None and manifest.source == "drop"
    said = {
        "task_id": journal.task_id, "attempt": attempt, "state": state, "evidence": evidence,
        "taken": journal.manifest is not None or journal.closed is not None,
        "manifest": manifest if is_drop else None, **fields,
    }  # fmt: skip
    return fit(ReportDraft, said, OPTIONAL_DETAILS)  # the gateway refuses what does not fit, and so the whole report


def describe_late_exit(journal: TaskJournal, attempt: AttemptJournal, record: Exit) -> ReportDraft:
    """Describe an exit record that became visible after the next attempt had been opened: a note in the history."""
    verdict = judge_exit(record, slurm=None, cancelled=False, limit_s=None)
    message = (
        f"Its exit record became visible only after attempt {attempt.number + 1} had been opened. {verdict.reason}"
    )
    found = verdict.model_copy(update={"reason": message.strip()})
    return _draft(journal, attempt.number, found.state, Evidence.EXIT, **_tell(found))


def _describe_verdict(journal: TaskJournal, verdict: Verdict, number: int, evidence: Evidence) -> ReportDraft:
    # The end belongs to the attempt that it is about: the one before the closing intent, where there is one.
    return _draft(journal, max(1, number - 1), verdict.state, evidence, closed=True, **_tell(verdict))


def _tell(verdict: Verdict) -> dict[str, object]:
    """A verdict's details, which a report calls by the same names."""
    return {"message": verdict.reason, **verdict.model_dump(exclude={"state", "reason", "evidence"})}


def _describe_owned(
    journal: TaskJournal, last: AttemptJournal, observed: Observation, lines: Sequence[JobLine]
) -> ReportDraft:
    owner, record = last.owner, last.own_exit
    shown = [line for line in lines if owner is not None and line.job_id == owner.job_id]
    is_finishing = any(classify_state(line.state).kind == "finishing" for line in shown)
    seems_over = record is not None or observed.ended is not None or observed.absent_polls >= 2 or is_finishing
    return _draft(
        journal,
        last.number,
        State.FINISHING if seems_over else State.RUNNING,
        Evidence.EXIT if record is not None else Evidence.CLAIM,
        job_id=owner.job_id if owner else None,
        node=owner.node if owner else None,
        started_at=owner.at if owner else None,
        slurm_state=shown[0].state if shown else observed.ended,
        note=_note_of_run(observed, shown),
    )


def _describe_unowned(journal: TaskJournal, last: AttemptJournal, lines: Sequence[JobLine]) -> ReportDraft:
    submitted = last.submitted
    may_start = last.fence is None and last.declined is None
    lines = lines if may_start else ()
    job_id = lines[0].job_id if lines else submitted.job_id if submitted else None
    is_known = may_start and (bool(lines) or (submitted is not None and submitted.outcome == "accepted"))
    return _draft(
        journal,
        last.number,
        State.PENDING if is_known else State.SUBMITTING,
        Evidence.SLURM if is_known else Evidence.NONE,
        job_id=job_id if is_known else None,
        slurm_state=lines[0].state if lines else None,
        message=last.intent.after,
        note=_note_of_lines(lines) or _note_of_wait(journal, last),
    )


def _note_of_run(observed: Observation, shown: Sequence[JobLine]) -> StatusNote:
    odd = [line for line in shown if classify_state(line.state).attention]
    if odd:
        return _note_of_state(odd[0])
    return StatusNote(kind="paused", message="Slurm has suspended the job.") if observed.paused else StatusNote()


def _note_of_lines(lines: Sequence[JobLine]) -> StatusNote | None:
    """The note that matters most of what Slurm shows of a job that has not begun."""
    notes = [note for line in lines if (note := _note_of_line(line)) is not None]
    order: tuple[NoteKind, ...] = ("attention", "waiting_for_limit", "waiting_for_slurm")
    return min(notes, key=lambda note: order.index(note.kind)) if notes else None


def _note_of_line(line: JobLine) -> StatusNote | None:
    """What is said of a job that has not begun, with Slurm's own word, but for those that change at each poll."""
    meaning, reason = classify_state(line.state), find_reason(line.reason)
    if meaning.kind != "pending" or (line.state.upper() != "PENDING" and (reason is None or reason.kind == "queue")):
        return _note_of_state(line) if meaning.attention or meaning.kind == "pending" else None
    if reason is None:
        return StatusNote(
            kind="attention" if meaning.attention else "waiting_for_slurm",
            message=f"Slurm's reason for its wait: {line.reason}.",
        )
    if meaning.attention or reason.attention:
        return StatusNote(kind="attention", message=f"{reason.said} Slurm's reason: {line.reason}.")
    if reason.kind == "queue":
        return StatusNote(kind="waiting_for_slurm", message=reason.said)
    kind: NoteKind = "waiting_for_limit" if reason.kind == "limit" else "waiting_for_slurm"
    name = line.reason.split(",")[0]  # behind it may be a list of nodes, which changes all the time
    return StatusNote(kind=kind, message=f"{reason.said} Slurm's reason: {name}.")


def _note_of_state(line: JobLine) -> StatusNote:
    meaning = classify_state(line.state)
    kind: NoteKind = "attention" if meaning.attention else "waiting_for_slurm"
    return StatusNote(kind=kind, message=f"{meaning.said} Slurm's state: {line.state}.")


def _note_of_wait(journal: TaskJournal, last: AttemptJournal | None) -> StatusNote:
    if journal.held:
        return StatusNote(
            kind="held", message=_HELD_LATE if _is_with_slurm(last) else "Held; release it to let it start."
        )
    if last is None or last.submitted is None:
        return StatusNote()
    match last.submitted.outcome:
        case "transient" if last.submitted.attention:
            return StatusNote(
                kind="attention",
                message=f"Slurm or the site refused the job, and it is tried again: {last.submitted.message}",
            )
        case "transient":
            return StatusNote(
                kind="waiting_for_slurm", message=f"Slurm does not take jobs now: {last.submitted.message}"
            )
        case "limit":
            return StatusNote(
                kind="waiting_for_limit", message=f"A limit of the site is reached: {last.submitted.message}"
            )
        case _:
            return StatusNote()


_HELD_LATE = "Held after Slurm had taken this attempt: it goes on; no further one starts until the release."


def _is_with_slurm(last: AttemptJournal | None) -> bool:
    return (
        last is not None and last.fence is None and last.submitted is not None and last.submitted.outcome == "accepted"
    )
