"""The hostile world of tests/model/write_once_log.py, with the agent's real decide() in place of the model's.

The world's rules (Slurm, nodes, file system, user code) and the violations are the model's own functions; only what an
agent decides comes from agent/protocol/decide.py. What it saw is chosen by the adversary: any suspicion, at any moment,
without cause; the one thing that is true is that a beat which stands still means that no copy runs.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from agent.protocol.actions import Action, Close, OpenAttempt, PrepareSubmission, PutFence, PutNote
from agent.protocol.decide import Situation, decide
from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.observation import Observation
from agent.settings import Waits
from agent.slurm.values import JobLine
from mltm.contract.ids import JobId, render_job_name
from mltm.contract.journal_records import Dup, Exit, Refused, Submitted
from mltm.contract.task_config import TaskConfig
from tests.agent.protocol import build
from tests.model import write_once_log as model

State = tuple[tuple[tuple[object, ...], ...], tuple[tuple[object, ...], ...], str, int]
INTENT, CLAIM, FLIGHT, ASKED, WAITING, RUNNING, EXIT, DUP, NOTE = range(9)
_CUT_OFF: dict[str, object] = {"stop_signals": [{"name": "TERM", "uptime_s": 1.0}], "stopped_for_beat": True}
BEYOND = "beyond"  #: another attempt than the bounded world has: alive, not a dead end
_LATE_S = 1e6
# Reasons that decide() treats alike stand for each other, so that the world stays small.
_SAME_PATH = {"cancel": "refused_by_slurm", "admin_cancel": "refused_by_slurm", "deadline": "refused_by_slurm",
              "refused_by_slurm": "refused_by_slurm", "refused_by_policy": "refused_by_slurm"}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One setting of the world."""

    attempts: int = 2
    agents: int = 2
    cancel: bool = False
    rerun: bool = False
    requests: int = 1


def explore(case: Case, decide_with: object = decide, *, until: str = "") -> tuple[int, dict[str, State], int]:
    """Walk every reachable state, or until a violation is found: (states, violations, dead ends)."""
    start: State = (
        (("idle",),) * case.agents,
        (model.FREE,) * (case.attempts + 1),
        "asked" if case.cancel else "-",
        0,
    )
    seen, queue = {start}, deque([start])
    following: dict[State, list[State]] = {}
    bad: dict[str, State] = {}
    decided: dict[object, frozenset[tuple[object, ...]]] = {}
    while queue:
        state = queue.popleft()
        model.check(state, case.rerun, bad)  # type: ignore[no-untyped-call] # kept as it was checked
        if until in bad:
            return len(seen), bad, 0
        following[state] = [after for _, after in steps(state, case, decide_with, decided)]
        for after in following[state]:
            if after not in seen:
                seen.add(after)
                queue.append(after)
    return len(seen), bad, len(seen) - len(_alive(seen, following))


def steps(
    state: State, case: Case, decide_with: object, decided: dict[object, frozenset[tuple[object, ...]]]
) -> Iterator[tuple[str, State]]:
    """Everything that may happen next."""
    agents, journal, cancel, runs = state
    last = max((k for k, row in enumerate(journal) if row[INTENT] != "-"), default=-1)
    is_done = last >= 0 and journal[last][INTENT] in (*model.CLOSED, BEYOND)
    for i, doing in enumerate(agents):
        if doing != ("idle",):
            yield "killed", (_with(agents, i, ("idle",)), journal, cancel, runs)
        elif not is_done:
            if cancel == "asked":
                yield "records the cancel", (agents, journal, "recorded", runs)
            visible = tuple(
                (r[INTENT], r[CLAIM], r[EXIT], r[DUP], r[NOTE], r[RUNNING] == 0) for r in journal[: last + 1]
            )
            key = (visible, cancel)  # all that decide() can see
            if key not in decided:
                decided[key] = frozenset(_decided(journal, last, case, cancel, decide_with))
            for action in decided[key]:
                if action[0] == "sbatch" and int(str(journal[last][ASKED])) >= case.requests:
                    continue
                yield "decides", (_with(agents, i, action), journal, cancel, runs)
        yield from _act(state, i, doing, case)
    for k, row in enumerate(journal):
        known = model.slurm(row, None)  # type: ignore[no-untyped-call] # kept as it was checked
        for label, changes, started in (*known, *_declines(row)):
            yield label, (agents, _row(journal, k, **changes), cancel, min(runs + started, 3))


