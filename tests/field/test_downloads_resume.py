"""Fault 3.5 (and 3.1, the client's side): a large download never resumed, and its patience never began anew.

A user of 50 GB over a line that breaks each few minutes expects that each try goes on where the last one ended, that
the command gives up only if nothing comes any more, and that the file is one version of what the job wrote.
"""

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from mltm.notebook import SyncClient
from mltm.wire.errors import UnreachableError
from mltm.wire.retry_policy import RetryPolicy
from tests.field.files_on_the_way import Served
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import open_client
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Handler

OLD, NEW = (bytes((number + one) % 251 for number in range(100_000)) for one in (0, 7))
PATH = f"/v1/tasks/{TASK_ID}/outputs/model.bin"


@dataclass(frozen=True)
class Case:
    """The gateway's answers one after the other, the file that results, and the offsets that were asked for."""

    why: str
    plays: list[Handler]
    content: bytes
    ranges: list[str | None]


CASES = {
    "3.5: breaks once": Case(
        "the rest is asked for, not the whole",
        [Served(OLD, cut=60_000), Served(OLD)], OLD, [None, "bytes=60000-"],
    ),
    "3.5: breaks again and again": Case(
        "each try goes on",
        [Served(OLD, cut=30_000), Served(OLD, cut=30_000), Served(OLD, cut=30_000), Served(OLD)],
        OLD, [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"],
    ),
    "3.5: breaks before the last byte": Case(
        "one byte is missing, one byte comes", [Served(OLD, cut=99_999), Served(OLD)], OLD, [None, "bytes=99999-"],
    ),
    "3.5: breaks before the first byte": Case(
        "there is no rest yet", [Served(OLD, cut=0), Served(OLD)], OLD, [None, None],
    ),
    "3.5: no ETag": Case(
        "nobody can tell that it is the same file", [Served(OLD, "", cut=60_000), Served(OLD, "")], OLD, [None, None],
    ),
    "3.5: a weak ETag": Case(
        "it does not promise the same bytes (RFC 9110, 13.1.5)",
        [Served(OLD, 'W/"one"', cut=60_000), Served(OLD, 'W/"one"')], OLD, [None, None],
    ),
    "3.1: replaced in between": Case(
        "If-Range gives the whole new file", [Served(OLD, cut=60_000), Served(NEW, '"two"')], NEW,
        [None, "bytes=60000-"],
    ),
    "3.1: replaced, and If-Range is ignored": Case(
        "the ETag of the rest is another", [Served(OLD, cut=60_000), Served(NEW, '"two"', honest=False)] * 2, NEW,
        [None, "bytes=60000-", None, "bytes=60000-", None],
    ),
    "3.1: replaced by a shorter one": Case(
        "416 says that the old rest is gone",
        [Served(OLD, cut=60_000), Served(NEW[:50], '"two"', honest=False), Served(NEW[:50], '"two"')], NEW[:50],
        [None, "bytes=60000-", None],
    ),
    "3.1: a rest without an ETag": Case(
        "a proxy sent it; it may be of any version",
        [Served(OLD, cut=60_000), Served(NEW, "", honest=False), Served(NEW, '"two"')], NEW,
        [None, "bytes=60000-", None],
    ),
    "3.1: a rest from elsewhere": Case(
        "Content-Range decides where bytes belong", [Served(OLD, cut=60_000), Served(OLD, shift=1), Served(OLD)], OLD,
        [None, "bytes=60000-", None],
    ),
    "3.1: a compressed rest": Case(
        "its offsets are of other bytes",
        [Served(OLD, cut=60_000), Served(OLD, headers={"Content-Encoding": "identity"}), Served(OLD)], OLD,
        [None, "bytes=60000-", None],
    ),
}  # fmt: skip


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def check(case: Case, gateway: FakeGateway, target: Path) -> None:
    assert target.read_bytes() == case.content, case.why
    assert [seen.headers.get("Range") for seen in gateway.asked("GET", PATH)][: len(case.ranges)] == case.ranges
    assert _names(target.parent) == [target.name]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_python(gateway: FakeGateway, tmp_path: Path, case: Case) -> None:
    gateway.plays = list(case.plays)
    async with open_client(gateway) as client:
        size = await client.download(TASK_ID, "model.bin", tmp_path / "new" / "model.bin")
    assert size == len(case.content)
    check(case, gateway, tmp_path / "new" / "model.bin")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_notebook(gateway: FakeGateway, tmp_path: Path, case: Case) -> None:
    gateway.plays = list(case.plays)
    with SyncClient(open_client(gateway)) as client:
        client.download(TASK_ID, "model.bin", tmp_path / "new" / "model.bin")
    check(case, gateway, tmp_path / "new" / "model.bin")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_command(mltm: Mltm, gateway: FakeGateway, tmp_path: Path, case: Case) -> None:
    gateway.outputs["model.bin"] = b"listed"
    gateway.plays = list(case.plays)
    assert mltm("get", TASK_ID, "-o", tmp_path / "new").code == 0
    check(case, gateway, tmp_path / "new" / "model.bin")


def _impatient(seconds_a_try: float) -> RetryPolicy:
    """A patience of 30 s, on a clock that moves with each look at it."""
    clock = itertools.count(0, seconds_a_try)
    return RetryPolicy(request_s=30, sleep=lambda _: asyncio.sleep(0), clock=lambda: float(next(clock)))


async def test_while_bytes_come_patience_begins_anew(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.plays = [*(Served(OLD, cut=10_000) for _ in range(9)), Served(OLD)]
    async with open_client(gateway, retry_policy=_impatient(20)) as client:
        assert await client.download(TASK_ID, "model.bin", tmp_path / "model.bin") == len(OLD)
    assert (tmp_path / "model.bin").read_bytes() == OLD


@pytest.mark.parametrize(
    "play",
    [
        Served(OLD, cut=0),
        Served(OLD, "", cut=60_000),
        Served(OLD, 'W/"one"', cut=60_000),
        Served(OLD, cut=100_000, headers={"Content-Length": "200000"}, etag=""),
        Served(OLD[:0], cut=0, headers={"Content-Length": "10"}),
    ],
)
async def test_the_same_bytes_again_are_no_progress(gateway: FakeGateway, tmp_path: Path, play: Served) -> None:
    gateway.plays = [play]
    async with open_client(gateway, retry_policy=_impatient(20)) as client:
        with pytest.raises(UnreachableError, match="broke"):
            await client.download(TASK_ID, "model.bin", tmp_path / "model.bin")
    assert len(gateway.asked("GET", PATH)) <= 4
    assert _names(tmp_path) == []


async def test_a_file_that_changes_with_each_try_ends_the_patience(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.plays = [Served(OLD, f'"{number}"', cut=60_000) for number in range(100)]
    async with open_client(gateway, retry_policy=_impatient(20)) as client:
        with pytest.raises(UnreachableError, match="broke"):
            await client.download(TASK_ID, "model.bin", tmp_path / "model.bin")
    assert len(gateway.asked("GET", PATH)) <= 4


async def test_a_refusal_leaves_no_folder_behind(gateway: FakeGateway, tmp_path: Path) -> None:
    async with open_client(gateway) as client:
        with pytest.raises(Exception, match="No such output"):
            await client.download(TASK_ID, "model.bin", tmp_path / "new" / "model.bin")
    assert _names(tmp_path) == []
