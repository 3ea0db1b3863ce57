"""The one long poll that brings the gateway's commands, and what is done about each of them."""

import asyncio
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from agent.errors import AgentError
from agent.spool.commands import record_command
from agent.uplink.client import GatewayClient, GatewayRefusedError, RawCommands
from agent.uplink.log_reader import is_attempt_over, is_task_over, read_log, read_newest_attempt
from agent.uplink.outputs import Piece, list_outputs, read_output
from agent.uplink.reporter import choose_pause_s
from mltm.contract.agent_api import POLL_WAIT_S, Ack, BytesHeaders, CommandMessage
from mltm.contract.base_models import JsonObject
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool, TaskFolder
from mltm.runtime.clock import Clock
from mltm.runtime.retry import Backoff, Sleep

__all__ = ["CommandPoller"]

_OUTPUTS = "outputs/"
_CLOSED = frozenset({404, 409, 410})  #: another agent was first, or nobody waits any more
_log = structlog.get_logger(__name__)


class CommandPoller:
    """Polls, carries out, acknowledges. A command that fails stays open and comes again with the next poll."""

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
        """One poll and its commands, all of them, one failure stopping no other; how many. Raises the first failure."""
        answer = await self._client.poll_commands(wait_s)
        results = await asyncio.gather(*(self._handle(raw) for raw in _in_order(answer)), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        return len(results)

    async def _handle(self, raw: JsonObject) -> None:
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
            message = "This version of the agent does not know the command. Update the agent."
            await self._acknowledge(command_id, Ack(outcome="refused", message=message))

    async def _send_bytes(self, command: CommandMessage) -> None:
        try:
            headers, data = await asyncio.to_thread(self._read_bytes, command)
        except OSError as error:
            message = f"{command.file} cannot be read on the cluster: {error.strerror or error}."
            await self._acknowledge(command.command_id, Ack(outcome="refused", message=message))
            return
        try:
            await self._client.send_bytes(command.command_id, headers, data)
        except GatewayRefusedError as error:
            _raise_unless_closed(error)
            _log.info("bytes_not_wanted", task_id=command.task_id, error=str(error))

    def _read_bytes(self, command: CommandMessage) -> tuple[BytesHeaders, bytes]:
        folder = self._spool.task(TaskId(command.task_id))
        piece, final = self._read_piece(command, folder)
        return BytesHeaders(offset=piece.offset, size=piece.size, final=final), piece.data

    def _read_piece(self, command: CommandMessage, folder: TaskFolder) -> tuple[Piece, bool]:
        """`final` is read before the bytes: what is written in between is not taken for the whole."""
        if command.file.startswith(_OUTPUTS):
            final = is_task_over(self._spool, folder)
            return read_output(folder, command.file.removeprefix(_OUTPUTS), command.offset, command.length), final
        if command.file != "log":
            raise FileNotFoundError(2, "only 'log' and 'outputs/<path>' can be read", command.file)
        attempt = command.attempt if command.attempt is not None else read_newest_attempt(folder)
        if attempt is None:
            return Piece(b"", max(0, command.offset), 0), is_task_over(self._spool, folder)
        final = is_attempt_over(self._spool, folder, attempt)
        return read_log(folder, attempt, command.offset, command.length), final

    def _list_outputs(self, command: CommandMessage) -> Ack:
        try:
            listing = list_outputs(self._spool.task(TaskId(command.task_id)))
        except OSError as error:
            return Ack(outcome="refused", message=f"The outputs cannot be listed: {error.strerror or error}.")
        return Ack(outcome="done", message=listing.message, outputs=list(listing.files))

    async def _acknowledge(self, command_id: str, ack: Ack) -> None:
        try:
            await self._client.acknowledge(command_id, ack)
        except GatewayRefusedError as error:
            _raise_unless_closed(error)
            _log.info("acknowledgement_not_wanted", command_id=command_id, error=str(error))


def _raise_unless_closed(error: GatewayRefusedError) -> None:
    """A command that stays open comes again with the next poll, at once: without a pause that would go round."""
    if error.status not in _CLOSED:
        raise error


def _choose_pause_s(error: AgentError | OSError, backoff: Backoff) -> float:
    """One command that cannot be done must not keep the others waiting for long: a cancel may be among them."""
    if isinstance(error, AgentError) and not isinstance(error, GatewayRefusedError):
        return choose_pause_s(error, backoff)
    return backoff.next_s()


def _in_order(answer: RawCommands) -> list[JsonObject]:
    """Cancels first: they must not wait behind a large file."""
    return sorted(answer.commands, key=lambda raw: raw.get("kind") != "cancel")
