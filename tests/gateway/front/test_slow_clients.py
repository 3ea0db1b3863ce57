"""Clients that are slow, half-open or too many: they end, and others get in all the while."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.front.limits import Limits
from gateway.front.listener import open_front
from gateway.front.sockets import open_sockets
from gateway.settings import GatewaySettings
from mltm.contract import routes
from tests.gateway.certificates import Authority
from tests.gateway.fixtures import House, eventually, open_house
from tests.gateway.front.raw import connect, read_answers, send

QUICK = Limits(header_s=0.3, idle_s=0.3, body_window_s=0.3, body_window_bytes=1000, unread_s=0.3, look_every_s=0.02)
PATIENT = Limits(connections=4, connections_per_address=2, header_s=3600, idle_s=3600)
HALF = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, limits=QUICK) as opened:
        yield opened


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, limits=PATIENT) as opened:
        await opened.client.session.close()  # its connections have a place each
        yield opened


async def test_half_a_header_is_answered_and_ended(quick: House) -> None:
    (answer,) = await send(quick, HALF)

    assert (answer.status, answer.problem.key, answer.headers["connection"]) == (408, "slow_request", "close")


async def test_a_client_that_says_nothing_is_ended_without_a_word(quick: House) -> None:
    reader, writer = await connect(quick)
    with contextlib.closing(writer):
        assert await reader.read() == b""


async def test_an_idle_connection_ends_after_its_answer(quick: House) -> None:
    (answer,) = await send(quick, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (answer.status, answer.headers.get("connection")) == (200, None)


@pytest.mark.parametrize("framing", [b"Content-Length: 50000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_is_408_and_leaves_nothing(quick: House, framing: bytes) -> None:
    token = quick.tokens["alice"].encode()
    start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="config.json"\r\n\r\n{"runner'
    if framing.startswith(b"Transfer"):
        start = b"%x\r\n%s\r\n" % (len(start), start)

    (answer,) = await send(
        quick,
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n" + framing + b"\r\n\r\n" + start,
    )

    assert (answer.status, answer.problem.key) == (408, "slow_body")
    await eventually(lambda: not quick.left_behind())


async def test_a_client_that_reads_nothing_is_ended(quick: House) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", quick.client.port))
        ask = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
        await loop.sock_sendall(client, ask * 20)

        runner = quick.client.server.runner
        assert runner is not None
        assert runner.server is not None
        server = runner.server
        address = client.getsockname()
        await eventually(lambda: any(connection.peername == address for connection in server.connections))
        await eventually(lambda: not any(connection.peername == address for connection in server.connections))


async def test_half_requests_of_one_address_make_room_for_the_next(full: House) -> None:
    held = [await connect(full) for _ in range(6)]
    for _, writer in held:
        writer.write(HALF)

    assert await ask(full) == [200]
    assert await ask(full, "127.0.0.2") == [200]
    assert [await asyncio.wait_for(read_answers(reader), 10) for reader, _ in held[:4]] == [[], [], [], []]
    for _, writer in held:
        writer.close()


async def test_half_requests_of_many_addresses_make_room_for_the_next(full: House) -> None:
    held = [await connect(full, f"127.0.1.{number}") for number in range(1, 9)]

    assert await ask(full, "127.0.0.2") == [200]
    for _, writer in held:
        writer.close()


async def test_an_address_whose_connections_all_work_is_told_so(full: House) -> None:
    held = [await begin_poll(full, "127.0.0.3") for _ in range(2)]

    (answer,) = await send_after_close(full, "127.0.0.3")

    assert (answer.status, answer.problem.key, answer.headers["retry-after"]) == (429, "too_many_connections", "5")
    assert await ask(full, "127.0.0.2") == [200]
    for writer in held:
        writer.close()


async def test_a_gateway_whose_connections_all_work_says_so(full: House) -> None:
    held = [await begin_poll(full, f"127.0.0.{number}") for number in (3, 3, 4, 4)]

    (answer,) = await send_after_close(full, "127.0.0.5")

    assert (answer.status, answer.problem.key, answer.headers["retry-after"]) == (503, "too_many_connections", "5")
    held.pop().close()
    await eventually_served(full, "127.0.0.5")
    for writer in held:
        writer.close()


async def ask(house: House, address: str = "127.0.0.1") -> list[int]:
    """A whole request on a connection of its own; the statuses of its answers."""
    reader, writer = await connect(house, address)
    with contextlib.closing(writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return [answer.status for answer in await read_answers(reader)]


async def send_after_close(house: House, address: str) -> list[Any]:
    reader, writer = await connect(house, address)
    with contextlib.closing(writer):
        return list(await read_answers(reader))


async def eventually_served(house: House, address: str) -> None:
    async with asyncio.timeout(10):
        while await ask(house, address) != [200]:
            pass


async def begin_poll(house: House, address: str) -> asyncio.StreamWriter:
    """A request that is answered only after a minute; returns when its handler runs."""
    waiting = house.services.agents._wake._waiting
    before = len(waiting["commands"])
    _, writer = await connect(house, address)
    token = house.agent.headers["Authorization"]
    writer.write(f"GET {routes.AGENT_COMMANDS}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
    await eventually(lambda: len(waiting["commands"]) > before)
    return writer


async def test_half_a_handshake_ends_and_keeps_nobody_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("gateway")
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(authority.cert))
    server.load_cert_chain(pair.cert, pair.key)
    limits = Limits(connections_per_address=2, handshake_s=0.3, look_every_s=0.02)
    sockets = await open_sockets(GatewaySettings(port=0, data_dir=tmp_path))
    port = sockets[0].getsockname()[1]

    async with open_front(web.Application(), sockets, limits, server):
        reader, silent = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]

        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        assert [answer.status for answer in await read_answers(reader)] == [404]
        for one in (silent, writer, *(each for _, each in held)):
            one.close()


async def test_a_process_without_descriptors_says_it_once_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OSError(24, "Too many open files")] * 5)
    loop = asyncio.get_running_loop()
    accept = loop.sock_accept

    async def fail_first(listening: socket.socket) -> Any:
        for error in failures:
            raise error
        return await accept(listening)

    monkeypatch.setattr("gateway.front.listener._PAUSE_S", 0.001)
    monkeypatch.setattr(loop, "sock_accept", fail_first)
    with capture_logs() as logs:
        async with open_house(tmp_path) as house:
            assert (await house.call("GET", routes.HEALTH, None))[0] == 200

    assert [line["error"] for line in logs if line["event"] == "accept_failed"] == ["[Errno 24] Too many open files"]
