"""The wrapper on the real Slurm: all cases run at once, as jobs side by side, and each test looks at one of them."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from agent.job.wrapper import WRAPPER
from agent.slurm.commands import build_cancel_argv
from lab.slurm.layout import Lab
from mltm.contract.ids import JobId
from mltm.contract.journal_records import Dup
from tests.agent.job.running import (
    COUNT,
    COUNTED_ONCE,
    IGNORE,
    PLAIN,
    SAVE,
    WARNED,
    Prepared,
    prepare,
    read_exit,
    read_kinds,
    read_log,
    read_refusal,
    read_written,
    wait_log,
)
from tests.agent.job.slurm_jobs import End, Job, submit_task, wait_ends
from tests.lab.calls import call

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(150)]

MARK = "open('mark', 'a').write('x')\n"
WIPE = (
    "import shutil; [shutil.rmtree('../' + name) for name in ('work', 'outputs', 'logs', 'input')]; raise SystemExit(4)"
)
LEAVE = "import subprocess as s; print(s.Popen(['sleep', '60'], start_new_session=True).pid, flush=True)"
KILL = "import os; os.kill(os.getpid(), 9)"
# Slurm 22.05 did this after a kill of slurmctld; here one job starts both copies, at once and under one id.
TWO = """#!/bin/bash
"$@" & first=$!
"$@" & second=$!
wait "$first" && wait "$second"
"""
WAITING = ("cancelled", "stubborn", "plain", "signalled", "requeued", "warned")


@dataclass(frozen=True)
class Ended:
    job: Job
    end: End


@pytest.fixture(scope="module")
def ended(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    root = tmp_path_factory.mktemp("spool")
    codes = {
        "cancelled": SAVE, "stubborn": IGNORE, "plain": PLAIN, "signalled": SAVE, "requeued": MARK + SAVE,
        "warned": WARNED, "wiped": WIPE, "left": LEAVE, "killed": KILL, "twice": MARK,
    }  # fmt: skip
    tasks = {name: prepare(root, code, kill_wait_s=5, warns=name == "warned") for name, code in codes.items()}
    tasks["refused"] = prepare(root, MARK, checks=["/nowhere/data"])
    jobs = {
        name: submit_task(slurm_lab, task, may_requeue=name == "requeued", time_limit="2")
        for name, task in tasks.items()
    }
    jobs["again"] = submit_task(slurm_lab, tasks["twice"])
    jobs["copied"] = submit_task(slurm_lab, _start_two(prepare(root, MARK)))
    for name in WAITING:
        wait_log(tasks[name], "up")
    _stop_them(slurm_lab, {name: jobs[name].job_id for name in WAITING})
    # A requeued job is put off until its old credential has expired (two minutes); here it may start at once.
    again = jobs["requeued"].job_id
    hurry = ["scontrol", "update", f"jobid={again}", "starttime=now"]
    ends = wait_ends(slurm_lab, list(jobs.values()), timeout_s=45, each_time=hurry, again=again)
    yield {name: Ended(job, ends[job.job_id]) for name, job in jobs.items()}
    with suppress(ProcessLookupError, ValueError):
        os.kill(int(read_log(tasks["left"])), signal.SIGKILL)


def _start_two(task: Prepared) -> Prepared:
    script = task.folder.control / "two.sh"
    script.write_text(TWO)
    return replace(task, script=script, args=(str(WRAPPER), *task.args))


def _stop_them(lab: Lab, ids: dict[str, str]) -> None:
    calls = [
        build_cancel_argv([JobId(ids[name]) for name in ("cancelled", "stubborn", "plain")]),
        ["scancel", "--full", "--signal=TERM", ids["signalled"]],
        build_cancel_argv([JobId(ids["warned"])], signal="USR1"),
        ["scontrol", "requeue", ids["requeued"]],
    ]
    for argv in calls:
        done = call(lab, *argv)
        assert done.returncode == 0, done.stderr


def test_a_cancelled_job_that_saves_and_exits_0_is_no_success(ended: dict[str, Ended]) -> None:
    case = ended["cancelled"]

    record = read_exit(case.job.task)
    assert (record.code, record.job_id) == (0, case.job.job_id)
    assert {each.name for each in record.stop_signals} == {"TERM"}
    assert read_log(case.job.task) == b"up\nsaved\n"
    assert case.end.state == "CANCELLED"


def test_a_job_that_ignores_term_leaves_its_exit_record_before_slurms_kill(ended: dict[str, Ended]) -> None:
    record = read_exit(ended["stubborn"].job.task)

    assert record.code == 137
    assert {each.name for each in record.stop_signals} == {"TERM"}


def test_a_cancelled_job_says_so(ended: dict[str, Ended]) -> None:
    record = read_exit(ended["plain"].job.task)

    assert record.code == 143
    assert {each.name for each in record.stop_signals} == {"TERM"}


def test_a_term_by_hand_is_a_stop_and_lets_the_code_save(ended: dict[str, Ended]) -> None:
    case = ended["signalled"]

    assert read_exit(case.job.task).code == 0
    assert read_log(case.job.task) == b"up\nsaved\n"
    assert {each.name for each in read_exit(case.job.task).stop_signals} == {"TERM"}


def test_usr1_to_the_batch_shell_warns_code_that_asked(ended: dict[str, Ended]) -> None:
    case = ended["warned"]

    assert (read_exit(case.job.task).code, read_exit(case.job.task).stop_signals) == (5, [])
    assert case.end == End("FAILED", 0, 5)


def test_a_requeued_job_does_not_start_its_code_again(ended: dict[str, Ended]) -> None:
    case = ended["requeued"]

    assert (case.job.task.folder.work / "mark").read_text() == "x"
    assert read_kinds(case.job.task) == {"job": 1, "exit": 1, "dup": 1}
    (dup,) = read_written(case.job.task)["dup"]
    assert isinstance(dup, Dup)
    assert dup.job_id == case.job.job_id
    assert {each.name for each in read_exit(case.job.task).stop_signals} == {"TERM"}
    assert (case.end.state, case.end.restarts) == ("COMPLETED", 1)


def test_of_two_jobs_of_one_attempt_one_starts(ended: dict[str, Ended]) -> None:
    task = ended["twice"].job.task

    assert (task.folder.work / "mark").read_text() == "x"
    assert read_kinds(task) == {"job": 1, "exit": 1, "dup": 1}
    assert {ended["twice"].end, ended["again"].end} == {End("COMPLETED", 0, 0)}


def test_of_two_copies_under_one_id_one_starts(ended: dict[str, Ended]) -> None:
    case = ended["copied"]

    assert (case.job.task.folder.work / "mark").read_text() == "x"
    assert read_kinds(case.job.task) == {"job": 1, "exit": 1, "dup": 1}
    ids = {record.job_id for records in read_written(case.job.task).values() for record in records}
    assert ids == {case.job.job_id}
    assert case.end == End("COMPLETED", 0, 0)


def test_a_job_that_wipes_its_folders_leaves_its_exit_record(ended: dict[str, Ended]) -> None:
    assert read_exit(ended["wiped"].job.task).code == 4
    assert ended["wiped"].end == End("FAILED", 0, 4)


def test_a_job_that_leaves_a_process_behind_ends(ended: dict[str, Ended]) -> None:
    assert read_exit(ended["left"].job.task).code == 0
    assert ended["left"].end == End("COMPLETED", 0, 0)


def test_a_job_that_kills_itself_has_no_stop_signal(ended: dict[str, Ended]) -> None:
    record = read_exit(ended["killed"].job.task)

    assert (record.code, record.stop_signals) == (137, [])


def test_a_refused_job_fails_with_75_and_leaves_the_claim_free(ended: dict[str, Ended]) -> None:
    case = ended["refused"]

    assert read_refusal(case.job.task).job_id == case.job.job_id
    assert case.end == End("FAILED", 0, 75)


def test_the_records_name_slurms_node(ended: dict[str, Ended]) -> None:
    for case in ended.values():
        for records in read_written(case.job.task).values():
            assert {record.node for record in records} <= {"n1", "n2", "n3"}


def test_at_the_time_limit_the_exit_record_is_written(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    codes = {"saves": SAVE.replace("sleep(60)", "sleep(200)"), "counts": COUNT}
    tasks = {name: prepare(tmp_path_factory.mktemp("spool"), code, kill_wait_s=3) for name, code in codes.items()}

    jobs = {name: submit_task(slurm_lab, task, time_limit="1") for name, task in tasks.items()}

    ends = wait_ends(slurm_lab, list(jobs.values()), timeout_s=130)
    assert {end.state for end in ends.values()} == {"TIMEOUT"}
    record = read_exit(tasks["saves"])
    assert record.code == 0
    assert record.elapsed_s >= 55
    for task in tasks.values():
        assert {each.name for each in read_exit(task).stop_signals} == {"TERM"}
    assert sorted(read_log(tasks["counts"]).splitlines()) == COUNTED_ONCE