def _declines(row: tuple[object, ...]) -> Iterator[tuple[str, dict[str, object], int]]:
    """What the model does not have: a copy that wins the claim and refuses, its folder not synced (claim `R`)."""
    if row[CLAIM] == "-" and not row[NOTE] and int(str(row[WAITING])):
        yield "a copy claims and refuses", {"CLAIM": "R", "WAITING": int(str(row[WAITING])) - 1}, 0
    if row[CLAIM] == "R" and row[NOTE]:
        yield "the power goes, and with it the claim and the refusal", {"CLAIM": "-"}, 0
    if row[CLAIM] == "R" and not row[WAITING]:
        yield "Slurm starts it a second time", {"WAITING": 1}, 0


def _act(state: State, i: int, doing: tuple[object, ...], case: Case) -> Iterator[tuple[str, State]]:
    agents, journal, cancel, runs = state
    idle = _with(agents, i, ("idle",))
    match doing:
        case ("link", int(field), int(k), value):
            if journal[k][field] != "-":
                yield "finds it decided", (idle, journal, cancel, runs)
            elif field == INTENT:
                after = _with(agents, i, ("sbatch", k)) if value == "S" else idle
                yield "links intent", (after, _row(journal, k, INTENT=value), cancel, runs)
            else:
                yield "fences", (idle, _row(journal, k, CLAIM=value), cancel, runs)
        case ("note", int(k)):
            yield "notes", (idle, _row(journal, k, NOTE=True), cancel, runs)
        case ("sbatch", int(k)) if int(str(journal[k][ASKED])) < case.requests:
            asked = int(str(journal[k][ASKED])) + 1
            flight = int(str(journal[k][FLIGHT])) + 1
            yield "calls sbatch", (idle, _row(journal, k, FLIGHT=flight, ASKED=asked), cancel, runs)
        case _:
            pass


def _decided(
    journal: tuple[tuple[object, ...], ...], last: int, case: Case, cancel: str, decide_with: object
) -> set[tuple[object, ...]]:
    """Every action that decide() may choose here, over all that an agent may have seen."""
    actions = set()
    for task_journal, seen in _views(journal, last, case, is_cancelled=cancel == "recorded"):
        step: Action = decide_with(task_journal, seen, Waits())  # type: ignore[operator] # a mutated decide in one test
        action = _translate(step, case)
        if action is not None:
            actions.add(action)
    return actions


def _translate(step: Action, case: Case) -> tuple[object, ...] | None:
    match step:
        case OpenAttempt(number):
            return ("link", INTENT, number - 1, "S" if number <= case.attempts else BEYOND)
        case Close(number, verdict):
            kinds = {"fence": "never", "policy": "never", "exit": "ok"}
            return ("link", INTENT, number - 1, kinds.get(verdict.evidence, "lost"))
        case PutFence(number, reason):
            return ("link", CLAIM, number - 1, f"F:{_SAME_PATH.get(reason, 'unknown')}")
        case PutNote(number, _):
            return ("note", number - 1)
        case PrepareSubmission(number):
            return ("sbatch", number - 1)
        case _:
            return None


def _views(
    journal: tuple[tuple[object, ...], ...], last: int, case: Case, *, is_cancelled: bool
) -> Iterator[tuple[TaskJournal, Situation]]:
    rerun_on = ["node_fail", "lost", "timeout", "preempted"] if case.rerun else []
    config = build.config(rerun_on=rerun_on, rerun_limit=100)
    cancel = build.cancel() if is_cancelled else None
    row = journal[last] if last >= 0 else model.FREE
    # An end that a rerun may follow, and one that it may not.
    exits = [build.exit_record(0), *([build.exit_record(143, **_CUT_OFF)] if case.rerun else [])]
    for submitted, record in product((None, "accepted", "permanent", "transient", "ambiguous"), exits):
        attempts = tuple(_attempt(journal[k], k, submitted if k == last else None, record) for k in range(last + 1))
        for seen in _adversary(row, last + 1, config):
            yield TaskJournal(build.TASK, attempts, cancel=cancel), seen


