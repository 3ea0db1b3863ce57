"""What a decision is given, with the fields that a test does not name filled in."""

import dataclasses
from typing import Any

from agent.protocol.decide import Situation
from agent.protocol.journal import AttemptJournal
from agent.protocol.observation import Observation
from agent.settings import Waits
from agent.slurm.values import JobLine
from mltm.contract.ids import JobId, render_job_name
from mltm.contract.journal_records import Submitted
from tests.agent.protocol import build

WAITS = Waits()
NOW_S = 10_000.0
NAME = render_job_name(build.TASK, 1)


def seen(**fields: Any) -> Situation:
    observed = {
        key: fields.pop(key) for key in list(fields) if key in {each.name for each in dataclasses.fields(Observation)}
    }
    usual = {"observation": build.observation(**observed), "now_s": NOW_S, "config": build.config()}
    return Situation(**{**usual, **fields})


def attempt(number: int = 1, **fields: Any) -> AttemptJournal:
    return AttemptJournal(number, build.submit(number), **fields)


def submitted(outcome: str, job_id: str | None = None) -> Submitted:
    return Submitted(job_id=job_id, outcome=outcome, message="message", at=build.NOW)


def line(state: str, reason: str = "") -> JobLine:
    return JobLine(JobId("7"), state, NAME, reason=reason)


GONE: dict[str, Any] = {"absent_polls": 2, "absent_since_s": NOW_S - 61}
OVER: dict[str, Any] = {"over_since_s": NOW_S - 121}
OWNED: dict[str, Any] = {"claim": build.claim(), "noted": build.claim()}
