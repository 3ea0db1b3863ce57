"""The gap of a handover is read from what the jobs printed, and never too short."""

import pytest

from chaos.real_slurm.handover import Life, find_gaps, read_life

PRINTED = """\
2026-11-24T18:00:00Z run_api: agent: started
{"event": "agent_started", "level": "info", "timestamp": "2026-11-24T18:00:01.500000Z"}
{"event": "task_taken", "level": "info", "timestamp": "2026-11-24T18:00:07Z"}
{"event": "agent_started", "timestamp": "cut off
"""


def test_a_life_is_read_between_other_lines() -> None:
    life = read_life("7", PRINTED)

    assert life.started_s is not None
    assert life.last_s is not None
    assert life.last_s - life.started_s == 5.5
    assert not life.is_walltime


@pytest.mark.parametrize(
    "message",
    [
        "2026-11-24T18:00:50Z run_api: ending: the time limit is near",
        "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-11-24T18:01:20 DUE TO TIME LIMIT ***",
    ],
)
def test_a_time_limit_is_known_by_the_words_of_the_script_or_of_slurm(message: str) -> None:
    assert read_life("7", PRINTED + message).is_walltime


def test_a_job_that_printed_nothing_has_no_life() -> None:
    assert read_life("7", "") == Life("7", None, None, is_walltime=False)


def test_gaps_are_from_the_last_line_of_one_to_the_start_of_the_next() -> None:
    lives = [
        Life("1", 0.0, 50.0, is_walltime=True),
        Life("2", 53.5, 90.0, is_walltime=True),
        Life("3", 95.0, 96.0, is_walltime=False),
    ]

    assert find_gaps(lives) == ([3.5, 5.0], [])


def test_what_was_no_handover_at_the_time_limit_is_said() -> None:
    killed = [Life("1", 0.0, 50.0, is_walltime=False), Life("2", 53.5, None, is_walltime=False)]
    mute = [Life("1", 0.0, 50.0, is_walltime=True), Life("2", None, None, is_walltime=False)]

    for lives, message in ((killed, "not by its time limit"), (mute, "never started")):
        gaps, wrong = find_gaps(lives)
        assert gaps == []
        assert message in wrong[0]
