"""Every parser of outside text: any bytes give a value or the parser's own error, and nothing else.

Half of the inputs are random; the others are real texts with a few places changed. FUZZ=70000 gives each parser so many
inputs (a million in all); a plain run gives it some hundred.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from agent.errors import SpoolError
from agent.job.isolation import explain_entry
from agent.protocol.verdict import is_over_memory, read_slurm_end
from agent.settings import AgentSettings
from agent.slurm.errors import read_message
from agent.slurm.parse import parse_accounting, parse_duration_s, parse_facts, parse_list, parse_submission
from agent.slurm.shell import CommandResult
from agent.spool.records import _parse_claim, _parse_intent
from mltm.contract.agent_api import Ack, CommandMessage, Enrolment, Heartbeat, ReportBatch
from mltm.contract.base_models import render_canonical
from mltm.contract.ids import parse_job_name, parse_task_id
from mltm.contract.journal_records import Amended, Dup, Exit, Refused, Submitted
from mltm.contract.manifest import Manifest
from mltm.contract.parse_config import ConfigError, parse_config
from mltm.contract.proofs import parse_address, parse_key
from mltm.contract.reports import Report, compute_task_view
from mltm.contract.task_config import check_key
from mltm.wire.retry_policy import parse_retry_after
from tests.mltm.contract.test_task_config import SEED

DATA = Path(__file__).resolve().parent.parent / "data"
MAX_EXAMPLES = int(os.environ.get("FUZZ", "150"))
NOW, ID = "2026-11-29T12:00:00Z", "0190a0b0c0d07e0f8a0b0c0d0e0f0a0b"
REPORT = {
    "spool_id": ID, "epoch": 1, "seq": 1, "task_id": ID, "attempt": 1, "state": "running", "evidence": "claim",
    "at": NOW, "job_id": "7", "node": "n1", "exit_code": 0,
}  # fmt: skip
EXIT = {
    "kind": "exit", "nonce": ID, "job_id": "7", "node": "n1", "boot_id": "b", "code": 0, "started_at": NOW,
    "ended_at": NOW, "elapsed_s": 1.5, "stop_signals": [{"name": "TERM", "uptime_s": 1.0}], "ended_uptime_s": 2.0,
    "warnings": [], "stopped_for_beat": False, "oom_kills": None, "image_started": None,
}  # fmt: skip


@dataclass(frozen=True)
class Parser:
    """parse: may raise `errors` only. seeds: texts that it accepts."""

    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = (b"",)


def of_model(model: type[BaseModel], *seeds: dict[str, object]) -> Parser:
    return Parser(model.model_validate_json, (ValidationError,), tuple(json.dumps(seed).encode() for seed in seeds))


def as_text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def of_slurm(parse: Callable[[CommandResult], object], *names: str, exit_code: int = 0) -> Parser:
    """A program's output, on stdout and on stderr."""

    def run(raw: bytes) -> object:
        text = as_text(raw)
        half = len(text) // 2
        return [
            parse(CommandResult(("x",), exit_code, stdout=text)),
            parse(CommandResult(("x",), 1, stdout=text[:half], stderr=text[half:])),
        ]

    found = [path.read_bytes() for name in names for path in sorted(DATA.glob(f"slurm-*/{name}*.stdout"))]
    return Parser(run, (), tuple(found) or (b"12\n",))


def merge(raw: bytes) -> object:
    """What a set of reports says, and its canonical form."""
    reports = ReportBatch.model_validate_json(raw).reports
    return [render_canonical(report.model_dump(mode="json")) for report in reports], compute_task_view(reports)


