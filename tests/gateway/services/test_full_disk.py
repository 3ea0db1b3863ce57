"""A full disk at the gateway, on a small one of its own: 507 in words, nothing half left, and it goes on by itself."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mltm.contract import routes
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from tests.disk import fill_disk, mount_disk
from tests.gateway.build import good_parts, part
from tests.gateway.fixtures import House, eventually, open_house

LARGE = [*good_parts(), part("data.csv", b"1" * 1_900_000)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mount_disk(tmp_path / "disk", "size=3m") as folder:
        yield folder


def check_refusal(status: int, problem: dict[str, Any]) -> None:
    assert (status, problem["key"]) == (507, "disk_full"), problem
    assert "full" in problem["detail"]
    assert "make room" in problem["next_step"]


async def check_works(house: House) -> None:
    status, task = await house.submit(parts=LARGE)
    assert status == 201, task
    await eventually(Spool(house.agent.spool).inbox.bundle(TaskId(task["task_id"])).exists)
    assert (await house.call("GET", routes.HEALTH, None))[0] == 200


@pytest.mark.parametrize("left", [0, 4096, 300_000, 1_000_000])
@pytest.mark.parametrize("path", [routes.TASKS, routes.PREDECESSOR_NEW_TASK])
async def test_an_upload_to_a_full_disk_is_refused_and_leaves_nothing(
    tmp_path: Path, disk: Path, left: int, path: str
) -> None:
    async with open_house(tmp_path, data_dir=disk, database=str(tmp_path / "gateway.sqlite")) as house:
        fill_disk(disk / "big", leave=left)
        for _ in range(2):
            check_refusal(*await house.submit(parts=LARGE, path=path, Idempotency_Key="k"))
            assert house.left_behind() == []
        assert (await house.call("GET", routes.TASKS))[1]["tasks"] == []

        (disk / "big").unlink()
        await check_works(house)


async def test_a_disk_without_a_free_inode_is_full(tmp_path: Path) -> None:
    with mount_disk(tmp_path / "disk", "size=3m,nr_inodes=40") as disk:
        async with open_house(tmp_path, data_dir=disk, database=str(tmp_path / "gateway.sqlite")) as house:
            made = []
            for number in range(40):
                try:
                    (disk / f"{number}").touch()
                    made.append(disk / f"{number}")
                except OSError:
                    break
            for spare in made[:4]:  # one instant further each time: the folder, its files, the place to keep them
                check_refusal(*await house.submit())
                assert house.left_behind() == []
                spare.unlink()
            for file in made[4:]:
                file.unlink()
            await check_works(house)


async def test_little_room_is_refused_before_it_is_none(tmp_path: Path, disk: Path) -> None:
    changes: dict[str, Any] = {
        "data_dir": disk,
        "database": str(tmp_path / "gateway.sqlite"),
        "min_free_bytes": 1_000_000,
    }
    async with open_house(tmp_path, **changes) as house:
        fill_disk(disk / "big", leave=500_000)
        check_refusal(*await house.submit())
        assert house.left_behind() == []
        status, health = await house.call("GET", routes.HEALTH, None)
        assert (status, health["status"], health["checks"]["disk"] == "ok") == (503, "failing", False)


async def test_a_full_disk_under_the_database_loses_nothing_and_lets_reading_go_on(tmp_path: Path, disk: Path) -> None:
    async with open_house(tmp_path, database=str(disk / "gateway.sqlite")) as house:
        task_id = await house.make_task()
        fill_disk(disk / "big")
        accepted = [task_id]
        while (answer := await house.submit())[0] == 201:  # the write-ahead log had room from before
            accepted.append(answer[1]["task_id"])
        check_refusal(*answer)
        assert "disk of the gateway's database is full" in answer[1]["detail"]
        assert str(tmp_path) not in json.dumps(answer[1])
        kept = {path.rpartition("/")[2] for path in house.left_behind()}
        assert kept <= set(accepted)

        _, page = await house.call("GET", routes.TASKS, params={"limit": "200"})
        assert {task["task_id"] for task in page["tasks"]} == set(accepted)
        check_refusal(*await house.call("POST", f"/v1/tasks/{task_id}/cancel"))
        report = {"reports": [house.agent.build(task_id, "running", taken=True)]}
        check_refusal(*await house.call("POST", routes.AGENT_REPORTS, None, headers=house.agent.headers, json=report))

        (disk / "big").unlink()
        await check_works(house)
        assert (await house.call("POST", routes.AGENT_REPORTS, None, headers=house.agent.headers, json=report))[
            0
        ] == 200
        assert (await house.call("GET", f"/v1/tasks/{task_id}"))[1]["state"] == "running"
        bundles = Spool(house.agent.spool).inbox.new
        await eventually(lambda: {path.name for path in bundles.iterdir()} >= set(accepted) - {task_id})


async def test_reading_goes_on_while_the_database_cannot_be_written(house: House) -> None:
    task_id = await house.make_task("bob")
    users: Any = house.services.users
    await asyncio.to_thread(users._database.run_now, lambda db: db.execute_sql("pragma query_only = 1"))

    assert (await house.call("GET", f"/v1/tasks/{task_id}", "root"))[0] == 200  # whose token was never used before
    status, problem = await house.call("POST", f"/v1/tasks/{task_id}/cancel", "bob")
    assert (status, problem["key"], "readonly" in problem["detail"]) == (503, "database_unavailable", True)
