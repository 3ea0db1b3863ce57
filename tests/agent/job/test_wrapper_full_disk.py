"""A full disk, on a small one of its own: nothing is claimed on it, and no exit record is lost on it."""

from pathlib import Path

import pytest

from lab.processes import wait_until
from lab.slurm.layout import Lab
from tests.agent.job.running import finish, prepare, read_exit, read_kinds, read_session, run, started, wait_log
from tests.agent.job.slurm_jobs import End, submit_task, wait_ends
from tests.disk import fill_disk

FILL = "import errno\ntry:\n  with open('../outputs/big', 'wb', 0) as f:\n    while True: f.write(bytes(1024))\n"
FILL += "except OSError as error:\n  assert error.errno == errno.ENOSPC\n"


def test_a_disk_that_the_code_filled_does_not_cost_the_exit_record(small_disk: Path) -> None:
    task = prepare(small_disk, FILL + "print('x' * 9000)\nraise SystemExit(3)")

    assert run(task) == 3
    assert read_exit(task).code == 3


def test_on_a_full_disk_nothing_is_claimed(small_disk: Path) -> None:
    task = prepare(small_disk, "open('mark', 'w')")
    fill_disk(small_disk / "big")

    assert run(task) == 75
    assert not task.records.claim.exists()
    (small_disk / "big").unlink()
    assert run(task) == 0


def test_an_exit_record_that_cannot_be_linked_is_tried_again(small_disk: Path) -> None:
    fill = (
        "n = 0\ntry:\n  while True: open(f'{n}', 'w').close(); n += 1\nexcept OSError: pass\nprint('full', flush=True)"
    )
    task = prepare(small_disk, fill, try_s=60)

    with started(task) as process:
        wait_log(task, "full")
        assert wait_until(lambda: len(read_session(process)) == 2, timeout_s=10), "the wrapper and its pause"
        assert not task.records.exit.exists()
        (task.folder.work / "0").unlink()
        assert finish(process) == 0
    assert read_exit(task).code == 0


def test_after_its_time_an_exit_record_is_given_up_in_words(small_disk: Path) -> None:
    fill = "n = 0\ntry:\n  while True: open(f'{n}', 'w').close(); n += 1\nexcept OSError: pass"
    task = prepare(small_disk, fill, try_s=1)

    with started(task) as process:
        message = process.communicate(timeout=25)[1]
    assert process.returncode == 0
    assert 'cannot write the exit record: {"kind":"exit"' in message


@pytest.mark.slurm
@pytest.mark.long
def test_a_job_that_fills_its_disk_leaves_its_exit_record(slurm_lab: Lab, small_disk: Path) -> None:
    task = prepare(small_disk, FILL + "print('x' * 9000)\nraise SystemExit(3)")

    job = submit_task(slurm_lab, task)

    assert wait_ends(slurm_lab, [job], timeout_s=40) == {job.job_id: End("FAILED", 0, 3)}
    assert (read_exit(task).code, read_exit(task).job_id) == (3, job.job_id)


@pytest.mark.slurm
@pytest.mark.long
def test_a_job_on_a_full_disk_claims_nothing_and_the_next_one_runs(slurm_lab: Lab, small_disk: Path) -> None:
    task = prepare(small_disk, "open('mark', 'a').write('x')")
    fill_disk(small_disk / "big")
    refused = submit_task(slurm_lab, task)
    assert wait_ends(slurm_lab, [refused], timeout_s=40) == {refused.job_id: End("FAILED", 0, 75)}
    assert not task.records.claim.exists()
    assert not (task.folder.work / "mark").exists()
    (small_disk / "big").unlink()

    job = submit_task(slurm_lab, task)

    assert wait_ends(slurm_lab, [job], timeout_s=40) == {job.job_id: End("COMPLETED", 0, 0)}
    assert (task.folder.work / "mark").read_text() == "x"
    assert read_kinds(task).keys() >= {"job", "exit"}
