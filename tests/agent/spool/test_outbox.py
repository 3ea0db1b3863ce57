import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.protocol.task_report import ReportDraft
from agent.spool.outbox import Outbox
from mltm.contract.limits import MAX_MESSAGE_BYTES
from mltm.contract.reports import Report, digest_report
from mltm.contract.states import Evidence, State
from mltm.runtime import files
from mltm.runtime.clock import Clock

SPOOL_ID = "a" * 32
TASK = "0" * 31 + "1"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def draft(state: State = State.PENDING, **more: object) -> ReportDraft:
    return ReportDraft.model_validate(
        {"task_id": TASK, "attempt": 1, "state": state, "evidence": Evidence.SLURM, **more}
    )


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Outbox]:
    def build(epoch: int, on_put: Callable[[], object] = lambda: None) -> Outbox:
        return Outbox(tmp_path / "outbox", SPOOL_ID, epoch, Clock(now=lambda: NOW), on_put=on_put)

    (tmp_path / "outbox").mkdir()
    return build


def test_a_draft_has_every_field_of_a_report_but_its_identity() -> None:
    assert set(ReportDraft.model_fields) == set(Report.model_fields) - {"spool_id", "epoch", "seq"}


def test_events_come_back_oldest_first_across_epochs(make: Callable[[int], Outbox]) -> None:
    later, earlier = make(12), make(3)
    for outbox in (later, earlier):
        outbox.put(draft())
        outbox.put(draft(State.RUNNING))
    assert [(r.epoch, r.seq) for r in make(13).read_oldest(10)] == [(3, 1), (3, 2), (12, 1), (12, 2)]
    assert [(r.epoch, r.seq) for r in make(13).read_oldest(3)] == [(3, 1), (3, 2), (12, 1)]


def test_a_restarted_agent_reads_the_same_report(make: Callable[[int], Outbox]) -> None:
    before = make(1).put(draft(message="Priorität", job_id="7", note={"kind": "held", "message": "by hand"}))
    (after,) = make(2).read_oldest(10)
    assert after == before
    assert digest_report(after) == digest_report(before)
    assert after.at == NOW


def test_only_removed_events_go_and_twice_is_harmless(make: Callable[[int], Outbox]) -> None:
    outbox = make(1)
    first, second = outbox.put(draft()), outbox.put({**draft().model_dump(), "state": "running"})
    outbox.remove([first])
    outbox.remove([first])
    assert outbox.read_oldest(10) == [second]
    assert outbox.count() == 1


def test_an_unreadable_file_is_set_aside_and_stops_no_other(tmp_path: Path, make: Callable[[int], Outbox]) -> None:
    outbox = make(2)
    broken = tmp_path / "outbox" / "0000000001-000000000001.json"
    broken.write_text('{"spool_id": ')
    misnamed = tmp_path / "outbox" / "0000000001-000000000002.json"
    misnamed.write_text(Outbox(tmp_path / "elsewhere", SPOOL_ID, 1, Clock())._number(draft()).model_dump_json())
    good = outbox.put(draft())
    assert outbox.read_oldest(10) == [good]
    assert outbox.count() == 1
    assert (tmp_path / "bad" / broken.name).exists()
    assert "not a report" in (tmp_path / "bad" / f"{broken.name}.message").read_text()
    assert "does not match" in (tmp_path / "bad" / f"{misnamed.name}.message").read_text()


def test_a_read_error_throws_no_good_report_out(
    make: Callable[[int], Outbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outbox = make(1)
    outbox.put(draft())

    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bytes", fail)
        assert outbox.read_oldest(10) == []
    assert len(outbox.read_oldest(10)) == 1
    assert not (tmp_path / "bad").exists()


def test_a_sequence_is_not_used_again_after_a_failed_write(
    make: Callable[[int], Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = make(1)

    def full(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "link_once", full)
        with pytest.raises(SpoolError, match=r"No space left.*Free some space"):
            outbox.put(draft())
    assert outbox.put(draft()).seq == 2


def test_a_name_taken_by_other_content_is_stepped_over(make: Callable[[int], Outbox]) -> None:
    first = make(1).put(draft())
    second = make(1).put(draft(State.RUNNING))  # the same epoch again: must not happen, and does no harm
    assert (first.seq, second.seq) == (1, 2)
    assert len(make(1).read_oldest(10)) == 2


def test_a_report_that_is_refused_lies_in_bad_with_its_reason(tmp_path: Path, make: Callable[[int], Outbox]) -> None:
    outbox = make(1)
    outbox.set_aside(outbox.put(draft()), "not this agent's task")
    assert outbox.count() == 0
    assert (tmp_path / "bad" / "0000000001-000000000001.json.message").read_text() == "not this agent's task\n"


def test_each_put_tells_the_reporter(make: Callable[..., Outbox]) -> None:
    told = list[int]()
    outbox: Outbox = make(1, on_put=lambda: told.append(outbox.count()))
    outbox.put(draft())
    assert told == [1]


def test_a_file_of_before_there_were_limits_is_sent_as_far_as_it_fits(make: Callable[[int], Outbox]) -> None:
    outbox = make(1)
    report = outbox.put(draft(job_id="7", node="n1"))
    (path,) = outbox._folder.iterdir()
    old = {**report.model_dump(mode="json", exclude_defaults=True), "job_id": "9" * 5000, "message": "x" * 100_000}
    path.write_text(json.dumps(old))

    (kept,) = make(2).read_oldest(10)

    assert (kept.seq, kept.job_id, kept.node, len(kept.message.encode())) == (report.seq, None, "n1", MAX_MESSAGE_BYTES)
    assert outbox.list_set_aside() == []
