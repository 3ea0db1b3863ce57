"""Uploads without an end on a small disk, one and several at once: they stop in time, and others go on."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from attack.guards import replace
from attack.product.house import House, open_house
from attack.product.small_disk import small_disk
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_DISK, _KEPT = 48 * 1024 * 1024, 16 * 1024 * 1024
_AT_ONCE = (1, 6)  #: uploads: what others are about to write counts, too
_BLOCK = bytes(256 * 1024)


def run(trial: Trial) -> None:
    """The gateway's data lies on a file system of its own, which others fill through it."""
    data = trial.folder / "data"
    data.mkdir()
    with small_disk(data, _DISK), open_house(
        trial, f'data_dir = "{data}/gateway"', f"min_free_bytes = {_KEPT}", "max_file_bytes = 1_000_000_000"
    ) as house:  # fmt: skip
        house.forge_agents("ann")
        for number in range(trial.tries):
            count = _AT_ONCE[number % len(_AT_ONCE)]
            with ThreadPoolExecutor(count) as threads:
                least = min(threads.map(lambda _: _upload(house, data), range(count)))
            house.ask("ann", "GET", "/v1/me").raise_for_status()
            trial.tally.count(f"{count} uploads left {least:,} bytes free" if least < _KEPT else "")


def _upload(house: House, disk: Path) -> int:
    """Send more than there is room for. Returns the least that was free meanwhile."""
    free: list[int] = []

    def build() -> Iterator[bytes]:
        head = 'Content-Disposition: form-data; name="script"; filename="script.py"'
        yield f"--x\r\n{head}\r\n\r\nprint(1)\r\n--x\r\n{head.replace('script', 'files', 1)}\r\n\r\n".encode()
        for _ in range(2 * _DISK // len(_BLOCK)):
            yield _BLOCK
            seen = os.statvfs(disk)
            free.append(seen.f_bavail * seen.f_frsize)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(requests.ConnectionError):  # it hung up before all was sent
        more = {"Authorization": f"Bearer {house.tokens['ann']}"}
        requests.post(f"{house.url}/v1/tasks", data=build(), headers={**headers, **more}, timeout=60)
    return min(free, default=_DISK)


def take_guard_out() -> None:
    """A gateway that does not look at its disk while bytes come."""
    from gateway.services import disk

    replace(disk.UploadRoom, "take", _take)


def _take(room: Any, size: int) -> contextlib.nullcontext[None]:
    del room, size
    return contextlib.nullcontext()


SCENARIO = Scenario(
    threats="T13, 1.10",
    tries_to="fill the gateway's disk with uploads that do not end, one and several at once",
    run=run,
    take_guard_out=take_guard_out,
    tries=10,
    control_tries=1,
)
