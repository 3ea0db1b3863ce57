"""Polls the gateway for commands, carries them out, and acknowledges each."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from pydantic import ValidationError

from agent.errors import AgentError, SpoolError
from agent.spool.commands import record_command
from agent.uplink.client import GatewayClient, GatewayRefusedError, RawCommands
from agent.uplink.command_gate import MAX_HELD_S, CommandGate
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
_REFUSED = frozenset({400, 413, 422})  #: the gateway, or a proxy, will not take this answer, however often it comes
_TRANSFERS = 4  #: answers with many bytes that are in memory at once; each has at most 8 MiB
_RECORDED = frozenset({"cancel", "hold", "release"})  #: a user's wish: it stays open until it is on disk
_log = structlog.get_logger(__name__)


class CommandPoller:
    """The one long poll. A command that fails stays open, and the next poll brings it again.

    Bytes that are on their way are bounded: a few transfers at once, whatever the gateway asks for.
    """

    def __init__(
        self,
        spool: Spool,
        client: GatewayClient,
        clock: Clock,
        wake_tick: Callable[[], None],
        gate: CommandGate,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._spool = spool
        self._client = client
        self._clock = clock
        self._wake_tick = wake_tick
        self._gate = gate
        self._sleep = sleep
        self._backoff = Backoff(clock)
        self._transfers = asyncio.Semaphore(_TRANSFERS)

    async def run(self) -> None:
        """Poll for ever; ends by cancellation."""
        while True:
            try:
                # After a break, what is open is wanted at once, and nothing new is waited for.
                await self.poll_once(0.0 if self._gate.is_waiting else POLL_WAIT_S)
            except (AgentError, OSError) as error:
                self._gate.note_failure()
                pause_s = _choose_pause_s(error, self._backoff)
                _log.warning("poll_waits", error=str(error), again_in_s=round(pause_s, 1))
                await self._sleep(pause_s)
            else:
                was_waiting = self._gate.is_waiting
                self._gate.note_answer()
                self._backoff.reset()
                if was_waiting:
                    self._wake_tick()

    async def ask_first(self) -> None:
        """Fetch the open commands before a single round; if the gateway is away, the round is done without them."""
        with contextlib.suppress(AgentError, OSError, TimeoutError):
            async with asyncio.timeout(MAX_HELD_S):
                await self.poll_once(0.0)
        self._gate.note_answer()

    async def poll_once(self, wait_s: float) -> int:
        """Poll once and carry out all commands; returns how many. One failure stops no other; the first one is raised.

        Raises AgentError, OSError.
        """
        answer = await self._client.poll_commands(wait_s)
        steps = [self._carry_out_alone(raw) for raw in _sort_commands(answer)]
        results = await asyncio.gather(*steps, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            raise failures[0]
        return len(results)

    async def _carry_out_alone(self, raw: JsonObject) -> None:
        """What nobody expected is this command's own: the others are carried out, and the poll goes on."""
        try:
            await self._carry_out(raw)
        except (AgentError, OSError):  # they pass: the command stays open, and comes again
            raise
        except Exception as error:  # a program's mistake would end the agent's uplink
            _log.exception("command_failed", kind=str(raw.get("kind"))[:40])
            command_id = raw.get("command_id")
            if _is_plain(command_id) and raw.get("kind") not in _RECORDED:
                message = f"The agent failed on this command ({type(error).__name__}). Its log has the reason."
                await self._acknowledge(str(command_id), Ack(outcome="refused", message=message))
                return
            raise SpoolError(f"Command {raw.get('kind')} failed: {error}. It is tried again.") from error

    async def _carry_out(self, raw: JsonObject) -> None:
        try:
            command = CommandMessage.model_validate(raw)
        except ValidationError:
            await self._refuse_unknown(raw)
            return
        if command.kind == "send_bytes":
            async with self._transfers:
                await self._send_bytes(command)
            return
        if command.kind == "list_outputs":
            async with self._transfers:
                ack = await asyncio.to_thread(self._list_outputs, command)
                await self._acknowledge(command.command_id, ack)
        else:
            ack = await asyncio.to_thread(record_command, self._spool, command, self._clock)
            self._wake_tick()
            await self._acknowledge(command.command_id, ack)
        _log.info("command_done", command=command.kind, task_id=command.task_id, outcome=ack.outcome)

    async def _refuse_unknown(self, raw: JsonObject) -> None:
        command_id = raw.get("command_id")
        _log.warning("command_not_understood", kind=str(raw.get("kind"))[:40])
        if _is_plain(command_id):
            message = "This version of the agent does not know this command. Update the agent."
            await self._acknowledge(str(command_id), Ack(outcome="refused", message=message))

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
            if error.status in _REFUSED:
                await self._give_up(command.command_id, error)
                return
            _raise_unless_closed(error)
            _log.info("bytes_not_wanted", task_id=command.task_id, error=str(error))

    def _read_bytes(self, command: CommandMessage) -> tuple[BytesHeaders, bytes]:
        folder = self._spool.task(TaskId(command.task_id))
        read, is_final = read_task_file(
            self._spool, folder, command.file, command.attempt, command.offset, command.length
        )
        headers = BytesHeaders(offset=read.offset, size=read.size, final=is_final, attempt=read.attempt)
        return headers, read.data

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
            if error.status in _REFUSED and ack.outputs is not None:
                await self._give_up(command_id, error)
                return
            _raise_unless_closed(error)
            _log.info("acknowledgement_not_wanted", command_id=command_id, error=str(error))

    async def _give_up(self, command_id: str, refusal: GatewayRefusedError) -> None:
        """Close a question whose answer the gateway does not take: it would come back with each poll."""
        _log.warning("answer_refused", command_id=command_id, error=str(refusal))
        message = f"The agent's answer was refused ({refusal.status}): {refusal.message}"
        await self._acknowledge(command_id, Ack(outcome="refused", message=message))


def _is_plain(command_id: object) -> bool:
    """True for an id that may stand in an address."""
    return isinstance(command_id, str) and command_id.replace("-", "").isalnum()


def _raise_unless_closed(error: GatewayRefusedError) -> None:
    """A command that stays open comes again with the next poll: without a pause, that would be an endless loop."""
    if error.status not in _CLOSED:
        raise error


def _choose_pause_s(error: AgentError | OSError, backoff: Backoff) -> float:
    """One command that fails must not delay the others for long: a cancel may be among them."""
    if isinstance(error, AgentError) and not isinstance(error, GatewayRefusedError | SpoolError):
        return choose_pause_s(error, backoff)
    return backoff.next_s()


def _sort_commands(answer: RawCommands) -> list[JsonObject]:
    """Put cancels first: they must not wait for a large file."""
    return sorted(answer.commands, key=lambda raw: raw.get("kind") != "cancel")
