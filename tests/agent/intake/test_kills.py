"""Killed before or after any change to a file, a fresh process finishes: one task, nothing lost, nothing double."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.intake.bundles import Intake
from agent.intake.drops import Drops
from mltm.runtime import files
from tests.agent.spool.build import CONFIG, SCRIPT, TASK, Hands, send

CALLS = (
    (Path, "mkdir"), (Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (shutil, "rmtree"),
    (os, "link"), (os, "fsync"), (files, "sync_folder"),
)  # fmt: skip
_MOST_CALLS = 150


class Killed(BaseException):
    """What a process sees that is killed: nothing catches it."""


class Killer:
    """Ends a run at the nth change, before or after its effect; every later call fails too."""

    def __init__(self, nth: int, *, after: bool) -> None:
        self.left, self.after, self.is_dead = nth, after, False

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: object, **options: object) -> object:
            if self.is_dead:
                raise Killed
            self.left -= 1
            if self.left < 0 and not self.after:
                self.is_dead = True
                raise Killed
            result = call(*arguments, **options)
            if self.left < 0:
                self.is_dead = True
                raise Killed
            return result

        return called


def run_killed(scan: Callable[[], object], nth: int, *, after: bool) -> bool:
    """Run, killed at the nth call; False where the run came to its end before."""
    killer = Killer(nth, after=after)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CALLS:
            patch.setattr(owner, name, killer.wrap(getattr(owner, name)))
        try:
            scan()
        except Killed:
            return True
    return False


def check(hands: Hands, source: str) -> None:
    (task_id,) = hands.tasks()
    assert (hands.spool.task(task_id).input / "entrypoint.py").read_bytes() == SCRIPT
    assert hands.manifest(task_id).source == source
    assert (hands.spool.active / task_id).exists()


def drop_files(hands: Hands) -> None:
    hands.drop("run.json", CONFIG)
    hands.drop("train.py", SCRIPT)
    hands.drop("run.json.ready", b"")


def drop_folder(hands: Hands) -> None:
    hands.drop("night.ready/config.json", CONFIG)
    hands.drop("night.ready/train.py", SCRIPT)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("drop", [drop_files, drop_folder])
def test_a_drop_killed_at_any_call_becomes_one_task(
    tmp_path: Path, drop: Callable[[Hands], None], *, after: bool
) -> None:
    for nth in range(_MOST_CALLS):
        hands = Hands(tmp_path / str(nth))
        drop(hands)
        was_killed = run_killed(Drops(hands.spool, hands.settings, hands.clock).scan, nth, after=after)
        fresh = Drops(hands.spool, hands.settings, hands.clock)
        for _ in range(5):
            assert fresh.scan() == []
            hands.now_s += 10
        check(hands, "drop")
        assert not list(hands.spool.taking.iterdir())
        assert not list(hands.spool.bad.iterdir())
        assert not list(hands.spool.drop.iterdir())
        if not was_killed:
            assert nth > 5
            return
    pytest.fail("the run never came to its end")


@pytest.mark.parametrize("after", [False, True])
def test_a_bundle_killed_at_any_call_becomes_one_task(tmp_path: Path, *, after: bool) -> None:
    for nth in range(_MOST_CALLS):
        hands = Hands(tmp_path / str(nth))
        send(hands)
        was_killed = run_killed(Intake(hands.spool, hands.settings, hands.clock).scan, nth, after=after)
        assert Intake(hands.spool, hands.settings, hands.clock).scan() == []
        check(hands, "gateway")
        assert hands.tasks() == [TASK]
        if not was_killed:
            assert nth > 5
            return
    pytest.fail("the run never came to its end")
