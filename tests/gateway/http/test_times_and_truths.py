"""A time is RFC 3339 and a truth is a truth: pydantic alone would also take numbers and other texts for them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mltm.contract import routes
from mltm.contract.base_models import Timestamp
from tests.gateway.fixtures import House

TIMES = TypeAdapter(Timestamp)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29T12:00:00Z", "2026-11-29t12:00:00z", "2026-11-29T12:00:00.123456+01:00", "2026-11-29 12:00:00-00:00",
        "2026-11-29T12:00:00.123456789Z",
    ],
)  # fmt: skip
def test_a_time_of_rfc_3339_is_taken(text: str) -> None:
    assert TIMES.validate_python(text).tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [0, 1.5, True, "0", "1764417600", "2026-11-29", "2026-11-29T12:00Z", "2026-11-29T12:00:00", "12:00:00Z", "", None,
     "\u0662026-11-29T12:00:00Z", "2026-02-30T12:00:00Z"],
)  # fmt: skip
def test_anything_else_is_no_time(value: object) -> None:
    with pytest.raises(ValidationError):
        TIMES.validate_python(value)


def test_an_aware_datetime_is_a_time() -> None:
    now = datetime.now(UTC)
    assert TIMES.validate_python(now) == now


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", 0),
        ("at", "1764417600"),
        ("started_at", 7),
        ("closed", 0),
        ("closed", "no"),
        ("taken", 1),
        ("taken", "true"),
    ],
)
async def test_a_report_with_another_type_is_refused(house: House, name: str, value: object) -> None:
    report = {**house.agent.build(await house.make_task(), "running", job_id="7", node="n"), name: value}

    status, problem = await send(house, routes.AGENT_REPORTS, {"reports": [report]})

    assert (status, [field["field"] for field in problem["fields"]]) == (422, [f"reports.0.{name}"])


@pytest.mark.parametrize("value", [0, "0", "2026-11-29"])
async def test_a_heartbeat_with_another_time_is_refused(house: House, value: object) -> None:
    beat = {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": value, "active_tasks": 0, "outbox": 0}

    status, problem = await send(house, routes.AGENT_HEARTBEAT, beat)

    assert (status, [field["field"] for field in problem["fields"]]) == (422, ["at"])


async def send(house: House, path: str, body: dict[str, object]) -> tuple[int, Any]:
    return await house.call("POST", path, None, json=body, headers=house.agent.headers)
