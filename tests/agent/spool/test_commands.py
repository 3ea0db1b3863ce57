from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.spool.commands import record_command
from agent.spool.records import read_journal
from mltm.contract.agent_api import CommandKind, CommandMessage
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock

TASK = TaskId("0" * 31 + "1")
CLOCK = Clock(now=lambda: datetime(2026, 1, 2, tzinfo=UTC))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path)
    for folder in spool.agent_folders:
        folder.mkdir(parents=True, exist_ok=True)
    return spool


def message(kind: CommandKind = "cancel", command_id: str = "c1") -> CommandMessage:
    return CommandMessage(command_id=command_id, kind=kind, task_id=TASK, by="maria")


def test_a_cancel_is_in_the_log_before_it_is_acknowledged_and_the_first_one_stays(spool: Spool) -> None:
    assert record_command(spool, message(), CLOCK).outcome == "done"
    assert record_command(spool, message(), CLOCK).outcome == "done"
    assert record_command(spool, message(command_id="c2"), CLOCK).outcome == "done"
    cancel = read_journal(spool, TASK).cancel
    assert cancel is not None
    assert (cancel.command_id, cancel.by) == ("c1", "maria")


def test_for_a_task_not_copied_yet_the_marker_is_made_before_the_folder(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path, mode: int = 0) -> None:
        if folder == spool.task(TASK).control:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "make_folder", die)
        with pytest.raises(OSError, match="No space"):
            record_command(spool, message(), CLOCK)
    assert (spool.active / TASK).exists()
    assert not spool.task(TASK).path.exists()
    assert record_command(spool, message(), CLOCK).outcome == "done"


def test_a_known_task_gets_no_new_marker(spool: Spool) -> None:
    spool.task(TASK).control.mkdir(parents=True)
    record_command(spool, message(), CLOCK)
    assert not (spool.active / TASK).exists()


def test_an_ended_task_refuses(spool: Spool) -> None:
    spool.tombstone(TASK).write_text("{}")
    ack = record_command(spool, message(), CLOCK)
    assert (ack.outcome, ack.message) == ("refused", "The task has already ended.")
    assert not spool.task(TASK).path.exists()


@pytest.mark.parametrize(
    ("orders", "held"),
    [
        ([("hold", "01")], True),
        ([("hold", "01"), ("release", "02")], False),
        ([("release", "02"), ("hold", "01")], False),
        ([("hold", "01"), ("release", "02"), ("hold", "03"), ("release", "02"), ("hold", "01")], True),
    ],
)
def test_the_latest_order_wins_however_late_or_often_it_comes(
    spool: Spool,
    orders: list[tuple[CommandKind, str]],
    held: bool,
) -> None:
    for kind, command_id in orders:
        assert record_command(spool, message(kind, command_id), CLOCK).outcome == "done"
    assert read_journal(spool, TASK).held is held


@pytest.mark.parametrize("command_id", ["../x", "", ".hidden", "a" * 65, "a b", "a\n"])
def test_a_command_id_cannot_be_a_path(spool: Spool, command_id: str) -> None:
    ack = record_command(spool, message("hold", command_id), CLOCK)
    assert ack.outcome == "refused"
    assert not spool.task(TASK).path.exists()
