"""The gateway dies between any two steps: no task is lost, none is there twice, nothing is left lying about."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.app import open_services
from gateway.services import submissions
from gateway.services.passwords import hash_secret
from gateway.services.publisher import Publisher
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import agents, outbox
from gateway.store.database import Database
from gateway.store.models import Agent, Outbox, Task
from gateway.values import Upload, UploadedFile, User
from mltm.contract.agent_api import Enrolment
from mltm.contract.ids import AgentId, TaskId
from mltm.contract.manifest import Manifest
from mltm.contract.spool_layout import MANIFEST, Spool
from mltm.contract.task_config import TaskConfig
from mltm.runtime import hostile_files
from mltm.runtime.clock import Clock
from tests.gateway.build import SCRIPT, config
from tests.gateway.fixtures import USER_IDS, build_settings, eventually, prepare

ALICE = User("alice", "user", USER_IDS["alice"])
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class KilledError(BaseException):
    """As kill -9: no `except` of ours catches it."""


@dataclass
class Trap:
    """Counts the instants before and after each step, and dies at one of them."""

    at: int = 0
    passed: int = 0
    names: list[str] = field(default_factory=list)

    def _pass(self, name: str) -> None:
        self.passed += 1
        self.names.append(name)
        if self.passed == self.at:
            raise KilledError

    def wrap(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            self._pass(f"before {name}")
            done = fn(*arguments, **options)
            self._pass(f"after {name}")
            return done

        return step


@dataclass(frozen=True)
class Place:
    settings: GatewaySettings
    database: Database
    spool: Spool

    def publisher(self) -> Publisher:
        return Publisher(self.database, self.settings, Clock(), Wake())

    def upload(self) -> Upload:
        folder = self.settings.staging / Clock().new_id()
        folder.mkdir(parents=True)
        (folder / "000").write_bytes(SCRIPT)
        script = UploadedFile("script.py", folder / "000", len(SCRIPT), hashlib.sha256(SCRIPT).hexdigest())
        return Upload(TaskConfig.model_validate(config()), script, (), folder)

    async def accept(self, key: str | None = None) -> str:
        made = submissions.Submissions(self.database, self.settings, Clock(), Wake())
        return (await made.accept(ALICE, self.upload(), key)).task.task_id

    async def steps(self) -> dict[str, str]:
        rows: list[Any] = await self.database.call(lambda: list(Outbox.select()))
        return {row.task_id: row.step for row in rows}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    settings, spool = build_settings(tmp_path), tmp_path / "spool"
    spool.mkdir()
    _, code = prepare(settings, spool)
    database = Database(settings.database_path)
    asked = Enrolment(code=code, host="h", unix_user="u", spool_id="a" * 32)
    agent = database.call_now(agents.enrol, hash_secret(code), asked, AgentId("b" * 32), hash_secret("credential"), NOW)
    assert agent.identity.cluster == "atena02"
    yield Place(settings, database, Spool(spool))
    database.close()


def set_trap(monkeypatch: pytest.MonkeyPatch, trap: Trap) -> None:
    for name in ("make_folder_at", "write_new_at", "rename_at", "remove_tree_at", "sync"):
        monkeypatch.setattr(hostile_files, name, trap.wrap(name, getattr(hostile_files, name)))
    monkeypatch.setattr(shutil, "rmtree", trap.wrap("rmtree", shutil.rmtree))
    monkeypatch.setattr(outbox, "mark", trap.wrap("mark", outbox.mark))


def check_bundle(bundle: Path) -> None:
    """A bundle in in/new is whole, whenever it is seen."""
    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    for file in manifest.files:
        assert hashlib.sha256((bundle / "files" / file.name).read_bytes()).hexdigest() == file.sha256


async def die_at(place: Place, at: int) -> Trap:
    trap = Trap(at)
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_trap(monkeypatch, trap)
        if at:
            with pytest.raises(KilledError):
                await place.publisher().run_once()
        else:
            await place.publisher().run_once()
    return trap


async def test_a_publisher_that_dies_anywhere_leaves_one_whole_bundle(place: Place) -> None:
    await place.accept()
    instants = (await die_at(place, 0)).passed
    assert instants >= 18

    for at in range(1, instants + 1):
        for folder in (place.spool.inbox.building, place.spool.inbox.new):  # so that they are made each time
            shutil.rmtree(folder)
        task_id = await place.accept()
        trap = await die_at(place, at)
        bundle = place.spool.inbox.bundle(TaskId(task_id))
        if bundle.exists():
            check_bundle(bundle)
        while await place.publisher().run_once():
            pass

        check_bundle(bundle)
        assert (await place.steps())[task_id] == "published", trap.names[-1]
        assert [path.name for path in place.spool.inbox.building.iterdir()] == [], trap.names[-1]
        assert [path.name for path in place.spool.inbox.new.iterdir()] == [task_id], trap.names[-1]


async def test_a_bundle_that_a_killed_publisher_renamed_is_synced_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap, task_id = Trap(), await place.accept()
    with monkeypatch.context() as patch:
        patch.setattr(hostile_files, "rename_at", Trap(at=2).wrap("rename", hostile_files.rename_at))
        with pytest.raises(KilledError):
            await place.publisher().run_once()
    assert place.spool.inbox.bundle(TaskId(task_id)).exists()

    monkeypatch.setattr(hostile_files, "sync", lambda folder: trap.names.append(str(folder.path)))
    assert await place.publisher().run_once()

    assert str(place.spool.inbox.new) in trap.names


async def test_a_published_bundle_that_a_power_loss_took_is_published_again(place: Place) -> None:
    kept, lost, taken = [await place.accept() for _ in range(3)]
    running = place.publisher()
    await running.run_once()
    shutil.rmtree(place.spool.inbox.bundle(TaskId(lost)))
    await place.database.call(outbox.mark, taken, "published", "taken")
    await running.run_once()

    await running.republish()

    check_bundle(place.spool.inbox.bundle(TaskId(lost)))
    assert sorted(path.name for path in place.spool.inbox.new.iterdir()) == sorted([kept, lost])
    assert await place.steps() == {kept: "published", lost: "published"}


async def test_a_removal_that_dies_anywhere_leaves_nothing(place: Place) -> None:
    async def take() -> str:
        task_id = await place.accept()
        await place.publisher().run_once()
        await place.database.call(outbox.mark, task_id, "published", "taken")
        return task_id

    await take()
    instants = (await die_at(place, 0)).passed
    assert instants >= 8

    for at in range(1, instants + 1):
        await take()
        trap = await die_at(place, at)
        while await place.publisher().run_once():
            pass

        left = [*place.spool.inbox.new.iterdir(), *place.spool.inbox.building.iterdir()]
        assert (left, await place.steps()) == ([], {}), trap.names[-1]
        assert not list((place.settings.data_dir / "files").iterdir())


async def test_a_spool_that_is_away_delays_and_loses_nothing(place: Place) -> None:
    away = place.spool.root.rename(place.spool.root.with_name("away"))
    place.spool.root.write_text("not a folder")
    task_id, running = await place.accept(), place.publisher()
    assert not await running.run_once()
    assert str(place.spool.root) in running.problem

    place.spool.root.unlink()
    away.rename(place.spool.root)
    assert await running.run_once()
    check_bundle(place.spool.inbox.bundle(TaskId(task_id)))
    assert not await running.run_once()
    assert running.problem == ""


async def test_dying_before_the_transaction_leaves_no_task_and_the_next_start_no_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        trap = Trap(at=2)
        patched.setattr(submissions, "_keep_files", trap.wrap("keep", submissions._keep_files))
        with pytest.raises(KilledError):
            await place.accept("key")
    files = place.settings.data_dir / "files"
    assert (len(list(files.iterdir())), len(list(place.settings.staging.iterdir()))) == (1, 1)

    async with open_services(place.settings) as services:
        assert (list(files.iterdir()), list(place.settings.staging.iterdir())) == ([], [])
        assert (await services.tasks.list(ALICE)).tasks == []
        assert (await services.submissions.accept(ALICE, place.upload(), "key")).created


async def test_dying_after_the_transaction_keeps_the_task_for_the_repetition(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(submissions.Submissions, "_read", Trap(at=1).wrap("answer", submissions.Submissions._read))
        with pytest.raises(KilledError):
            await place.accept("key")

    async with open_services(place.settings) as services:
        (task,) = (await services.tasks.list(ALICE)).tasks
        await eventually(place.spool.inbox.bundle(TaskId(task.task_id)).exists)
        again = await services.submissions.accept(ALICE, place.upload(), "key")
        assert (again.created, again.task.task_id) == (False, task.task_id)
        assert len((await services.tasks.list(ALICE)).tasks) == 1


async def test_a_spool_that_is_away_keeps_no_other_spool_waiting(place: Place) -> None:
    """However many of its bundles wait, and however old they are."""
    away = await place.accept()
    (place.settings.staging / "away").write_text("no folder")

    def lose_spool() -> None:
        row = Outbox.get_by_id(away)
        there = Agent.get_by_id(row.agent_id)
        fields = {
            **there.__data__,
            "agent_id": "c" * 32,
            "spool_id": "c" * 32,
            "owner": "bob",
            "credential_sha256": "c",
        }
        Agent.create(**{**fields, "inbox": str(place.settings.staging / "away" / "in")})
        task = Task.get_by_id(away)
        for number in range(120):
            task_id = f"{number:032x}"
            Task.create(**{**task.__data__, "task_id": task_id, "agent_id": "c" * 32})
            Outbox.create(**{**row.__data__, "task_id": task_id, "agent_id": "c" * 32})

    await place.database.call(lose_spool)

    assert await place.publisher().run_once()

    assert (await place.steps())[away] == "published"