def _attempt(row: tuple[object, ...], k: int, submitted: str | None, record: Exit) -> AttemptJournal:
    taken = str(row[CLAIM])
    claim = build.claim() if taken in {"J", "R"} else None
    fence = build.fence(taken[2:]) if taken.startswith("F:") else None  # type: ignore[arg-type] # a reason of ours
    # Beside a job's claim lies the refusal of another copy, beside `R` the owner's own.
    nonce = "f" * 32 if taken == "J" else build.NONCE
    refused = Refused(nonce=nonce, job_id="7", node="n1", check="image", message=f"no image, attempt {k}")
    return AttemptJournal(
        number=k + 1,
        intent=build.submit(k + 1),
        claim=claim or fence,
        noted=build.claim() if row[NOTE] else None,
        exit=record if row[EXIT] == "v" else None,
        submitted=None if submitted is None else _submitted(submitted),
        refused=(refused,) if taken in {"F:refused_start", "J", "R"} else (),
        dups=(Dup(nonce=build.NONCE, job_id="8", node="n2"),) if row[DUP] else (),
    )


def _submitted(outcome: str) -> Submitted:
    return Submitted(job_id="7" if outcome == "accepted" else None, outcome=outcome, message="message", at=build.NOW)


def _adversary(row: tuple[object, ...], number: int, config: TaskConfig) -> Iterator[Situation]:
    """What an agent may believe about the last attempt."""
    plain = build.observation(number, fenced_since_s=-_LATE_S, beat_since_s=_LATE_S)
    beliefs: list[Observation] = [plain]
    beliefs.append(replace(plain, absent_polls=9, absent_since_s=-_LATE_S))
    ends = ("CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT", "DEADLINE")
    beliefs += [replace(plain, ended=end) for end in ends]
    if row[RUNNING] == 0 and row[EXIT] != "w":  # rule 5: the beat stood still, and the folder was looked at again
        still = replace(plain, over_since_s=-_LATE_S)
        beliefs += [still, replace(still, ended="NODE_FAIL")]
    for observation in beliefs:
        yield Situation(observation, 0.0, config=config)
        yield Situation(observation, 0.0, config=config, refusal="policy says no")
    listed = [("PENDING", ""), ("RUNNING", ""), ("PENDING", "launch failed requeued held")]
    for state, reason in listed:
        line = JobLine(JobId("7"), state, render_job_name(build.TASK, max(1, number)), reason=reason)
        seen = replace(plain, running_since_s=-_LATE_S, running_seen_s=0.0)
        yield Situation(seen, 0.0, lines=(line,), config=config)


def _alive(seen: set[State], following: dict[State, list[State]]) -> set[State]:
    """The states from which the log can still be closed (or would go on beyond the bounded world)."""
    before: dict[State, list[State]] = {}
    for state, afters in following.items():
        for after in afters:
            before.setdefault(after, []).append(state)
    alive = {s for s in seen if any(row[INTENT] in (*model.CLOSED, BEYOND) for row in s[1])}
    queue = deque(alive)
    while queue:
        for state in before.get(queue.popleft(), ()):
            if state not in alive:
                alive.add(state)
                queue.append(state)
    return alive


def _with(agents: tuple[tuple[object, ...], ...], i: int, doing: tuple[object, ...]) -> tuple[tuple[object, ...], ...]:
    return (*agents[:i], doing, *agents[i + 1 :])


def _row(journal: tuple[tuple[object, ...], ...], k: int, **changes: object) -> tuple[tuple[object, ...], ...]:
    row = list(journal[k])
    for name, value in changes.items():
        row[getattr(model, name)] = value
    return (*journal[:k], tuple(row), *journal[k + 1 :])
