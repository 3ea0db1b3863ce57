from mltm.contract.states import State
from mltm.contract.user_api import TaskAnswer
from mltm.wire.logs import LogChunk, LogSource, follow_log
from tests.mltm.client.build import open_client
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault, Log, build_task

LOG_PATH = f"/v1/tasks/{TASK_ID}/log"
HEAD, TAIL = b"first words\n", b"last words\n"
DROPPED = Log(pieces=((0, HEAD), (5000, TAIL)))


async def _follow(gateway: FakeGateway, *, offset: int = 0, attempt: int | None = None) -> list[LogChunk]:
    async with open_client(gateway) as client:
        return [chunk async for chunk in client.follow_log(TASK_ID, offset=offset, attempt=attempt)]


def _attempts(*numbers: int) -> list[dict[str, object]]:
    return [{"attempt": number, "state": "failed"} for number in numbers]


async def test_following_tells_of_a_dropped_middle_and_goes_on_behind_it(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.SUCCEEDED)]
    gateway.logs = {1: [DROPPED]}
    head, tail = await _follow(gateway)
    assert (head.data, head.offset, head.skipped) == (HEAD, 0, 0)
    assert (tail.data, tail.offset, tail.skipped) == (TAIL, 5000, 5000 - len(HEAD))
    assert tail.size == tail.end == 5000 + len(TAIL)


async def test_an_offset_inside_the_dropped_middle_starts_behind_it(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.SUCCEEDED)]
    gateway.logs = {1: [DROPPED]}
    (tail,) = await _follow(gateway, offset=100)
    assert (tail.data, tail.skipped) == (TAIL, 4900)


async def test_a_middle_that_is_dropped_while_following_loses_and_doubles_nothing(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)] * 3 + [build_task(State.SUCCEEDED)]
    growing = Log(pieces=((0, HEAD),), final=False)
    gateway.logs = {1: [growing, growing, DROPPED]}
    chunks = await _follow(gateway)
    assert b"".join(chunk.data for chunk in chunks) == HEAD + TAIL
    assert sum(chunk.skipped for chunk in chunks) == 5000 - len(HEAD)


async def test_a_growing_log_is_followed_to_the_end_of_the_task(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING)] * 4 + [build_task(State.FAILED)]
    text = b"".join(b"epoch %d\n" % number for number in range(9))
    cuts = (0, 5, 5, 20, 41, len(text))
    gateway.logs = {1: [*(Log(((0, text[:cut]),), final=False) for cut in cuts), Log(((0, text),))]}
    assert b"".join(chunk.data for chunk in await _follow(gateway)) == text


async def test_following_goes_on_with_the_next_attempt(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [
        build_task(State.RUNNING, attempts=_attempts(1)),
        build_task(State.SUCCEEDED, attempts=_attempts(1, 2)),
    ]
    gateway.logs = {1: [Log(((0, b"one\n"),))], 2: [Log(((0, b"two\n"),))]}
    assert [(chunk.attempt, chunk.data) for chunk in await _follow(gateway)] == [(1, b"one\n"), (2, b"two\n")]
    assert [chunk.data for chunk in await _follow(gateway, attempt=1)] == [b"one\n"]


async def test_a_log_that_nobody_closes_ends_some_looks_after_the_task(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.LOST)]
    gateway.logs = {1: [Log(((0, b"half a li"),), final=False)]}
    assert [chunk.data for chunk in await _follow(gateway)] == [b"half a li"]


async def test_a_script_that_prints_nothing_for_hours_is_still_followed() -> None:
    pauses: list[float] = []

    async def read(offset: int, attempt: int) -> LogChunk:
        return LogChunk(b"", 0, 0, final=len(pauses) == 3000)

    async def read_task() -> TaskAnswer:
        state = State.SUCCEEDED if len(pauses) == 3000 else State.RUNNING
        return TaskAnswer.model_validate(build_task(state, attempts=_attempts(1)))

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    assert [chunk async for chunk in follow_log(LogSource(read, read_task, sleep))] == []
    assert pauses[:6] == [1.0, 1.5, 2.25, 3.375, 5.0, 5.0]
    assert pauses[-1] == 5.0


async def test_a_task_that_never_ran_has_nothing_to_follow(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.ACCEPTED, attempts=[]), build_task(State.REJECTED, attempts=[])]
    assert await _follow(gateway) == []
    assert gateway.asked("GET", LOG_PATH) == []


async def test_following_outlives_a_broken_connection(gateway: FakeGateway) -> None:
    gateway.looks[TASK_ID] = [build_task(State.SUCCEEDED)]
    gateway.logs = {1: [DROPPED]}
    gateway.faults = [Fault("GET", LOG_PATH, kind="half"), Fault("GET", LOG_PATH, status=504)]
    assert b"".join(chunk.data for chunk in await _follow(gateway)) == HEAD + TAIL


async def test_the_end_of_a_log_is_asked_for_with_a_negative_offset(gateway: FakeGateway) -> None:
    gateway.logs = {1: [Log(((0, b"0123456789"),))]}
    async with open_client(gateway) as client:
        chunk = await client.log(TASK_ID, offset=-4)
    assert (chunk.data, chunk.offset, chunk.size, chunk.final) == (b"6789", 6, 10, True)
