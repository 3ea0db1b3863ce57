"""What a real Slurm's logs say of foreign jobs: ids come again after a crash, so a fact is a job's only at its time."""

import math

from chaos.ledger import Shown, Start
from chaos.real_slurm.foreign import ForeignJob, find_adopted, find_cancelled, leave_out_foreign
from chaos.real_slurm.nodes import find_cut_off
from chaos.real_slurm.slurm_log import LogLine, leave_out_given_up

THEIRS = ForeignJob("other-1", "7", asked_s=10.0, answered_s=11.0)


def accepted(job_id: str, at_s: float) -> LogLine:
    return LogLine("accepted", job_id, at_s)


def cancelled(job_id: str, at_s: float) -> LogLine:
    return LogLine("cancelled", job_id, at_s)


def test_a_cancel_is_a_foreign_jobs_while_the_id_is_theirs() -> None:
    assert find_cancelled([THEIRS], [accepted("7", 10.5), cancelled("7", 12.0)]) == ["other-1"]


def test_a_cancel_before_it_or_of_the_next_one_with_that_id_is_not_theirs() -> None:
    log = [accepted("7", 5.0), cancelled("7", 6.0), accepted("7", 10.5), accepted("7", 20.0), cancelled("7", 21.0)]

    assert find_cancelled([THEIRS], log) == []


def test_an_accepted_job_is_ours_where_it_cannot_have_been_foreign() -> None:
    log = [accepted("7", 5.0), accepted("7", 10.5), accepted("8", 10.6), cancelled("8", 10.7), accepted("9", 20.5)]

    assert leave_out_foreign(log, [THEIRS], []) == [log[0], log[2], log[4]]
    assert leave_out_foreign(log, [THEIRS], [(10.55, 10.65)]) == [log[0], log[4]]
    assert leave_out_foreign(log, [THEIRS], [(20.0, math.inf)]) == [log[0], log[2]]


def test_what_a_slurmd_gave_up_was_cancelled_by_nobody() -> None:
    log = [accepted("7", 1.0), cancelled("7", 2.0), cancelled("7", 3.0)]

    kept = leave_out_given_up(log, [LogLine("given up", "7", 2.1)])

    assert kept == [accepted("7", 1.0), cancelled("7", 3.0)]


def test_a_task_shown_with_a_job_in_which_it_did_not_run_has_adopted_it() -> None:
    shown, starts = {"t": Shown("succeeded", job_id="7")}, [Start("t", "8", 1.0)]

    assert find_adopted(shown, starts, [THEIRS], [accepted("7", 10.5)])
    assert find_adopted(shown, [Start("t", "7", 1.0)], [THEIRS], [accepted("7", 10.5)]) == []


def test_a_task_that_never_ran_may_be_shown_with_an_id_that_was_once_ours() -> None:
    shown = {"t": Shown("cancelled", job_id="7")}

    assert find_adopted(shown, [], [THEIRS], [accepted("7", 10.5)])
    assert find_adopted(shown, [], [THEIRS], [accepted("7", 5.0), accepted("7", 10.5)]) == []


def test_slurm_cut_off_the_last_task_that_ran_under_the_id_before() -> None:
    starts = [Start("first", "7", 1.0), Start("second", "7", 5.0), Start("third", "7", 9.0)]
    shown = {"mute": Shown("lost", job_id="7"), "other": Shown("lost", job_id="8")}

    assert find_cut_off(shown, starts, [LogLine("cut off", "7", 6.0)]) == {"second", "mute"}
