"""Polls the gateway for commands, carries them out, and acknowledges each."""

import asyncio
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from agent.errors import AgentError
from agent.spool.commands import record_command
from agent.uplink.client import GatewayClient, GatewayRefusedError, RawCommands
from agent.uplink.outputs import list_outputs
from agent.uplink.reporter import choose_pause_s
from agent.uplink.task_files import read_task_file
from mltm.contract.agent_api import POLL_WAIT_S, Ack, BytesHeaders, CommandMessage
from mltm.contract.base_models import JsonObject
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from mltm.runtime.retry import Backoff, Sleep

__all__ = ["CommandPoller"]

_CLOSED = frozenset({404, 409, 410})  #: another agent was first, or nobody waits for it any more
_log = structlog.get_logger(__name__)


class CommandPoller:
    """The one long poll. A command that fails stays open, and the next poll brings it again."""

    def __init__(
        self,
        spool: Spool,
        client: GatewayClient,
        clock: Clock,
        wake_tick: Callable[[], None],
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._spool = spool
        self._client = client
        self._clock = clock
        self._wake_tick = wake_tick
        self._sleep = sleep
        self._backoff = Backoff(clock)

    async def run(self) -> None:
        """Poll for ever; ends by cancellation."""
        while True:
            try:
                await self.poll_once(POLL_WAIT_S)
            except (AgentError, OSError) as error:
                pause_s = _choose_pause_s(error, self._backoff)
                _log.warning("poll_waits", error=str(error), again_in_s=round(pause_s, 1))
                await self._sleep(pause_s)
            else:
                self._backoff.reset()

    async def poll_once(self, wait_s: float) -> int:
        """Poll once and carry out all commands; returns how many. One failure stops no other; the first one is raised.

        Raises AgentError, OSError.
        """
        answer = await self._client.poll_commands(wait_s)
        steps = [self._carry_out(raw) for raw in _sort_commands(answer)]
        results = await asyncio.gather(*steps, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        return len(results)

    async def _carry_out(self, raw: JsonObject) -> None:
        try:
            command = CommandMessage.model_validate(raw)
        except ValidationError:
            await self._refuse_unknown(raw)
            return
        if command.kind == "send_bytes":
            await self._send_bytes(command)
            return
        if command.kind == "list_outputs":
            ack = await asyncio.to_thread(self._list_outputs, command)
        else:
            ack = await asyncio.to_thread(record_command, self._spool, command, self._clock)
            self._wake_tick()
        await self._acknowledge(command.command_id, ack)
        _log.info("command_done", command=command.kind, task_id=command.task_id, outcome=ack.outcome)

    async def _refuse_unknown(self, raw: JsonObject) -> None:
        command_id = raw.get("command_id")
        _log.warning("command_not_understood", kind=str(raw.get("kind"))[:40])
        if isinstance(command_id, str) and command_id.replace("-", "").isalnum():
            message = "This version of the agent does not know this command. Update the agent."
            await self._acknowledge(command_id, Ack(outcome="refused", message=message))

    async def _send_bytes(self, command: CommandMessage) -> None:
        try:
            headers, data = await asyncio.to_thread(self._read_bytes, command)
        except OSError as error:
            message = f"Cannot read {command.file} on the cluster: {error.strerror or error}."
            await self._acknowledge(command.command_id, Ack(outcome="refused", message=message))
            return
        try:
            await self._client.send_bytes(command.command_id, headers, data)
        except GatewayRefusedError as error:
            _raise_unless_closed(error)
            _log.info("bytes_not_wanted", task_id=command.task_id, error=str(error))

    def _read_bytes(self, command: CommandMessage) -> tuple[BytesHeaders, bytes]:
        folder = self._spool.task(TaskId(command.task_id))
        read, is_final = read_task_file(
            self._spool, folder, command.file, command.attempt, command.offset, command.length
        )
        return BytesHeaders(offset=read.offset, size=read.size, final=is_final), read.data

    def _list_outputs(self, command: CommandMessage) -> Ack:
        try:
            listing = list_outputs(self._spool.task(TaskId(command.task_id)))
        except OSError as error:
            return Ack(outcome="refused", message=f"Cannot list the outputs: {error.strerror or error}.")
        return Ack(outcome="done", message=listing.message, outputs=list(listing.files))

    async def _acknowledge(self, command_id: str, ack: Ack) -> None:
        try:
            await self._client.acknowledge(command_id, ack)
        except GatewayRefusedError as error:
            _raise_unless_closed(error)
            _log.info("acknowledgement_not_wanted", command_id=command_id, error=str(error))


def _raise_unless_closed(error: GatewayRefusedError) -> None:
    """A command that stays open comes again with the next poll: without a pause, that would be an endless loop."""
    if error.status not in _CLOSED:
        raise error


def _choose_pause_s(error: AgentError | OSError, backoff: Backoff) -> float:
    """One command that fails must not delay the others for long: a cancel may be among them."""
    if isinstance(error, AgentError) and not isinstance(error, GatewayRefusedError):
        return choose_pause_s(error, backoff)
    return backoff.next_s()


def _sort_commands(answer: RawCommands) -> list[JsonObject]:
    """Put cancels first: they must not wait for a large file."""
    return sorted(answer.commands, key=lambda raw: raw.get("kind") != "cancel")