SITE = AgentSettings(spool=Path("/spool"), cluster="c", credential_file=Path("/credential"))
PARSERS = {
    "a task's config": Parser(parse_config, (ConfigError,), (json.dumps(SEED).encode(),)),
    "a name in a config": Parser(lambda raw: check_key(as_text(raw)), (ValueError,), (b"gpu-a100",)),
    "a manifest": of_model(
        Manifest,
        {
            "task_id": ID,
            "owner": "ana",
            "cluster": "c",
            "submitted_at": NOW,
            "script_name": "s.py",
            "config": SEED,
            "files": [{"name": "entrypoint.py", "size": 3, "sha256": "0" * 64}],
        },
    ),
    "a report": of_model(Report, REPORT),
    "a batch of reports": Parser(merge, (ValidationError,), (json.dumps({"reports": [REPORT]}).encode(),)),
    "an acknowledgement": of_model(
        Ack, {"outcome": "done", "outputs": [{"path": "a/b", "size": 1, "modified_at": NOW}]}
    ),
    "a heartbeat": of_model(
        Heartbeat,
        {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": NOW, "active_tasks": 0, "outbox": 0, "problems": []},
    ),
    "an enrolment": of_model(Enrolment, {"code": "c", "host": "h", "unix_user": "u", "spool_id": ID, "proof": "0"}),
    "a command": of_model(CommandMessage, {"command_id": ID, "kind": "cancel", "task_id": ID}),
    "an exit record": of_model(Exit, EXIT),
    "other records": Parser(
        lambda raw: [model.model_validate_json(raw) for model in (Refused, Dup, Submitted, Amended)],
        (ValidationError,),
        (json.dumps({"kind": "refused", "nonce": ID, "job_id": "7", "node": "n", "check": "x"}).encode(),),
    ),
    "an intent": Parser(lambda raw: _parse_intent(Path("x"), raw), (SpoolError,), (b'{"kind":"submit"}',)),
    "a claim": Parser(lambda raw: _parse_claim(Path("x"), raw), (SpoolError,), (b'{"kind":"job"}',)),
    "an address": Parser(lambda raw: parse_address(raw, ID, b"k" * 32), (ValueError,), (b'{"url":"x","proof":"y"}',)),
    "a key": Parser(lambda raw: parse_key(as_text(raw)), (ValueError,), (b"0" * 64,)),
    "ids": Parser(lambda raw: parse_task_id(as_text(raw)), (ValueError,), (ID.encode(),)),
    "a job's name": Parser(lambda raw: parse_job_name(as_text(raw)), (), (f"mltm-{ID}-a01".encode(),)),
    "Retry-After": Parser(lambda raw: parse_retry_after(as_text(raw)), (), (b"7", b"Wed, 21 Oct 2026 07:28:00 GMT")),
    "sbatch": of_slurm(parse_submission, "sbatch"),
    "squeue": of_slurm(parse_list, "squeue"),
    "sacct": of_slurm(parse_accounting, "sacct"),
    "scontrol": of_slurm(parse_facts, "scontrol"),
    "an error of Slurm's": Parser(lambda raw: read_message(as_text(raw)), (), (b"sbatch: error: Batch job failed\n",)),
    "a state of Slurm's": Parser(lambda raw: read_slurm_end(as_text(raw)), (), (b"CANCELLED by 0",)),
    "a duration": Parser(lambda raw: parse_duration_s(as_text(raw)), (), (b"1-02:03:04",)),
    "what slurmstepd printed": Parser(lambda raw: is_over_memory(as_text(raw)), (), (b"slurmstepd: error: oom_kill",)),
    "a path of a catalogue": Parser(
        lambda raw: explain_entry(Path("/images") / as_text(raw).replace("\0", ""), SITE), (), (b"a.sif",)
    ),
}
EDITS = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)
TOKENS = st.sampled_from(
    [b'"', b"\\", b"\x00", b"\xff", b"NaN", b"1e999", b"-1", b"null", b"[]", b"{}", b"\\ud800", b"9" * 30, b"|"]
)


@st.composite
def inputs(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Random bytes, or a seed with some places replaced."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    raw = bytearray(draw(st.sampled_from(seeds)))
    for place, length, new in draw(EDITS):
        at = place % (len(raw) + 1)
        raw[at : at + length] = draw(TOKENS) if draw(st.booleans()) else new
    return bytes(raw)


def try_all(parser: Parser, count: int) -> None:
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(parser.seeds))
    def try_one(raw: bytes) -> None:
        with contextlib.suppress(*parser.errors):
            parser.parse(raw)

    try_one()


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.timeout(3600)
def test_any_text_gives_a_value_or_the_parsers_own_error(name: str) -> None:
    try_all(PARSERS[name], MAX_EXAMPLES)


def test_an_error_that_is_not_the_parsers_own_is_found() -> None:
    with pytest.raises(IndexError):
        try_all(Parser(lambda raw: raw[2:3][0], (ValueError,), (b"abc",)), 200)


@pytest.mark.parametrize("name", PARSERS)
def test_the_seeds_are_texts_that_are_accepted(name: str) -> None:
    if name in {"other records", "an intent", "a claim", "an address"}:  # of several kinds, or without a valid proof
        return
    for seed in PARSERS[name].seeds:
        PARSERS[name].parse(seed)
