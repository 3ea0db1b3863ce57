import io

import pytest

from mltm.contract import routes
from mltm.runtime.logging_setup import set_up_logging
from tests.gateway.fixtures import House


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
async def test_the_log_of_a_failure_tells_no_password(
    house: House, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    set_up_logging(stream)
    monkeypatch.setattr("gateway.services.users.is_password", fail)
    status, problem = await house.call("POST", routes.LOGIN, None, data={"username": "alice", "password": "so secret"})

    assert (status, problem["key"]) == (500, "internal_error")
    for message in ("request_failed", "RuntimeError: planted", problem["request_id"]):
        assert message in stream.getvalue()
    assert "so secret" not in stream.getvalue()
