"""Users: login, API tokens, whose token it is."""

import contextlib
from collections.abc import Collection
from datetime import timedelta

from gateway.errors import ForbiddenError, TooManyError, UnauthorizedError, UnavailableError
from gateway.origin import current_origin
from gateway.security_log import SecurityLog, hide_name
from gateway.services.guesses import LoginLimits
from gateway.services.new_passwords import hash_new_password
from gateway.services.passwords import HashingPool, hash_secret, is_password
from gateway.store import users as rows
from gateway.store.database import Database
from gateway.values import User
from mltm.contract.problems import FieldProblem
from mltm.contract.routes import CURRENT_TOKEN
from mltm.contract.user_api import LoginAnswer, TokenAnswer
from mltm.runtime.clock import Clock

__all__ = ["Users"]

_PREFIX = "mltm_"


class Users:
    """Checks passwords and tokens. Close it: it owns the threads that hash passwords."""

    def __init__(
        self, database: Database, clock: Clock, token_days: int, security: SecurityLog, names: Collection[str]
    ) -> None:
        self._database, self._clock, self._token_days, self._names = database, clock, token_days, names
        self._security, self._limits, self._hashing = security, LoginLimits(clock), HashingPool()

    def close(self) -> None:
        """End the threads that hash passwords."""
        self._hashing.close()

    async def login(self, username: str, password: str) -> LoginAnswer:
        """Check the password and create a token. Raises UnauthorizedError, TooManyError, UnavailableError."""
        known = await self._database.read(rows.find_password, username)
        shown = {"user": username, "user_id": known.user.user_id} if known else {"user": hide_name(username)}
        try:
            is_right = await self._check(username, known.password_hash if known else None, password)
        except (TooManyError, UnavailableError) as error:
            error.evidence = shown
            raise
        if known is None or not is_right:
            raise UnauthorizedError(
                "The user name or the password is wrong.",
                key="bad_login",
                title="Not logged in",
                next_step="Check both. An administrator can set a new password with `mltm-gateway user passwd`.",
                evidence=shown,
            )
        life = timedelta(days=self._token_days)
        secret, token = await self._create(known.user, "login", life, known.password_hash)
        self._security.record("login", token_id=token.token_id, **shown)
        return LoginAnswer(access_token=secret, expires_in=int(life.total_seconds()))

    async def _check(self, username: str, stored: str | None, password: str) -> bool:
        """Count the try, then hash: tries at once never get past the limit."""
        address = current_origin().address
        at_s = await self._limits.admit(address, username)
        try:
            is_right = await self._hashing.run(is_password, stored, password)
        except UnavailableError:
            self._limits.take_back(address, username, at_s)
            raise
        if is_right:
            self._limits.note_right(address, username, at_s)
        return is_right

    async def change_password(self, user: User, current: str, new: str) -> None:
        """Set a new password, and end all tokens of the user. The current one is asked for: a token may be stolen.

        Raises ForbiddenError (wrong_password), InvalidError, TooManyError, UnavailableError.
        """
        known = await self._database.read(rows.find_password, user.username)
        stored = known.password_hash if known and known.user.user_id == user.user_id else None
        if not await self._check(user.username, stored, current):
            raise ForbiddenError(
                "The current password is wrong.",
                key="wrong_password",
                next_step="Check it. An administrator can set a new password with `mltm-gateway user passwd`.",
                evidence={"of_user_id": user.user_id},
            )
        password_hash = await self._hashing.run(hash_new_password, new, (user.username, *self._names))
        await self._database.call(rows.change_password, user, password_hash, self._clock.now())
        self._security.record("password_set", of_user=user.username, of_user_id=user.user_id)

    async def _create(
        self, user: User, name: str, life: timedelta | None, password_hash: str | None = None
    ) -> tuple[str, TokenAnswer]:
        secret, now = self._clock.new_secret(_PREFIX), self._clock.now()
        expires_at = now + life if life else None
        new = rows.NewToken(self._clock.new_id(), user, name, hash_secret(secret), now, expires_at, password_hash)
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
                evidence=await self._database.read(rows.explain_token, sha256),
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
        self._security.record("token_created", token_id=answer.token_id)
        return answer.model_copy(update={"token": secret})

    async def list_tokens(self, user: User) -> list[TokenAnswer]:
        """List the user's tokens, without the tokens themselves."""
        return await self._database.read(rows.list_tokens, user, self._clock.now())

    async def revoke_token(self, user: User, token_id: str) -> None:
        """Revoke a token of the user; "current": the one that he shows. Raises NotFoundError (token_not_found)."""
        ended = user.token_id if token_id == CURRENT_TOKEN else token_id
        await self._database.call(rows.revoke_token, user, ended, self._clock.now())
        self._security.record("token_revoked", token_id=ended)
