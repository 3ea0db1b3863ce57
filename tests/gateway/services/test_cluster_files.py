"""Logs and outputs: asked of the agent over the long poll, brought by it, kept at the gateway."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from gateway.http.endpoints import outputs
from gateway.store.commands import QUESTION_LIFE
from gateway.store.models import CachedBytes, render_timestamp
from mltm.runtime.clock import Clock
from tests.gateway.fixtures import House, open_house, serve

LOG = "".join(f"line {n} äöü\n" for n in range(400)).encode()
LARGE = bytes(range(256)) * 20_000  # 5 MB: more than one piece
AWAY = {"path": "model.bin", "size": len(LARGE), "modified_at": "2026-11-23T12:00:00Z"}


async def answer_commands(
    house: House, *contents: bytes, final: bool = True, attempt: int | None = None
) -> list[dict[str, Any]]:
    """Bring one file for each command that comes; the commands."""
    seen: list[dict[str, Any]] = []
    for content in contents:
        (command,) = await house.agent.poll()
        assert await house.agent.bring(command, content, final=final, attempt=attempt) == 200
        seen.append(command)
    return seen


async def read(house: House, path: str, who: str = "alice", **options: Any) -> tuple[int, bytes, dict[str, str]]:
    headers = {**house.headers(who), **options.pop("headers", {})}
    async with house.client.get(path, headers=headers, **options) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


async def test_a_log_comes_from_the_agent_and_then_from_the_cache(house: House) -> None:
    task_id = await house.make_task()
    await house.agent.report(task_id, "running", "succeeded")
    path = f"/v1/tasks/{task_id}/log"
    (status, body, headers), (command,) = await asyncio.gather(
        read(house, path, params={"offset": "10"}), answer_commands(house, LOG, attempt=1)
    )

    assert (status, body, headers["Content-Type"]) == (200, LOG[10:], "text/plain; charset=utf-8")
    said = [headers[f"X-Mltm-{name}"] for name in ("Offset", "Size", "Final")]
    assert said == ["10", str(len(LOG)), "true"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (command["kind"], command["file"], command["offset"]) == ("send_bytes", "log", 10)
    # Nobody polls any more: what is final is served without the agent.
    assert (await read(house, path, params={"offset": "20", "length": "5"}))[1] == LOG[20:25]


async def test_the_end_of_a_log_is_asked_for_from_behind(house: House) -> None:
    task_id = await house.make_task()
    (status, body, headers), _ = await asyncio.gather(
        read(house, f"/v1/tasks/{task_id}/log", params={"offset": "-100", "attempt": "2"}), answer_commands(house, LOG)
    )

    assert (status, body, headers["X-Mltm-Offset"]) == (200, LOG[-100:], str(len(LOG) - 100))


async def test_a_growing_log_is_asked_for_again(house: House) -> None:
    task_id = await house.make_task()
    for content in (b"one\n", b"one\ntwo\n"):
        (_, body, headers), _ = await asyncio.gather(
            read(house, f"/v1/tasks/{task_id}/log"), answer_commands(house, content, final=False)
        )
        assert (body, headers["X-Mltm-Final"]) == (content, "false")


async def test_the_final_log_of_an_attempt_is_not_the_newest_one_while_another_may_begin(house: House) -> None:
    path = f"/v1/tasks/{await house.make_task()}/log"
    first, second = b"first attempt\n", b"second attempt\n"
    for whole, attempt in ((first, 1), (second, 2)):
        (_, body, headers), _ = await asyncio.gather(read(house, path), answer_commands(house, whole, attempt=attempt))
        assert (body, headers["X-Mltm-Final"]) == (whole, "true")

    # Each is served from the cache to whoever names the attempt; nobody polls any more.
    assert [(await read(house, path, params={"attempt": n}))[1] for n in ("1", "2")] == [first, second]


async def test_the_newest_log_of_a_task_that_has_ended_is_that_of_its_last_attempt(house: House) -> None:
    task_id = await house.make_task()
    path = f"/v1/tasks/{task_id}/log"
    await asyncio.gather(read(house, path), answer_commands(house, b"first\n", attempt=1))
    await house.agent.report(task_id, "running")
    await house.agent.report(task_id, "failed", attempt=2)

    (_, body, _), _ = await asyncio.gather(read(house, path), answer_commands(house, b"second\n", attempt=2))

    assert body == b"second\n"
    assert (await read(house, path))[1] == b"second\n"


async def test_a_log_of_an_agent_that_does_not_name_the_attempt_is_asked_for_again(house: House) -> None:
    task_id = await house.make_task()
    path = f"/v1/tasks/{task_id}/log"
    await house.agent.report(task_id, "succeeded")
    for whole in (b"one\n", b"two\n"):
        (_, body, headers), _ = await asyncio.gather(read(house, path), answer_commands(house, whole))
        assert (body, headers["X-Mltm-Final"]) == (whole, "true")


async def test_pieces_that_only_their_reader_wanted_do_not_stay(house: House) -> None:
    task_id, cache = await house.make_task(), house.settings.cache
    for content, final in ((b"", False), (b"one\n", False), (LOG, True), (b"", True)):
        params = {"offset": str(len(LOG))} if final and not content else {}
        await asyncio.gather(
            read(house, f"/v1/tasks/{task_id}/log", params=params), answer_commands(house, content, final=final)
        )
    assert len(list(cache.iterdir())) == 4

    def age() -> None:
        CachedBytes.update(kept_at=render_timestamp(Clock().now() - QUESTION_LIFE)).execute()

    await house.in_database(age)
    other = await house.make_task()
    await asyncio.gather(read(house, f"/v1/tasks/{other}/log"), answer_commands(house, b"other\n", final=False))

    assert sorted(path.read_bytes() for path in cache.iterdir()) == sorted([LOG, b"other\n"])


async def test_the_oldest_pieces_go_when_there_are_too_many(tmp_path: Path) -> None:
    async with open_house(tmp_path, max_cache_bytes=len(LOG) + 10) as house:
        for content in (b"first\n", b"second\n", LOG):
            task_id = await house.make_task()
            await asyncio.gather(read(house, f"/v1/tasks/{task_id}/log"), answer_commands(house, content))

        assert sorted(path.read_bytes() for path in house.settings.cache.iterdir()) == sorted([b"second\n", LOG])


async def test_a_start_clears_away_what_a_crash_left_in_the_cache(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        task_id = await house.make_task()
        await asyncio.gather(read(house, f"/v1/tasks/{task_id}/log"), answer_commands(house, LOG))
        settings = house.settings
    for name in ("1" * 32, "2" * 32 + ".part"):
        (settings.cache / name).touch()

    async with serve(settings):
        assert [path.read_bytes() for path in settings.cache.iterdir()] == [LOG]


async def test_readers_of_the_same_piece_share_one_command(house: House) -> None:
    task_id = await house.make_task()
    *answers, commands = await asyncio.gather(
        *(read(house, f"/v1/tasks/{task_id}/log") for _ in range(3)), answer_commands(house, LOG)
    )

    assert {body for _, body, _ in answers} == {LOG}
    assert len(commands) == 1


async def test_an_agent_that_is_silent_is_504(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "AGENT_WAIT_S", 0.05)
    task_id = await house.make_task()
    for path in ("log", "outputs", "outputs/model.bin"):
        status, problem = await house.call("GET", f"/v1/tasks/{task_id}/{path}")
        assert (status, problem["key"]) == (504, "agent_silent")
        assert "mltm-agent" in problem["next_step"]


async def test_outputs_are_listed_by_the_agent(house: House) -> None:
    task_id = await house.make_task()
    reading = asyncio.create_task(house.call("GET", f"/v1/tasks/{task_id}/outputs"))
    (command,) = await house.agent.poll()
    await house.agent.acknowledge(command["command_id"], outputs=[AWAY])

    assert await reading == (200, {"task_id": task_id, "files": [AWAY]})


async def test_an_output_larger_than_a_piece_arrives_whole(house: House) -> None:
    task_id = await house.make_task()
    (status, body, headers), commands = await asyncio.gather(
        read(house, f"/v1/tasks/{task_id}/outputs/sub/model.bin"), answer_commands(house, LARGE, LARGE)
    )

    assert (status, body == LARGE, int(headers["Content-Length"])) == (200, True, len(LARGE))
    assert headers["Content-Disposition"].startswith('attachment; filename="model.bin"')
    assert [command["file"] for command in commands] == ["outputs/sub/model.bin"] * 2


@pytest.mark.parametrize(
    ("name", "plain", "coded"),
    [
        ("a b.csv", "a b.csv", "a%20b.csv"),
        ('a";filename="x.exe', "a__filename__x.exe", "a%22%3Bfilename%3D%22x.exe"),
        ("a\r\nX-Evil: 1", "a__X-Evil_ 1", "a%0D%0AX-Evil%3A%201"),
        ("\u00fc\u202egpj.exe", "__gpj.exe", "%C3%BC%E2%80%AEgpj.exe"),
    ],
)
def test_a_name_of_an_output_cannot_change_the_header(name: str, plain: str, coded: str) -> None:
    assert outputs._render_disposition(name) == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{coded}"


@pytest.mark.parametrize(
    ("wanted", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=100-", 100, 3600), ("bytes=3595-9999", 3595, 3600)]
)
async def test_a_range_is_a_part(house: House, wanted: str, start: int, stop: int) -> None:
    content, task_id = bytes(range(200)) * 18, await house.make_task()
    (status, body, headers), _ = await asyncio.gather(
        read(house, f"/v1/tasks/{task_id}/outputs/x", headers={"Range": wanted}), answer_commands(house, content)
    )

    assert (status, body == content[start:stop]) == (206, True)
    assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/3600"


async def test_what_the_agent_has_not_is_404_in_its_words(house: House) -> None:
    task_id = await house.make_task()
    reading = asyncio.create_task(house.call("GET", f"/v1/tasks/{task_id}/outputs/none.txt"))
    (command,) = await house.agent.poll()
    await house.agent.acknowledge(command["command_id"], outcome="refused", message="There is no none.txt.")
    status, problem = await reading

    assert (status, problem["key"], problem["detail"]) == (404, "output_not_found", "There is no none.txt.")


@pytest.mark.parametrize("path", ["%2e%2e/secret", "a/%2e%2e/%2e%2e/b", "a//b", "%2Fetc/passwd", "a%00b"])
async def test_a_path_out_of_the_outputs_is_refused_before_the_agent_hears_of_it(house: House, path: str) -> None:
    task_id = await house.make_task()
    address = URL(f"{house.url}/v1/tasks/{task_id}/outputs/{path}", encoded=True)
    async with house.client.session.get(address, headers=house.headers("alice")) as answer:
        problem = await answer.json()

    assert answer.status in (404, 422), problem
    assert problem["key"] in ("bad_path", "route_not_found")
    assert await house.agent.poll(wait=0) == []


async def test_bytes_for_nobodys_command_are_404(house: House) -> None:
    assert await house.agent.bring({"command_id": "0" * 32, "length": 4}, b"abcd") == 404
    assert await house.agent.acknowledge("0" * 32) == 404
