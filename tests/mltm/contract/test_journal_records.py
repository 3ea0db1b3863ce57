"""Every record is read back as it was written, whatever is left out of it, and starts with its kind."""

from datetime import UTC, datetime

import pytest

from mltm.contract import journal_records as records
from mltm.contract.states import State

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NONCE = "a" * 32
AUTHOR = records.Author(epoch=1, host="h", pid=2)
CLAIM = records.JobClaim(nonce=NONCE, job_id="7", node="n1", boot_id="b", pid=1, at=NOW)
VERDICT = records.Verdict(state=State.LOST)


@pytest.mark.parametrize(
    "record",
    [
        records.Submit(nonce=NONCE, attempt=1, author=AUTHOR, at=NOW),
        records.Closed(nonce=NONCE, attempt=2, author=AUTHOR, at=NOW, verdict=VERDICT),
        CLAIM,
        records.Fence(nonce=NONCE, reason="unknown", author=AUTHOR, at=NOW),
        records.Note(claim=CLAIM, at=NOW),
        records.Submitted(outcome="permanent", at=NOW),
        records.Submitted(outcome="accepted", job_id="7", at=NOW),
        records.Exit(nonce=NONCE, job_id="7", node="n", boot_id="b", code=0, started_at=NOW, ended_at=NOW, elapsed_s=1),
        records.Refused(nonce=NONCE, job_id="7", node="n", check="image", message="w"),
        records.Dup(nonce=NONCE, job_id="7", node="n"),
        records.Command(kind="cancel", command_id="c", at=NOW),
        records.Amended(verdict=VERDICT, at=NOW),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_record_is_read_back_as_it_was_written(record: records.Record) -> None:
    written = records.render_record(record)

    assert written.startswith(b'{"kind":"' + record.kind.encode())
    assert type(record).model_validate_json(written) == record
