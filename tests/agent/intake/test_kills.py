"""Killed before or after any change to a file, a fresh process finishes: one task, nothing lost, nothing double."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.intake.bundles import BundleIntake
from agent.intake.drops import DropIntake
from mltm.runtime import files
from tests.agent.spool.build import CONFIG, SCRIPT, TASK, SpoolKit, send

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


def check(kit: SpoolKit, source: str) -> None:
    (task_id,) = kit.tasks()
    assert (kit.spool.task(task_id).input / "entrypoint.py").read_bytes() == SCRIPT
    assert kit.manifest(task_id).source == source
    assert (kit.spool.active / task_id).exists()


def drop_files(kit: SpoolKit) -> None:
    kit.drop("run.json", CONFIG)
    kit.drop("train.py", SCRIPT)
    kit.drop("run.json.ready", b"")


def drop_folder(kit: SpoolKit) -> None:
    kit.drop("night.ready/config.json", CONFIG)
    kit.drop("night.ready/train.py", SCRIPT)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("drop", [drop_files, drop_folder])
def test_a_drop_killed_at_any_call_becomes_one_task(
    tmp_path: Path, drop: Callable[[SpoolKit], None], *, after: bool
) -> None:
    for nth in range(_MOST_CALLS):
        kit = SpoolKit(tmp_path / str(nth))
        drop(kit)
        was_killed = run_killed(DropIntake(kit.spool, kit.settings, kit.clock).scan, nth, after=after)
        fresh = DropIntake(kit.spool, kit.settings, kit.clock)
        for _ in range(5):
            assert fresh.scan() == []
            kit.now_s += 10
        check(kit, "drop")
        assert not list(kit.spool.taking.iterdir())
        assert not list(kit.spool.bad.iterdir())
        assert not list(kit.spool.drop.iterdir())
        if not was_killed:
            assert nth > 5
            return
    pytest.fail("the run never came to its end")


@pytest.mark.parametrize("after", [False, True])
def test_a_bundle_killed_at_any_call_becomes_one_task(tmp_path: Path, *, after: bool) -> None:
    for nth in range(_MOST_CALLS):
        kit = SpoolKit(tmp_path / str(nth))
        send(kit)
        was_killed = run_killed(BundleIntake(kit.spool, kit.settings, kit.clock).scan, nth, after=after)
        assert BundleIntake(kit.spool, kit.settings, kit.clock).scan() == []
        check(kit, "gateway")
        assert kit.tasks() == [TASK]
        if not was_killed:
            assert nth > 5
            return
    pytest.fail("the run never came to its end")
