"""Users: login, API tokens, whose token it is."""

import asyncio
import contextlib
from collections import defaultdict, deque
from datetime import timedelta

from gateway.errors import TooManyError, UnauthorizedError, UnavailableError
from gateway.services.passwords import hash_secret, is_password
from gateway.store import users as rows
from gateway.store.database import Database
from gateway.values import User
from mltm.contract.problems import FieldProblem
from mltm.contract.user_api import LoginAnswer, TokenAnswer
from mltm.runtime.clock import Clock

__all__ = ["Users"]

_MAX_FAILURES = 10
_FAILURE_WINDOW_S = 300.0
_PREFIX = "mltm_"


class Users:
    """Checks passwords and tokens. Wrong passwords are counted in memory, for each user name."""

    def __init__(self, database: Database, clock: Clock, token_days: int) -> None:
        self._database, self._clock, self._token_days = database, clock, token_days
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)

    async def login(self, username: str, password: str) -> LoginAnswer:
        """Check the password and create a token. Raises UnauthorizedError, TooManyError."""
        self._check_rate(username)
        known = await self._database.read(rows.find_password, username)
        is_right = await asyncio.to_thread(is_password, known.password_hash if known else None, password)
        if known is None or not is_right:
            self._failures[username].append(self._clock.boot_s())
            raise UnauthorizedError(
                "The user name or the password is wrong.",
                key="bad_login",
                title="Not logged in",
                next_step="Check both. An administrator can set a new password with `mltm-gateway user passwd`.",
            )
        self._failures.pop(username, None)
        life = timedelta(days=self._token_days)
        secret, _ = await self._create(known.user, "login", life)
        return LoginAnswer(access_token=secret, expires_in=int(life.total_seconds()))

    def _check_rate(self, username: str) -> None:
        failures, now_s = self._failures[username], self._clock.boot_s()
        while failures and now_s - failures[0] > _FAILURE_WINDOW_S:
            failures.popleft()
        if len(failures) >= _MAX_FAILURES:
            wait_s = int(_FAILURE_WINDOW_S - (now_s - failures[0])) + 1
            raise TooManyError(
                f"Too many wrong passwords for {username[:80]!r}.",
                key="too_many_logins",
                title="Too many tries",
                next_step=f"Try again in {wait_s} seconds.",
                retry_after_s=wait_s,
            )

    async def _create(self, user: User, name: str, life: timedelta | None) -> tuple[str, TokenAnswer]:
        secret, now = self._clock.new_secret(_PREFIX), self._clock.now()
        expires_at = now + life if life else None
        new = rows.NewToken(self._clock.new_id(), user, name, hash_secret(secret), now, expires_at)
        return secret, await self._database.call(rows.add_token, new)

    async def authenticate(self, bearer: str) -> User:
        """Find the user of this token. Raises UnauthorizedError."""
        sha256, now = hash_secret(bearer), self._clock.now()
        found = await self._database.read(rows.find_token_user, sha256, now)
        if found is None:
            raise UnauthorizedError(
                "This token is unknown, expired or revoked.",
                key="bad_token",
                title="Not logged in",
                next_step="Log in again (`mltm login`, POST /auth/login), or create a new token.",
                fields=[FieldProblem(field="Authorization", allowed="`Bearer <token>` with a valid token")],
            )
        user, is_due = found
        if is_due:
            with contextlib.suppress(UnavailableError):  # requests that only read still work while the disk is full
                await self._database.call(rows.touch_token, sha256, now)
        return user

    async def list_users(self) -> list[dict[str, object]]:
        """List username, role and created_at of every user; never a hash."""
        return await self._database.read(rows.list_users)

    async def read_user(self, username: str) -> dict[str, object]:
        """Read username, role and created_at of one user. Raises NotFoundError (user_not_found)."""
        return await self._database.read(rows.read_user, username)

    async def create_token(self, user: User, name: str) -> TokenAnswer:
        """Create an API token. Only this answer shows it."""
        secret, answer = await self._create(user, name, None)
        return answer.model_copy(update={"token": secret})

    async def list_tokens(self, user: User) -> list[TokenAnswer]:
        """List the user's tokens, without the tokens themselves."""
        return await self._database.read(rows.list_tokens, user, self._clock.now())

    async def revoke_token(self, user: User, token_id: str) -> None:
        """Revoke a token of the user. Raises NotFoundError (token_not_found)."""
        await self._database.call(rows.revoke_token, user, token_id, self._clock.now())
