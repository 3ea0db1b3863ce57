"""A new process on another host (another boot) starts its counts anew, and keeps what Slurm itself said."""

import os
from pathlib import Path
from typing import Any

from agent.protocol.journal import AttemptLog
from agent.protocol.observation import Look, Observation, is_over, look
from agent.settings import Waits
from agent.slurm.values import JobLine
from agent.tasks.memory import forget_observation, load_observation, save_observation
from mltm.contract.ids import JobId
from tests.agent.protocol import build
from tests.agent.spool.build import Hands

WAITS = Waits()
OWNED = AttemptLog(1, build.submit(1), claim=build.claim("7"))
COUNTED = {
    "absent_polls": 9, "absent_since_s": 100.0, "beat_ns": 5, "beat_since_s": 100.0,
    "over_since_s": 500.0, "running_since_s": 100.0, "retry_at_s": 9000.0,
}  # fmt: skip
SAID = {"target": "7", "ended": "TIMEOUT", "time_limit_s": 600.0, "reported": "digest", "last_report": "{}", "tries": 3}


def keep(hands: Hands, boot_id: str, at_s: int, **fields: Any) -> Observation:
    seen = build.observation(**fields).model_copy(update={"boot_id": boot_id})
    save_observation(hands.spool, build.TASK, seen, hands.clock)
    os.utime(hands.spool.observations / boot_id / build.TASK, (at_s, at_s))
    return seen


def load(hands: Hands, boot_id: str, attempt: int = 1, now_s: float = 50.0) -> Observation:
    return load_observation(hands.spool, boot_id, build.TASK, attempt, now_s)


def test_the_same_boot_goes_on_counting(tmp_path: Path) -> None:
    hands = Hands(tmp_path / "spool")
    keep(hands, "boot-b", 100)
    kept = keep(hands, "boot-a", 200, **COUNTED, **SAID)

    assert load(hands, "boot-a") == kept


def test_started_again_on_another_host_only_slurms_words_are_kept(tmp_path: Path) -> None:
    hands = Hands(tmp_path / "spool")
    keep(hands, "boot-b", 100, ended="RUNNING", absent_polls=2, absent_since_s=1.0)
    keep(hands, "boot-a", 200, **COUNTED, **SAID, scancel_at_s=9000.0)

    seen = load(hands, "boot-b")

    fresh = build.observation(since_s=50.0, beat_since_s=50.0)
    assert seen == fresh.model_copy(update={"boot_id": "boot-b", **SAID, "scancel_at_s": 50.0})


def test_started_again_on_another_host_rule_five_is_counted_from_the_start(tmp_path: Path) -> None:
    hands = Hands(tmp_path / "spool")
    keep(hands, "boot-a", 200, **COUNTED, **SAID)
    seen = load(hands, "boot-b")
    over_at_s = []

    for now_s in range(50, 800, 30):
        seen = look(seen, OWNED, Look((JobLine(JobId("7"), "TIMEOUT", "name"),), 5, now_s), WAITS, 300)
        if is_over(seen, WAITS, now_s):
            over_at_s.append(now_s)

    assert seen.ended == "TIMEOUT"
    assert over_at_s[0] == 50 + WAITS.beat_still_s + WAITS.look_again_s


def test_an_earlier_attempts_counts_and_ends_are_not_the_next_ones(tmp_path: Path) -> None:
    hands = Hands(tmp_path / "spool")
    keep(hands, "boot-a", 200, **COUNTED, **SAID)

    for boot_id in ("boot-a", "boot-b"):
        seen = load(hands, boot_id, attempt=2)
        assert (seen.attempt, seen.ended, seen.absent_polls, seen.tries) == (2, None, 0, 0)
        assert (seen.reported, seen.last_report) == ("digest", "{}")


def test_a_task_that_ended_is_forgotten_on_every_boot(tmp_path: Path) -> None:
    hands = Hands(tmp_path / "spool")
    for boot_id in ("boot-a", "boot-b"):
        keep(hands, boot_id, 100)

    forget_observation(hands.spool, build.TASK)

    assert [path for path in hands.spool.observations.rglob("*") if path.is_file()] == []
