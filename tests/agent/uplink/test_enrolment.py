"""Enrolment: the credential is kept only when everything fits, and never shown; the agent says who it is."""

import os
import subprocess
from pathlib import Path

import pytest
from aioresponses import aioresponses

from agent.errors import AgentError, GatewayAwayError, RevokedError, SettingsError, SpoolError
from agent.settings import AgentSettings
from agent.spool.gateway_binding import check_gateway
from agent.uplink.client import GatewayRefusedError
from agent.uplink.credential import read_credential
from agent.uplink.enrolment import enrol_agent, read_unix_user
from mltm.contract import routes
from mltm.contract.agent_api import Enrolled, Enrolment
from mltm.contract.spool_layout import Spool
from tests.agent.uplink.build import GENERATION, SECRET, URL, problem

ENROL = URL + routes.AGENT_ENROL
CODE = "enrol_verysecret"


def answer(cluster: str = "atena02", gateway_id: str = "1" * 32) -> dict[str, object]:
    enrolled = Enrolled(
        generation=GENERATION, agent_id="a1", credential=SECRET, cluster=cluster, owner="maria", gateway_name="mltm",
        gateway_id=gateway_id,
    )  # fmt: skip
    return enrolled.model_dump()


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return AgentSettings(spool=tmp_path / "spool", cluster="atena02", credential_file=tmp_path / "kept" / "credential")


async def test_the_credential_is_kept_and_the_spool_is_the_gateways(
    settings: AgentSettings, gateway: aioresponses
) -> None:
    gateway.post(ENROL, payload=answer())
    await enrol_agent(settings, URL + "/", CODE)
    kept = read_credential(settings.credential_file)
    assert (kept.credential, kept.gateway_id) == (SECRET, "1" * 32)
    check_gateway(Spool(settings.spool), kept)
    ((call,),) = gateway.requests.values()
    sent = Enrolment.model_validate_json(call.kwargs["data"])
    assert (sent.code, sent.spool_id) == (CODE, Spool(settings.spool).spool_id.read_text().strip())
    assert "Authorization" not in call.kwargs["headers"]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"status": 401, "body": problem(401, "This code was used.", "Ask for one.")}, RevokedError, "used. Ask for"),
        ({"status": 409, "body": problem(409, "There is an agent.", "Revoke it.")}, GatewayRefusedError, "Revoke it."),
        ({"status": 502, "body": "<html>"}, GatewayAwayError, "answered 502"),
        ({"payload": answer(cluster="elsewhere")}, SettingsError, "'elsewhere', but the config file says 'atena02'"),
    ],
)
async def test_what_does_not_fit_keeps_nothing_and_shows_no_secret(
    settings: AgentSettings, gateway: aioresponses, fault: dict[str, object], error: type[AgentError], message: str
) -> None:
    gateway.post(ENROL, **fault)
    with pytest.raises(error) as caught:
        await enrol_agent(settings, URL, CODE)
    assert message in str(caught.value)
    assert not [secret for secret in (SECRET, CODE) if secret in str(caught.value)]
    assert not settings.credential_file.exists()
    assert not Spool(settings.spool).gateway_id.exists()


async def test_a_spool_of_another_gateway_keeps_its_credential(settings: AgentSettings, gateway: aioresponses) -> None:
    gateway.post(ENROL, payload=answer())
    await enrol_agent(settings, URL, CODE)
    before = settings.credential_file.read_bytes()
    gateway.post(ENROL, payload={**answer(gateway_id="2" * 32), "credential": "another"})
    with pytest.raises(SpoolError, match="belongs to the gateway 'mltm'"):
        await enrol_agent(settings, URL, CODE)
    assert settings.credential_file.read_bytes() == before


def test_the_unix_user_is_the_process_s_own_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    said = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
    assert read_unix_user() == said.strip()


def test_a_user_without_a_name_is_his_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert read_unix_user() == "4000000000"
