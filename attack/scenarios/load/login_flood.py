"""A flood of logins while others work: a request of theirs does not wait until the flood has ebbed away."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from attack.guards import replace
from attack.product.clients import Reply, ask_from, log_in_from
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_LOGINS = 150
_FEW = _LOGINS // 10  #: logins that are still unanswered when a flood is as good as over


def run(trial: Trial) -> None:
    """Each request of a real user is a try. It is harmed if it waits for the end of a flood that had just begun."""
    with open_house(trial) as house:
        house.forge_agents("ann")
        with ThreadPoolExecutor(_LOGINS) as threads:
            while trial.tally.tries < trial.tries:
                flood = [threads.submit(_log_in, house, number) for number in range(_LOGINS)]
                _work(trial, house, flood)
                codes = {future.result().status for future in flood}
                trial.tally.reached += [f"a login was answered {code}" for code in codes - {401, 429, 503}]


def _log_in(house: House, number: int) -> Reply:
    """Of the many names and addresses of a flood: no limit of one name or address stops it."""
    return log_in_from(f"127.2.{number % 50}.9", house.url, f"nobody{number}", "x" * 20)


def _work(trial: Trial, house: House, flood: list[Future[Reply]]) -> None:
    """Requests one after the other for as long as the flood lasts."""
    asks: list[tuple[str, Callable[[], object]]] = [
        ("a submission", lambda: house.submit("ann")), ("a list", lambda: house.ask("ann", "GET", "/v1/tasks")),
        ("/healthz", lambda: ask_from("127.0.0.3", house.url, "GET", "/healthz")),
    ]  # fmt: skip
    number = 0
    while trial.tally.tries < trial.tries and _count_open(flood) > _FEW:
        what, ask = asks[number % len(asks)]
        number += 1
        before = _count_open(flood)
        ask()
        is_harmed = before > _LOGINS // 2 and _count_open(flood) <= _FEW
        trial.tally.count(f"{what} waited for the end of the flood" if is_harmed else "")


def _count_open(flood: list[Future[Reply]]) -> int:
    return sum(not future.done() for future in flood)


def take_guard_out() -> None:
    """A gateway that hashes where its file work is done, one after the other, as many as there are."""
    import asyncio

    from gateway.services import passwords

    async def run_anywhere(_: object, fn: Callable[..., Any], *args: object) -> object:
        return await asyncio.to_thread(fn, *args)

    replace(passwords.HashingPool, "run", run_anywhere)


SCENARIO = Scenario(
    threats="1.6, T11",
    tries_to=f"stop everybody's work with {_LOGINS} logins at once",
    run=run,
    take_guard_out=take_guard_out,
    tries=120,
    control_tries=1,
)
