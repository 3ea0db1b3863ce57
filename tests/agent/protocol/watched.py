"""One task, the agent's real look() and decide() over it, and a witness that keeps the evidence by itself.

Events come in any order, sensible or not: what is checked is not whether the world is possible, but that no end is
written for which the witness has no evidence. Every record that the agent chooses is put in place at once.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.protocol.actions import (
    Action,
    Adopt,
    Amend,
    CancelJobs,
    Close,
    OpenAttempt,
    PrepareSubmission,
    PutFence,
    PutNote,
    Wait,
)
from agent.protocol.decide import Situation, decide
from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.observation import Observation, Reading, apply_accounting, date_fence, update_observation
from agent.protocol.verdict import read_slurm_end
from agent.settings import Waits
from agent.slurm.states import classify_state
from agent.slurm.values import AccountingLine, JobLine
from mltm.contract.ids import JobId, render_job_name
from mltm.contract.journal_records import Dup, Refused, Submitted, Verdict
from mltm.contract.states import State
from tests.agent.protocol import build

__all__ = ["OWNER", "STRANGER", "Watched"]

OWNER, STRANGER = "7", "8"  #: the job that claims, and another of the same name
MIN_JOB_AGE_S = 300.0
WAITS = Waits()
_RERUN_ON = [State.LOST, State.NODE_FAIL, State.TIMEOUT, State.PREEMPTED]


@dataclass
class Witness:
    """What spoke for and against the last attempt's being over, since its claim was seen."""

    claimed_s: float | None = None
    beat_s: float | None = None  #: when a new beat was seen last
    alive_s: float = float("-inf")  #: when Slurm last listed the owner's job as not ended
    ended: list[str] = field(default_factory=list)  #: every end that Slurm gave the owner's job since then
    absent_s: list[float] = field(default_factory=list)  #: good polls in a row that did not list it

    def is_over(self, now_s: float, *, is_copied: bool) -> bool:
        """Protocol, rule 5: Slurm's word or its silence, and always the beat."""
        if self.claimed_s is None:
            return False
        still_s = now_s - max(self.claimed_s, self.beat_s or self.claimed_s)
        is_silent = len(self.absent_s) >= 3 and now_s - self.absent_s[0] >= max(WAITS.unlisted_s, MIN_JOB_AGE_S)
        is_said = bool(self.ended) and self.beat_s is not None and not is_copied
        return (is_said or is_silent) and still_s >= WAITS.beat_still_s + WAITS.look_again_s


