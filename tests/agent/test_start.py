"""What the agent refuses to start with, and what it says of itself when it starts."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.app import assemble
from agent.errors import SettingsError
from agent.settings import AgentSettings
from agent.uplink.credential import Credential, write_credential
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from tests.agent.job.planning import make_settings

ALL = "This agent runs the tasks of all users without a container."


def start(settings: AgentSettings, owner: str) -> list[str]:
    """Put the agent together, as `run` and `once` do; return its alerts."""
    known = Credential(agent_id="a", credential="s", cluster="atena02", owner=owner, gateway_name="g")
    write_credential(settings.credential_file, known, Clock())

    async def assembled() -> list[str]:
        async with assemble(settings, {"HOME": "/nonexistent", "PATH": "/usr/bin"}) as parts:
            return parts.alerts.sentences()

    return asyncio.run(assembled())


def test_an_agent_for_all_users_does_not_start_without_a_container(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, runtime="none")

    with pytest.raises(SettingsError, match="shared_without_container = true"):
        start(settings, "")

    assert list(settings.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "changes", "alerts"),
    [
        ("ana", {"runtime": "none"}, []),
        ("", {}, []),
        ("", {"runtime": "none", "shared_without_container": True}, [ALL]),
        ("ana", {"runtime": "none", "shared_without_container": True}, []),
    ],
)
def test_whoever_may_start_without_a_container_says_so(
    tmp_path: Path, owner: str, changes: dict[str, object], alerts: list[str]
) -> None:
    settings = make_settings(tmp_path, **changes)
    name = Spool(settings.spool).gateway_name
    name.parent.mkdir(mode=0o700)
    name.write_text("g\n")

    with capture_logs() as logged:
        said = start(settings, owner)

    assert [sentence[: len(ALL)] for sentence in said] == alerts
    events = [(each["event"], each["log_level"]) for each in logged]
    assert (("runs_without_container", "warning") in events) is (settings.runtime == "none")


def test_it_does_not_start_with_a_bind_that_leads_out_of_the_container(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, binds=[f"{tmp_path}/scratch", f"{tmp_path}/spool/agent:/x:ro"])

    with pytest.raises(SettingsError, match=r"'.*/spool/agent:/x:ro' gives every task the spool .* start again"):
        start(settings, "ana")

    assert list(settings.spool.iterdir()) == []
