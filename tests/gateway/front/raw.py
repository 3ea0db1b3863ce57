"""Requests byte by byte, and what comes back for them."""

import asyncio
import contextlib
from dataclasses import dataclass

from mltm.contract.problems import CONTENT_TYPE, Problem
from tests.gateway.fixtures import House

__all__ = ["Answer", "connect", "read_answers", "send", "send_all", "tell_what_is_wrong"]


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Problem:
        """Its problem document."""
        assert self.headers.get("content-type", "") == CONTENT_TYPE, self
        return Problem.model_validate_json(self.body)


async def connect(house: House, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from this address of this machine."""
    return await asyncio.open_connection("127.0.0.1", house.client.port, local_addr=(address, 0))


async def send(house: House, sent: bytes) -> list[Answer]:
    """Send bytes, then wait for the gateway to end the connection; its answers until then."""
    reader, writer = await connect(house)
    with contextlib.closing(writer):
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
        return await read_answers(reader)


async def send_all(house: House, requests: dict[str, bytes]) -> dict[str, list[Answer]]:
    """Send each on a connection of its own, all at once."""
    answers = await asyncio.gather(*(send(house, sent) for sent in requests.values()))
    return dict(zip(requests, answers, strict=True))


async def read_answers(reader: asyncio.StreamReader) -> list[Answer]:
    """Read answers until the connection ends; the test's time limit is the deadline."""
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while block := await reader.read(65_536):
            got += block
    answers: list[Answer] = []
    rest = bytes(got)
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        size = int(headers.get("content-length", "0"))
        answers.append(Answer(int(line.split(" ")[1]), headers, rest[:size]))
        rest = rest[size:]
    return answers


def tell_what_is_wrong(answer: Answer) -> str:
    """What breaks our rules for every answer; empty if nothing does."""
    if answer.status == 100:
        return ""
    if answer.status >= 500:
        return f"{answer.status}"
    if answer.headers.get("server") != "mltm-gateway" or b"aiohttp" in answer.body or b"Python" in answer.body:
        return "it names what runs here"
    for name in ("x-content-type-options", "x-frame-options", "content-security-policy", "x-request-id"):
        if name not in answer.headers:
            return f"no {name}"
    if answer.status >= 400 and (answer.problem.status, bool(answer.problem.next_step)) != (answer.status, True):
        return f"its document says {answer.problem}"
    return ""
