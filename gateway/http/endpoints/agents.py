"""What agents call: enrolment, reports, heartbeat, commands, and the bytes that commands ask for."""

from collections.abc import AsyncIterator
from typing import Final

from pydantic import Field

from gateway.http.route import Call, route
from gateway.values import AgentIdentity
from mltm.contract import routes
from mltm.contract.agent_api import (
    POLL_WAIT_S,
    Ack,
    Answer,
    BytesHeaders,
    Commands,
    Enrolled,
    Enrolment,
    Heartbeat,
    ReportBatch,
    ReportsAnswer,
)
from mltm.contract.base_models import Message

__all__ = [
    "MAX_BYTES", "PollQuery", "acknowledge", "deliver_bytes", "enrol", "heartbeat", "poll_commands", "store_reports",
]  # fmt: skip

MAX_BYTES: Final = 8 * 1024 * 1024
_MAX_REPORTS_BYTES: Final = 4 * 1024 * 1024  # one report of a drop with the largest config fits; agents send 2 MiB
_MAX_BEAT_BYTES: Final = 1024 * 1024  # an agent names up to 50 problems, each of up to 1,024 characters
_MAX_ACK_BYTES: Final = 8 * 1024 * 1024  # a list of outputs


class PollQuery(Message):
    """How long to wait for a command."""

    wait: float = Field(default=POLL_WAIT_S, ge=0, le=60, description="seconds")


@route("POST", routes.AGENT_ENROL, area="agents", errors=(401, 409, 413, 415, 429, 503, 507))
async def enrol(call: Call, body: Enrolment) -> Enrolled:
    """Exchange a one-time code for the agent's credential."""
    return await call.services.agents.enrol(body)


@route("POST", routes.AGENT_REPORTS, area="agents", errors=(507,), max_body_bytes=_MAX_REPORTS_BYTES, lane="reports")
async def store_reports(call: Call, agent: AgentIdentity, body: ReportBatch) -> ReportsAnswer:
    """Store reports; a repetition is harmless. One outcome for each report."""
    return await call.services.agents.store_reports(agent, body)


@route("POST", routes.AGENT_HEARTBEAT, area="agents", errors=(507,), max_body_bytes=_MAX_BEAT_BYTES, lane="bytes")
async def heartbeat(call: Call, agent: AgentIdentity, body: Heartbeat) -> Answer:
    """Say that the agent is alive, and how it is."""
    return await call.services.agents.heartbeat(agent, body)


@route("GET", routes.AGENT_COMMANDS, area="agents", lane="polls")
async def poll_commands(call: Call, agent: AgentIdentity, query: PollQuery) -> Commands:
    """The open commands. If there are none, wait for one."""
    return await call.services.agents.open_commands(agent, query.wait)


@route("POST", routes.AGENT_ACK, area="agents", errors=(404, 507), max_body_bytes=_MAX_ACK_BYTES, lane="bytes")
async def acknowledge(call: Call, agent: AgentIdentity, command_id: str, body: Ack) -> Answer:
    """Close a command; a repetition is harmless."""
    return await call.services.agents.acknowledge(agent, command_id, body)


@route("PUT", routes.AGENT_BYTES, area="agents", errors=(404, 409, 507), max_body_bytes=MAX_BYTES, lane="bytes")
async def deliver_bytes(
    call: Call, agent: AgentIdentity, command_id: str, headers: BytesHeaders, raw: AsyncIterator[bytes]
) -> Answer:
    """Deliver the bytes that a command asked for; a repetition is harmless."""
    return await call.services.cluster_files.deliver_bytes(agent, command_id, headers, raw)
