"""A new process on another host (another boot) starts its counts anew, and keeps what Slurm itself said."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.protocol.journal import AttemptJournal
from agent.protocol.kept import Kept, continue_observation
from agent.protocol.observation import Reading, is_over, update_observation
from agent.protocol.task_report import Told
from agent.settings import Waits
from agent.slurm.values import JobLine
from agent.spool.observations import forget_observation, list_kept, save_observation
from mltm.contract.ids import JobId
from tests.agent.protocol import build
from tests.agent.spool.build import SpoolKit

WAITS = Waits()
OWNED = AttemptJournal(1, build.submit(1), claim=build.claim("7"))
COUNTED: dict[str, Any] = {
    "absent_polls": 9, "absent_since_s": 100.0, "beat_ns": 5, "beat_since_s": 100.0,
    "over_since_s": 500.0, "running_since_s": 100.0, "retry_at_s": 9000.0,
}  # fmt: skip
SAID: dict[str, Any] = {"target": "7", "ended": "TIMEOUT", "time_limit_s": 600.0, "tries": 3}
TOLD = Told(reported="digest", last_report="{}", receipted="digest", late_exits=(1,))


def keep(kit: SpoolKit, boot_id: str, at_s: int, **fields: Any) -> Kept:
    kept = Kept(replace(build.observation(**fields), boot_id=boot_id), TOLD)
    save_observation(kit.spool, build.TASK, kept, kit.clock)
    os.utime(kit.spool.observations / boot_id / build.TASK, (at_s, at_s))
    return kept


def load(kit: SpoolKit, boot_id: str, attempt: int = 1, now_s: float = 50.0) -> Kept:
    return continue_observation(list_kept(kit.spool, build.TASK), boot_id, attempt, now_s)


def test_the_same_boot_goes_on_counting(tmp_path: Path) -> None:
    kit = SpoolKit(tmp_path / "spool")
    keep(kit, "boot-b", 100)
    kept = keep(kit, "boot-a", 200, **COUNTED, **SAID)

    assert load(kit, "boot-a") == kept


def test_what_version_0_1_kept_is_gone_on_from(tmp_path: Path) -> None:
    kit = SpoolKit(tmp_path / "spool")
    place = kit.spool.observations / "boot-a" / build.TASK
    place.parent.mkdir(parents=True)
    told = {"reported": "digest", "last_report": "{}", "late_told": [1]}
    place.write_text(json.dumps({"boot_id": "boot-a", "attempt": 1, "since_s": 0.0, **COUNTED, **SAID, **told}))

    seen = build.observation(boot_id="boot-a", **COUNTED, **SAID)
    assert load(kit, "boot-a") == Kept(seen, replace(TOLD, receipted=""))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"attempt": 1}', b"\xff"])
def test_what_cannot_be_understood_is_seen_anew(tmp_path: Path, raw: bytes) -> None:
    kit = SpoolKit(tmp_path / "spool")
    place = kit.spool.observations / "boot-a" / build.TASK
    place.parent.mkdir(parents=True)
    place.write_bytes(raw)

    assert load(kit, "boot-a").observed == build.observation(boot_id="boot-a", since_s=50.0, beat_since_s=50.0)


def test_started_again_on_another_host_only_slurms_words_are_kept(tmp_path: Path) -> None:
    kit = SpoolKit(tmp_path / "spool")
    keep(kit, "boot-b", 100, ended="RUNNING", absent_polls=2, absent_since_s=1.0)
    keep(kit, "boot-a", 200, **COUNTED, **SAID, scancel_at_s=9000.0)

    seen = load(kit, "boot-b")

    carried = build.observation(boot_id="boot-b", since_s=50.0, beat_since_s=50.0, **SAID, scancel_at_s=50.0)
    assert seen == Kept(carried, TOLD)


def test_started_again_on_another_host_rule_five_is_counted_from_the_start(tmp_path: Path) -> None:
    kit = SpoolKit(tmp_path / "spool")
    keep(kit, "boot-a", 200, **COUNTED, **SAID)
    seen = load(kit, "boot-b").observed
    over_at_s = []

    for now_s in range(50, 800, 30):
        seen = update_observation(seen, OWNED, Reading((JobLine(JobId("7"), "TIMEOUT", "name"),), 5, now_s), WAITS, 300)
        if is_over(seen, WAITS, now_s):
            over_at_s.append(now_s)

    assert seen.ended == "TIMEOUT"
    assert over_at_s[0] == 50 + WAITS.beat_still_s + WAITS.look_again_s


def test_an_earlier_attempts_counts_and_ends_are_not_the_next_ones(tmp_path: Path) -> None:
    kit = SpoolKit(tmp_path / "spool")
    keep(kit, "boot-a", 200, **COUNTED, **SAID)

    for boot_id in ("boot-a", "boot-b"):
        kept = load(kit, boot_id, attempt=2)
        seen = kept.observed
        assert (seen.attempt, seen.ended, seen.absent_polls, seen.tries) == (2, None, 0, 0)
        assert kept.told == TOLD


def test_a_task_that_ended_is_forgotten_on_every_boot(tmp_path: Path) -> None:
    kit = SpoolKit(tmp_path / "spool")
    for boot_id in ("boot-a", "boot-b"):
        keep(kit, boot_id, 100)

    forget_observation(kit.spool, build.TASK)

    assert [path for path in kit.spool.observations.rglob("*") if path.is_file()] == []
