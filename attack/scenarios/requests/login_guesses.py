"""Sixty guesses at once at one password: few are looked at, and its owner logs in at another address all the same."""

from concurrent.futures import ThreadPoolExecutor

from attack.guards import replace
from attack.product.clients import log_in_from
from attack.product.house import PASSWORD, House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_AT_ONCE, _MAX_LOOKED_AT = 60, 10
_NAMES = ("ann", "ben", "eve", "nobody")


def run(trial: Trial) -> None:
    """Each round has its address and its name. A try that got past the limit is one that was looked at."""
    with open_house(trial) as house:
        for number in range(trial.tries // _AT_ONCE):
            _guess(trial, house, f"127.1.{number}.7", _NAMES[number % len(_NAMES)])
            told = log_in_from("127.0.0.2", house.url, "ann", PASSWORD)
            trial.tally.reached += [] if told.status == 200 else [f"ann is locked out: {told.status} {told.text[:80]}"]


def _guess(trial: Trial, house: House, address: str, name: str) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        guesses = [threads.submit(log_in_from, address, house.url, name, f"guess {n}") for n in range(_AT_ONCE)]
    statuses = [guess.result().status for guess in guesses]
    looked_at = statuses.count(401)
    for number in range(_AT_ONCE):
        trial.tally.count(f"guess {number} at {name} was looked at" if _MAX_LOOKED_AT <= number < looked_at else "")
    trial.tally.reached += [f"a guess was answered {status}" for status in statuses if status not in {401, 429}]


def take_guard_out() -> None:
    """A gateway that counts nothing."""
    from gateway.services import guesses

    async def admit(limits: guesses.LoginLimits, *_: object) -> float:
        return limits._clock.boot_s()

    replace(guesses.LoginLimits, "admit", admit)


SCENARIO = Scenario(
    threats="1.6",
    tries_to="guess a password sixty times at once, and lock its owner out",
    run=run,
    take_guard_out=take_guard_out,
    tries=4 * _AT_ONCE,
    control_tries=_AT_ONCE,
)
