"""Counts guesses at secrets: how many a caller may make. The reasons are in docs/decisions/0019-login-limits.md."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.errors import TooManyError
from gateway.origin import build_address_key
from mltm.runtime.clock import Clock

__all__ = ["Guesses", "LoginLimits", "TryTable"]

_MAX_KEYS = 4096
_WINDOW_S = 300.0
_MAX_OF_PAIR, _MAX_OF_ADDRESS = 10, 100
_NAME_WINDOW_S, _FREE_OF_NAME, _MAX_DELAY_S, _MAX_DELAYED = 3600.0, 20, 8.0, 16
_MAX_DELAYED_OF_ALL = 256
_MAX_WRONG_SECRETS, _WRONG_SECRETS_WINDOW_S = 60, 60.0


@dataclass
class TryTable:
    """Tries by key, of the last `window_s` seconds. If there are too many keys, the quietest make room for others."""

    max_tries: int
    window_s: float
    max_keys: int = _MAX_KEYS
    _tries: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def read_wait_s(self, key: str, now_s: float) -> float:
        """How long until this key may try again; 0 if it may now."""
        tries = self._read(key, now_s)
        return tries[-self.max_tries] + self.window_s - now_s if len(tries) >= self.max_tries else 0.0

    def count(self, key: str, now_s: float) -> int:
        """Count the tries of this key in the window."""
        return len(self._read(key, now_s))

    def add(self, key: str, now_s: float) -> None:
        """Add a try."""
        self._remove_old(now_s)
        self._tries.setdefault(key, deque(maxlen=self.max_tries)).append(now_s)
        self._tries.move_to_end(key)
        if len(self._tries) > self.max_keys:
            self._tries.popitem(last=False)

    def take_back(self, key: str, at_s: float) -> None:
        """Remove the try that was added at this time."""
        tries = self._tries.get(key)
        if tries is not None and at_s in tries:
            tries.remove(at_s)
            if not tries:
                del self._tries[key]

    def forget(self, key: str) -> None:
        """Remove all tries of a key."""
        self._tries.pop(key, None)

    def _read(self, key: str, now_s: float) -> deque[float]:
        self._remove_old(now_s)
        tries = self._tries.get(key, deque())
        while tries and now_s - tries[0] >= self.window_s:
            tries.popleft()
        return tries

    def _remove_old(self, now_s: float) -> None:
        """Remove the keys whose last try is too old. They stand in the order of their last tries."""
        while self._tries:
            key, tries = next(iter(self._tries.items()))
            if tries and now_s - tries[-1] < self.window_s:
                return
            del self._tries[key]

    def __len__(self) -> int:
        return len(self._tries)


class LoginLimits:
    """A try counts from before its password is hashed until it turns out right: tries at once do not get past a limit.

    Each pair of address and name, and each address, has a limit. The tries for one name from all addresses have none,
    because anybody could lock that user out: they are delayed, but not from addresses where he has logged in before.
    """

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock, self._sleep = clock, sleep
        self._pairs, self._addresses = TryTable(_MAX_OF_PAIR, _WINDOW_S), TryTable(_MAX_OF_ADDRESS, _WINDOW_S)
        self._names = TryTable(_FREE_OF_NAME + 8, _NAME_WINDOW_S)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._delayed = Counter[str]()

    async def admit(self, address: str, username: str) -> float:
        """Count a try, and delay it if there were many for this name. Returns its time. Raises TooManyError."""
        now_s, key = self._clock.boot_s(), build_address_key(address)
        pair = _pair(key, username)
        wait_s = max(self._pairs.read_wait_s(pair, now_s), self._addresses.read_wait_s(key, now_s))
        if wait_s > 0:
            raise _refuse(wait_s)
        excess = self._names.count(username, now_s) - _FREE_OF_NAME
        for table, counted in ((self._pairs, pair), (self._addresses, key), (self._names, username)):
            table.add(counted, now_s)
        if excess >= 0 and pair not in self._known:
            if self._delayed[username] >= _MAX_DELAYED or self._delayed.total() >= _MAX_DELAYED_OF_ALL:
                self.take_back(address, username, now_s)  # nobody looked at the password
                raise _refuse(_MAX_DELAY_S)
            await self._delay(username, min(_MAX_DELAY_S, 2.0**excess))
        return now_s

    async def _delay(self, username: str, delay_s: float) -> None:
        self._delayed[username] += 1
        try:
            await self._sleep(delay_s)
        finally:
            self._delayed[username] -= 1
            if not self._delayed[username]:
                del self._delayed[username]

    def note_right(self, address: str, username: str, at_s: float) -> None:
        """The password was right: this try counts nowhere, and the user is known at this address."""
        key = build_address_key(address)
        pair = _pair(key, username)
        self._pairs.forget(pair)
        self._addresses.take_back(key, at_s)
        self._names.take_back(username, at_s)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > _MAX_KEYS:
            self._known.popitem(last=False)

    def take_back(self, address: str, username: str, at_s: float) -> None:
        """The password was not looked at: the try does not count."""
        key = build_address_key(address)
        for table, counted in ((self._pairs, _pair(key, username)), (self._addresses, key), (self._names, username)):
            table.take_back(counted, at_s)


def _pair(key: str, username: str) -> str:
    return f"{key} {username}"


def _refuse(wait_s: float) -> TooManyError:
    whole_s = int(wait_s) + 1
    return TooManyError(
        "Too many wrong passwords, for this user name or from this address.",
        key="too_many_logins",
        title="Too many tries",
        next_step=f"Try again in {whole_s} seconds. Tokens that you have still work.",
        retry_after_s=whole_s,
    )


class Guesses:
    """Wrong tokens, credentials and enrolment codes, by address.

    They are counted after the look-up, so a right one always passes and waits for nobody: 256 random bits cannot be
    guessed. The limit bounds what guessing costs.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._table = clock, TryTable(_MAX_WRONG_SECRETS, _WRONG_SECRETS_WINDOW_S)

    def add(self, address: str) -> None:
        """Count one. Raises TooManyError if this address has sent too many."""
        now_s, key = self._clock.boot_s(), build_address_key(address)
        wait_s = self._table.read_wait_s(key, now_s)
        if wait_s <= 0:
            self._table.add(key, now_s)
            return
        whole_s = int(wait_s) + 1
        raise TooManyError(
            "Too many wrong tokens or codes from this address.",
            key="too_many_guesses",
            title="Too many tries",
            next_step=f"Correct the token. Try again in {whole_s} seconds.",
            retry_after_s=whole_s,
        )
