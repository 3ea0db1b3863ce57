"""That nothing blocks the gateway's loop is watched by the fixture `no_blocking`; here it is seen to bark."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.services import health
from gateway.services.health import HealthCheck
from mltm.contract.user_api import Health
from tests.gateway.fixtures import House


async def test_health_is_told_without_blocking(house: House) -> None:
    status, health = await house.call("GET", "/healthz", None)

    assert (status, health["status"], set(health["checks"].values())) == (200, "ok", {"ok"})


def block_by_hand(path: str) -> Callable[[House], object]:
    """A line of the gateway's that blocks: the guard looks for the file that it stands in."""
    scope: dict[str, Any] = {}
    exec(compile(f"import os, time\nplanted = lambda house: {path}", str(health.__file__), "exec"), scope)  # noqa: S102
    planted: Callable[[House], object] = scope["planted"]
    return planted


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(0)",
        "house.settings.data_dir.stat()",
        "(house.settings.data_dir / 'x').write_text('')",
        "os.close(os.open('/', os.O_RDONLY))",
        "house.services.tasks._database.call_now(list)",
    ],
)
async def test_a_blocking_call_in_the_loop_is_met(house: House, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    run = HealthCheck.run

    async def plant(check: HealthCheck) -> Health:
        block_by_hand(line)(house)
        return await run(check)

    monkeypatch.setattr(HealthCheck, "run", plant)
    status, problem = await house.call("GET", "/healthz", None)

    assert (status, problem["key"]) == (500, "internal_error")
