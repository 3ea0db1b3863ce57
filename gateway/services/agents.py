"""What agents ask of the gateway: enrolment, reports, heartbeats, commands."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.security_log import SecurityLog
from gateway.services.passwords import hash_secret
from gateway.services.wake import Wake
from gateway.store import agents as rows
from gateway.store.commands import close_command, list_open
from gateway.store.database import Database
from gateway.store.prepared import PreparedReport, prepare_report
from gateway.store.reports import store_reports
from gateway.values import AgentIdentity, InboxKey
from mltm.contract.agent_api import (
    Ack,
    Answer,
    CommandMessage,
    Commands,
    Enrolled,
    Enrolment,
    Heartbeat,
    ReportBatch,
    ReportOutcome,
    ReportsAnswer,
)
from mltm.contract.ids import AgentId
from mltm.runtime.clock import Clock
from mltm.runtime.collection import without_collection
from mltm.runtime.events import wait_for_event

__all__ = ["Agents"]

# Of one transaction: between two of them the database's thread serves others.
_PART_REPORTS: Final = 10
_PART_BYTES: Final = 128 * 1024


class Agents:
    """Every answer carries the database's generation: an agent that sees a new one reports all its tasks again."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        wake: Wake,
        security: SecurityLog,
        *,
        generation: str,
        name: str,
        gateway_id: str,
    ) -> None:
        self._database, self._clock, self._wake, self._security = database, clock, wake, security
        self._generation, self._name, self._gateway_id = generation, name, gateway_id

    async def enrol(self, enrolment: Enrolment) -> Enrolled:
        """Use up a one-time code. Raises UnauthorizedError (bad_code, code_expired), ConflictError."""
        credential = self._clock.new_secret("mltm_agent_")
        enrolled = await self._database.call(
            rows.enrol,
            hash_secret(enrolment.code.strip()),
            enrolment,
            AgentId(self._clock.new_id()),
            hash_secret(credential),
            self._clock.now(),
        )
        agent = enrolled.identity
        self._security.record(
            "enrolment", agent_id=agent.agent_id, cluster=agent.cluster, inbox=agent.inbox, host=enrolment.host,
            of_user=agent.owner, of_user_id=agent.owner_id,
        )  # fmt: skip
        return Enrolled(
            generation=self._generation,
            agent_id=agent.agent_id,
            credential=credential,
            cluster=agent.cluster,
            owner=agent.owner or "",
            gateway_name=self._name,
            gateway_id=self._gateway_id,
            spool_key=enrolled.spool_key.hex(),
        )

    async def authenticate(self, credential: str) -> AgentIdentity:
        """Find the agent of this credential. Raises UnauthorizedError (bad_credential, credential_revoked)."""
        return await self._database.read(rows.find_agent, hash_secret(credential))

    async def list_inbox_keys(self) -> list[InboxKey]:
        """List the inboxes of all agents that are not revoked, with their keys."""
        return await self._database.read(rows.list_inbox_keys)

    async def store_reports(self, agent: AgentIdentity, batch: ReportBatch) -> ReportsAnswer:
        """Store each report once and merge it, in several short transactions. One outcome for each report.

        Who asks meanwhile sees a part of the batch: each part is a whole of its own.
        """
        await self._database.call(rows.touch, agent.agent_id, self._clock.now())
        outcomes: list[ReportOutcome] = []
        for part in _split(await asyncio.to_thread(_prepare, batch)):
            outcomes += await self._database.call(store_reports, agent, part, self._clock.now())
        pairs = zip(batch.reports, outcomes, strict=True)
        refused = [report.task_id for report, outcome in pairs if outcome.outcome == "refused"]
        if refused:
            self._security.record("reports_refused", "refused", count=len(refused), task_id=refused[0])
        for task_id in {report.task_id for report in batch.reports}:
            self._wake.ring(f"task:{task_id}")
        self._wake.ring("publisher")
        return ReportsAnswer(generation=self._generation, outcomes=outcomes)

    async def heartbeat(self, agent: AgentIdentity, beat: Heartbeat) -> Answer:
        """Store the agent's last heartbeat."""
        await self._database.call(rows.save_heartbeat, agent.agent_id, beat, self._clock.now())
        return Answer(generation=self._generation)

    async def open_commands(self, agent: AgentIdentity, wait_s: float) -> Commands:
        """List the agent's open commands. If there are none, wait up to `wait_s` for one. Raises UnauthorizedError."""
        until_s = self._clock.boot_s() + wait_s
        with self._wake.listen("commands") as made:
            while True:
                # An agent that was revoked while it waited gets nothing more.
                await self._database.read(rows.require_live, agent.agent_id)
                commands: list[CommandMessage] = await self._database.read(list_open, agent.agent_id, self._clock.now())
                if commands or not await wait_for_event(made, until_s - self._clock.boot_s()):
                    return Commands(generation=self._generation, commands=commands)

    async def acknowledge(self, agent: AgentIdentity, command_id: str, ack: Ack) -> Answer:
        """Close a command; a repetition is harmless. Raises NotFoundError, InvalidError (bytes_needed)."""
        await self._database.call(close_command, agent, command_id, ack, self._clock.now())
        self._wake.ring(f"command:{command_id}")
        return Answer(generation=self._generation)


def _prepare(batch: ReportBatch) -> list[PreparedReport]:
    with without_collection():
        return [prepare_report(report) for report in batch.reports]


def _split(prepared: Iterable[PreparedReport]) -> Iterator[list[PreparedReport]]:
    """Parts of a batch, in its order, each small enough for one short transaction."""
    part: list[PreparedReport] = []
    weight = 0
    for each in prepared:
        if part and (len(part) >= _PART_REPORTS or weight + each.weight > _PART_BYTES):
            yield part
            part, weight = [], 0
        part.append(each)
        weight += each.weight
    if part:
        yield part
