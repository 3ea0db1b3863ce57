"""A turn is a value: what is planned for a task from what was read and seen, without a disk, a Slurm or a clock."""

from dataclasses import replace
from typing import Any

from agent.protocol.actions import CancelJobs, OpenAttempt, PrepareSubmission, PutFence
from agent.protocol.journal import AttemptJournal, TaskJournal
from agent.protocol.kept import Kept
from agent.protocol.task_report import Told
from agent.settings import Waits
from agent.slurm.request import SubmitRequest
from agent.slurm.values import JobLine, SbatchAnswer
from agent.tasks.facts import Facts
from agent.tasks.slurm_queue import QueueSnapshot
from agent.tasks.state import Submission, TaskState
from agent.tasks.turn import (
    FinishTask,
    PutReceipt,
    QueueReport,
    SaveObservation,
    Surroundings,
    apply_answer,
    plan_reports,
    plan_turn,
)
from mltm.contract.ids import JobId, render_job_name
from mltm.contract.manifest import Manifest
from mltm.contract.states import State
from tests.agent.protocol import build
from tests.mltm.contract.test_task_config import SEED

NOW_S = 1000.0
NAME = render_job_name(build.TASK, 1)
MANIFEST = Manifest(
    task_id=build.TASK, owner="alice", cluster="atena02", submitted_at=build.NOW, script_name="script.py",
    config=SEED, files=[], source="gateway",
)  # fmt: skip
OPENED = AttemptJournal(1, build.submit(1))


def facts(*attempts: AttemptJournal, **fields: Any) -> Facts:
    journal = TaskJournal(build.TASK, attempts, manifest=MANIFEST, **fields)
    return Facts(journal, ("manifest.json",), ("deciding", len(attempts)))


def around(*lines: JobLine, is_fresh: bool = False, may_open: bool = True) -> Surroundings:
    queue = QueueSnapshot(lines={NAME: lines} if lines else {}, asked_s=NOW_S)
    return Surroundings(queue, Waits(), "boot", NOW_S, is_fresh=is_fresh, may_open=may_open)


def seen(**fields: Any) -> TaskState:
    """A task whose first attempt was looked at before."""
    return TaskState(observed=replace(build.observation(), boot_id="boot", **fields))


def waiting(number: int) -> Submission:
    return Submission(number, SubmitRequest("name", *[MANIFEST_PATH] * 3))


MANIFEST_PATH: Any = None  # the request is only carried here


def test_a_new_task_is_to_be_opened_and_nothing_is_changed_in_place() -> None:
    before = TaskState()
    turn = plan_turn(facts(), before, around())

    assert turn.action == OpenAttempt(1)
    assert (turn.state.listing, turn.state.synced) == (("manifest.json",), ("deciding", 0))
    assert before == TaskState()


def test_where_the_round_has_no_room_it_waits_for_the_next() -> None:
    turn = plan_turn(facts(), TaskState(), around(may_open=False))

    assert turn.action is None
    assert NOW_S < turn.state.due_s <= NOW_S + 1


def test_who_won_the_intent_calls_sbatch_once() -> None:
    won = replace(seen(), may_submit=1)
    assert plan_turn(facts(OPENED), won, around()).action == PrepareSubmission(1)

    planned = plan_turn(facts(OPENED), replace(won, submission=waiting(1)), around())
    assert planned.action is None
    assert planned.state.submission == waiting(1)


def test_a_cancel_takes_back_what_waits_for_its_sbatch() -> None:
    won = replace(seen(), may_submit=1, submission=waiting(1))
    turn = plan_turn(facts(OPENED, cancel=build.cancel()), won, around())

    assert turn.action == PutFence(1, "cancel", "cancelled")
    assert turn.state.submission is None


def test_a_poll_counts_once_and_only_if_it_began_after_the_first_look() -> None:
    running = JobLine(JobId("7"), "RUNNING", NAME)
    fresh = plan_turn(facts(OPENED), seen(since_s=NOW_S - 1), around(running, is_fresh=True)).state
    stale = plan_turn(facts(OPENED), seen(since_s=NOW_S - 1), around(running)).state
    early = plan_turn(facts(OPENED), seen(since_s=NOW_S), around(running, is_fresh=True)).state

    running_since = [state.observed.running_since_s for state in (fresh, stale, early) if state.observed]
    assert running_since == [NOW_S, None, None]


def test_a_config_that_cannot_be_used_is_a_refusal() -> None:
    broken = replace(facts().journal, manifest=MANIFEST.model_copy(update={"config": {"clusters": 3}}))
    turn = plan_turn(replace(facts(), journal=broken), TaskState(), around())

    assert turn.state.config is None
    assert "The config cannot be used" in (turn.state.refusal or "")


def test_another_agents_attempt_is_gone_on_from_what_that_agent_kept() -> None:
    told = Told(reported="digest", late_exits=(1,))
    kept = Kept(build.observation(tries=3, absent_polls=7), told)
    state = plan_turn(replace(facts(OPENED), kept=(kept,)), TaskState(), around()).state

    assert state.observed is not None
    assert (state.observed.boot_id, state.observed.tries, state.observed.absent_polls) == ("boot", 3, 0)
    assert (state.told, state.kept) == (told, kept)


def test_what_is_new_is_told_once_and_kept() -> None:
    state = plan_turn(facts(OPENED), seen(), around()).state
    tell, receipt, keep = plan_reports(facts(OPENED).journal, state, around().queue)

    assert isinstance(tell, QueueReport)
    assert (tell.draft.state, tell.told.reported) == (State.SUBMITTING, receipt.digest)  # type: ignore[union-attr]
    assert (isinstance(receipt, PutReceipt), keep) == (True, SaveObservation())
    known = replace(tell.told, receipted=tell.told.reported)
    assert state.observed is not None
    quiet = replace(state, told=known, kept=Kept(state.observed, known))
    assert plan_reports(facts(OPENED).journal, quiet, around().queue) == ()


def test_an_end_is_told_and_buried() -> None:
    journal = facts(OPENED, closed=build.closed(2, State.FAILED)).journal
    *_, last = plan_reports(journal, seen(), QueueSnapshot())

    assert isinstance(last, FinishTask)
    assert last.draft.state is State.FAILED


def test_an_owner_is_cancelled_by_id_and_name() -> None:
    owned = replace(OPENED, claim=build.claim("7"), noted=build.claim("7"))

    assert plan_turn(facts(owned, cancel=build.cancel()), seen(target="7"), around()).action == CancelJobs(
        (("7", NAME),)
    )


def test_a_refusal_that_may_pass_is_tried_again_later_each_time() -> None:
    state = replace(seen(), may_submit=1, submission=waiting(1))
    waits, retries = Waits(), []
    for _ in range(3):
        state = apply_answer(state, SbatchAnswer("transient"), waits, NOW_S)
        assert state.observed is not None
        retries.append(state.observed.retry_at_s)

    assert retries == [NOW_S + 30, NOW_S + 60, NOW_S + 120]
    assert (state.may_submit, state.submission) == (0, None)
    accepted = apply_answer(seen(), SbatchAnswer("accepted", JobId("7")), waits, NOW_S)
    assert accepted == seen()
