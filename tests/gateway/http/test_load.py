"""How much one user may ask for at once, and how much room uploads have."""

import asyncio
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.errors import DiskFullError
from gateway.services.disk import UploadRoom
from mltm.contract import routes
from tests.gateway.build import good_parts, part
from tests.gateway.fixtures import House, eventually, open_house
from tests.gateway.http.test_refusals import begin_upload


class Usage(NamedTuple):
    """What shutil.disk_usage tells."""

    total: int
    used: int
    free: int


async def test_a_user_with_too_many_requests_waits_and_others_do_not(tmp_path: Path) -> None:
    async with open_house(tmp_path, max_requests_per_user=2) as house:
        task_id = await house.make_task()
        logs = [asyncio.create_task(house.call("GET", f"/v1/tasks/{task_id}/log")) for _ in range(2)]
        await eventually(lambda: len(house.services.cluster_files._asked) == 1)
        await eventually_refused(house, "alice")

        async with house.client.get(routes.WHOAMI, headers=house.headers("alice")) as answer:
            problem = await answer.json()
            assert (answer.status, problem["key"], answer.headers["Retry-After"]) == (429, "too_many_requests", "2")
        assert (await house.call("GET", routes.WHOAMI, "bob"))[0] == 200

        for log in logs:
            log.cancel()
        await eventually_served(house, "alice")


async def eventually_refused(house: House, who: str) -> None:
    async with asyncio.timeout(10):
        while (await house.call("GET", routes.WHOAMI, who))[0] != 429:
            pass


async def eventually_served(house: House, who: str) -> None:
    async with asyncio.timeout(10):
        while (await house.call("GET", routes.WHOAMI, who))[0] != 200:
            pass


async def test_a_user_with_too_many_uploads_waits_and_others_do_not(tmp_path: Path) -> None:
    async with open_house(tmp_path, max_uploads_per_user=2) as house:
        held = [await begin_upload(house) for _ in range(2)]
        await eventually(lambda: len(house.left_behind()) == 2)

        status, problem = await house.submit("alice")
        assert (status, problem["key"]) == (429, "too_many_requests")
        assert (await house.submit("bob"))[0] == 201

        for writer in held:
            writer.transport.abort()
        await eventually(lambda: not [path for path in house.left_behind() if "staging" in path])
        assert (await house.submit("alice"))[0] == 201


async def test_all_uploads_together_have_a_limit(tmp_path: Path) -> None:
    async with open_house(tmp_path, max_uploads=1) as house:
        writer = await begin_upload(house)
        await eventually(lambda: len(house.left_behind()) == 1)

        status, problem = await house.submit("bob")

        assert (status, problem["key"]) == (503, "too_many_uploads")
        writer.transport.abort()


async def test_an_upload_that_would_fill_the_disk_ends_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path, min_free_bytes=1_000_000) as house:
        written: list[int] = []

        def tell_usage(folder: Path) -> Any:
            used = sum(path.stat().st_size for path in house.settings.staging.rglob("*") if path.is_file())
            written.append(used)
            return Usage(10_000_000, 0, 2_000_000 - used)

        monkeypatch.setattr(shutil, "disk_usage", tell_usage)
        status, problem = await house.submit(parts=[*good_parts(), part("data.bin", b"x" * 1_900_000)])

        assert (status, problem["key"]) == (507, "disk_full")
        assert 0 < max(written) <= 1_000_000
        assert house.left_behind() == []
        assert (await house.submit())[0] == 201


def test_uploads_at_once_do_not_take_the_same_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1000, 0, 150))
    room = UploadRoom(tmp_path, min_free_bytes=100)

    with room.take(30), room.take(20), pytest.raises(DiskFullError), room.take(1):
        pass
    with room.take(50):
        pass
