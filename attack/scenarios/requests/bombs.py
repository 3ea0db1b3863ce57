"""Bodies that are small on the wire and huge once unpacked: the gateway neither unpacks nor keeps them."""

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import requests

from attack.guards import replace
from attack.product.house import House, build_config, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_HUGE = 256 * 1024 * 1024
_MAX_RISE = 64 * 1024 * 1024


def run(trial: Trial) -> None:
    """Send each bomb to each address that takes a body; memory counts from before the first to its highest point."""
    packed = {"gzip": _pack(31), "deflate": _pack(15), "x-gzip, deflate": gzip.compress(_pack(15))}
    with open_house(trial) as house:
        agent = house.forge_agents("ann")["ann"]
        house.submit("ann")
        before = house.read_memory_bytes()
        asks = _build_asks(house, agent.credential, packed)
        for number in range(trial.tries):
            what, ask = asks[number % len(asks)]
            try:
                status = ask().status_code
            except requests.ConnectionError:
                status = 413  # it hung up before all was sent
            rise = house.read_memory_bytes() - before
            told = f"was answered {status}" if status >= 500 else f"took {rise:,} bytes" if rise > _MAX_RISE else ""
            trial.tally.count(f"{what} {told}" if told else "")
        trial.tally.counts["MiB of memory more"] = (house.read_memory_bytes() - before) // 1024 // 1024


def _pack(window: int) -> bytes:
    """256 MiB of spaces, which JSON allows, in 256 KiB. window: zlib's number for the format."""
    packer, block = zlib.compressobj(9, zlib.DEFLATED, window), b" " * (1024 * 1024)
    return b"".join([*(packer.compress(block) for _ in range(_HUGE // len(block))), packer.flush()])


def _pack_zip() -> bytes:
    """An archive in an archive, as 42.zip is one."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0", b"\0" * (64 * 1024 * 1024))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(16):
            archive.writestr(f"../../{number}.zip", inner.getvalue())
    return outer.getvalue()


def _build_asks(
    house: House, credential: str, packed: dict[str, bytes]
) -> list[tuple[str, Callable[[], requests.Response]]]:
    """`what it is`, and the request."""
    agent = {"Authorization": f"Bearer {credential}"}
    form, parts = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
    places = [
        ("", "/auth/login", form, {}), ("", "/v1/agent/enrol", "application/json", {}),
        ("ann", "/v1/tokens", "application/json", {}), ("ann", "/v1/tasks", parts, {}), ("ann", "/new_task", parts, {}),
        ("", "/v1/agent/reports", "application/json", agent), ("", "/v1/agent/heartbeat", "application/json", agent),
    ]  # fmt: skip
    asks: list[tuple[str, Callable[[], requests.Response]]] = []
    for user, path, kind, more in places:
        for coding, data in packed.items():
            headers = {"Content-Type": kind, "Content-Encoding": coding, **more}
            asks.append((f"{coding} to {path}", partial(house.ask, user, "POST", path, data=data, headers=headers)))
    return [*asks, *_build_uploads(house, packed["gzip"])]


def _build_uploads(house: House, packed: bytes) -> list[tuple[str, Callable[[], requests.Response]]]:
    """Parts that are packed: one says so, one does not."""
    config, archive = json.dumps(build_config()), _pack_zip()
    found: list[tuple[str, Callable[[], requests.Response]]] = []
    more: dict[str, str]
    for more in ({}, {"Content-Encoding": "gzip"}):
        for name, data in (("files", packed), ("files", archive), ("config", packed)):
            files: list[tuple[str, tuple[str, str | bytes, str, dict[str, str]]]] = [
                ("script", ("script.py", "print(1)\n", "text/plain", {})),
                ("config", ("config.json", config, "application/json", {})),
                (name, ("more.bin", data, "application/octet-stream", more)),
            ]
            found.append((f"a packed part {name}", partial(house.ask, "ann", "POST", "/v1/tasks", files=files)))
    return found


def take_guard_out() -> None:
    """A gateway that unpacks a body as a whole before it looks at its size."""
    from aiohttp import web

    from gateway.http import arguments

    before = web.RequestHandler.__init__

    def unpack(handler: Any, *args: Any, **kw: Any) -> None:
        before(handler, *args, **{**kw, "auto_decompress": True})

    async def read_all(request: Any, limit: int) -> bytes:
        del limit
        body = bytearray()
        async for block in request.content.iter_chunked(64 * 1024):
            body += block
        return bytes(body)

    replace(web.RequestHandler, "__init__", unpack)
    replace(arguments, "check_no_coding", lambda _: None)
    replace(arguments, "_read_body", read_all)


SCENARIO = Scenario(
    threats="T5",
    tries_to="send bodies that unpack to a thousand times their size, and archives in archives",
    run=run,
    take_guard_out=take_guard_out,
    tries=27,
    control_tries=6,
)