class Watched:
    """The world's side: `poll`, `beat`, `claim` and so on. `close`: how the task ended."""

    def __init__(self, *, rerun: bool, answers: Sequence[str]) -> None:
        self.now_s, self.config = 1000.0, build.config(rerun_on=_RERUN_ON if rerun else [], rerun_limit=2)
        self.journal = TaskJournal(build.TASK)
        self.observation: Observation = build.observation(0, since_s=self.now_s, beat_since_s=self.now_s)
        self.witness = Witness()
        self.answers, self.may_submit, self.beat_ns = itertools.cycle(answers), 0, 0
        self.lines: tuple[JobLine, ...] = ()
        self.said: set[State | None] = set()  #: ends that Slurm gave an attempt which nobody had claimed
        self.problems: list[str] = []
        self.settle()

    @property
    def close(self) -> Verdict | None:
        """The task's end."""
        return self.journal.closed.verdict if self.journal.closed else None

    def ends_named(self) -> set[State]:
        """The ends that Slurm gave the owner's job."""
        return {end for text in self.witness.ended if (end := read_slurm_end(text)) is not None}

    # What may happen ------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self._look(None)

    def poll(self, jobs: tuple[tuple[str, str], ...] | None) -> None:
        """A poll: (job id, state) of each job of our name; None: it failed."""
        if jobs is None or self.journal.last is None:
            self._look(None)
            return
        name = render_job_name(build.TASK, self.journal.last.number)
        self.lines = tuple(JobLine(JobId(job_id), state, name, time_limit_s=600) for job_id, state in jobs)
        self._testify([state for job_id, state in jobs if job_id == OWNER], [state for _, state in jobs])
        self._look(self.lines)

    def fall_silent(self, polls: int, every_s: float) -> None:
        """Good polls that list nothing of ours."""
        for _ in range(polls):
            self.wait(every_s)
            self.poll(())

    def _testify(self, owners: list[str], states: list[str]) -> None:
        seen = self.witness
        if self.journal.last is not None and self.journal.last.owner is None:
            self.said |= {classify_state(state).ended for state in states}
            return
        kinds = [classify_state(state).kind for state in owners]
        if any(kind != "ended" for kind in kinds):
            seen.ended, seen.absent_s, seen.alive_s = [], [], self.now_s
        elif kinds:
            seen.ended, seen.absent_s = [*seen.ended, *owners], []
        else:
            seen.absent_s.append(self.now_s)

    def account(self, state: str) -> None:
        """Sacct speaks of the owner's job."""
        if self.journal.last is None or self.observation.absent_polls == 0:
            return
        name = render_job_name(build.TASK, self.journal.last.number)
        line = AccountingLine(JobId(OWNER), state, name)
        if classify_state(state).kind == "ended":
            self.witness.ended.append(state)
            if self.journal.last.owner is None:
                self.said.add(classify_state(state).ended)
        self.observation = apply_accounting(self.observation, self.journal.last, (line,))
        self._look(None)

    def beat(self) -> None:
        self.beat_ns += 1
        self.witness.beat_s = self.now_s
        self._look(None)

    def claim(self) -> None:
        """A job of the last attempt starts; it loses where a fence lies."""
        last = self.journal.last
        if last is not None and last.claim is None and last.noted is None and self.close is None:
            self._change(claim=build.claim(OWNER))

    def lose_claim(self) -> None:
        """The power goes at a file server, and with it a record whose folder was not synced."""
        if self.journal.last is not None and self.journal.last.noted is not None:
            self._change(claim=None)

    def exit(self, code: int, *, is_own: bool, signals: tuple[str, ...] = ()) -> None:
        last = self.journal.last
        if last is None or last.exit is not None or (is_own and last.claim is None) or last.fence is not None:
            return
        stops = [{"name": name, "at": build.NOW, "uptime_s": 1.0} for name in signals]
        record = build.exit_record(code, nonce=build.NONCE if is_own else "c" * 32, stop_signals=stops)
        self._change(exit=record)

    def refuse(self, check: str, *, is_own: bool) -> None:
        last = self.journal.last
        if last is None or (is_own and (last.exit is not None or last.claim is None)):
            return
        nonce = build.NONCE if is_own else f"{len(last.refused):032x}"
        record = Refused(nonce=nonce, job_id=OWNER, node="n1", check=check, message="message")
        self._change(refused=(*last.refused, record))

    def copy(self) -> None:
        if self.journal.last is not None:
            self._change(dups=(*self.journal.last.dups, Dup(nonce="d" * 32, job_id=OWNER, node="n2")))

    def cancel(self) -> None:
        self.journal = replace(self.journal, cancel=build.cancel())
        self._look(None)

    # What the agent does about it -----------------------------------------------------------------------------

    def _change(self, **fields: object) -> None:
        changed = replace(self.journal.attempts[-1], **fields)  # type: ignore[arg-type] # a field of AttemptJournal
        self.journal = replace(self.journal, attempts=(*self.journal.attempts[:-1], changed))
        self._look(None)

    def _look(self, lines: tuple[JobLine, ...] | None) -> None:
        last = self.journal.last
        if self.close is not None:
            return
        if last is not None:
            if last.owner is not None and self.witness.claimed_s is None:
                self.witness = Witness(claimed_s=self.now_s, beat_s=self.witness.beat_s)
                self._recount(lines)
            shown = Reading(lines, self.beat_ns or None, self.now_s)
            self.observation = update_observation(self.observation, last, shown, WAITS, MIN_JOB_AGE_S)
        self.settle()

    def _recount(self, lines: tuple[JobLine, ...] | None) -> None:
        if lines is not None:
            self._testify([line.state for line in lines if line.job_id == OWNER], [line.state for line in lines])

    def settle(self) -> None:
        """Decide and do until there is nothing to do now."""
        for _ in range(20):
            last = self.journal.last
            number = last.number if last else 0
            seen = Situation(
                self.observation, self.now_s, lines=self.lines, may_submit=bool(number) and self.may_submit == number,
                config=self.config,
            )  # fmt: skip
            step = decide(self.journal, seen, WAITS)
            if isinstance(step, Wait | Amend) or not self._do(step):
                return
            if self.journal.last is not None:
                self.observation = date_fence(self.observation, self.journal.last, self.now_s)
        self.problems.append("the agent does not come to rest")

    def _do(self, step: Action) -> bool:
        last = self.journal.attempts[-1] if self.journal.attempts else None
        match step:
            case OpenAttempt(number, _, after_state, after_exit):
                self._judge_open(last, after_state)
                self._open(number, after_state, after_exit=after_exit)
            case Close(number, verdict):
                self.journal = replace(
                    self.journal, closed=build.closed(number, verdict.state).model_copy(update={"verdict": verdict})
                )
            case PutFence(_, reason, message) if last is not None:
                self._set(replace(last, claim=build.fence(reason, message)))
            case PutNote(_, claim) if last is not None:
                self._set(replace(last, noted=claim))
            case PrepareSubmission(_) if last is not None:
                self.may_submit = 0
                outcome = next(self.answers)
                job_id = OWNER if outcome == "accepted" else None
                self._set(replace(last, submitted=Submitted(job_id=job_id, outcome=outcome, message="w", at=build.NOW)))
                retry_s = self.now_s + 60 if outcome == "transient" else None
                self.observation = replace(self.observation, retry_at_s=retry_s)
            case Adopt(_, job_id) if last is not None:
                found = Submitted(job_id=job_id, outcome="accepted", message="", at=build.NOW)
                self._set(replace(last, submitted=found))
            case CancelJobs(_):
                self.observation = replace(self.observation, scancel_at_s=self.now_s)
            case _:
                return False
        return True

    def _set(self, attempt: AttemptJournal) -> None:
        self.journal = replace(self.journal, attempts=(*self.journal.attempts[:-1], attempt))

    def _open(self, number: int, after_state: State | None, *, after_exit: bool) -> None:
        opened = AttemptJournal(number, build.submit(number, after_state, after_exit=after_exit))
        self.journal = replace(self.journal, attempts=(*self.journal.attempts, opened))
        self.observation = build.observation(number, since_s=self.now_s, beat_since_s=self.now_s)
        self.witness, self.lines, self.may_submit, self.beat_ns = Witness(), (), number, 0

    def _judge_open(self, last: AttemptJournal | None, after_state: State | None) -> None:
        if last is None or not last.may_have_run:
            return
        is_over = last.own_exit is not None or self.witness.is_over(self.now_s, is_copied=bool(last.dups))
        if not is_over or after_state not in self.config.rerun_on:
            self.problems.append(f"attempt {last.number + 1} was opened while {last.number} may run")
