"""Queries of users and their API tokens. Secrets come in as SHA-256 or argon2 hashes only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import peewee

from gateway.errors import ConflictError, NotFoundError
from gateway.store.models import Token, UserRow
from gateway.store.timestamps import parse_timestamp, render_timestamp
from gateway.values import Role, User
from mltm.contract.user_api import TokenAnswer

__all__ = [
    "NewToken", "add_token", "add_user", "find_token_user", "list_tokens", "list_users", "read_password_hash",
    "read_user", "remove_user", "revoke_token", "set_password", "touch_token",
]  # fmt: skip

_TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class NewToken:
    """A token to store; the secret itself is not in it."""

    token_id: str
    username: str
    name: str
    sha256: str
    created_at: datetime
    expires_at: datetime | None


def add_user(username: str, role: Role, password_hash: str | None, now: datetime) -> None:
    """Add a user. Raises ConflictError (user_exists)."""
    try:
        UserRow.create(username=username, role=role, password_hash=password_hash, created_at=render_timestamp(now))
    except peewee.IntegrityError as error:
        raise ConflictError(
            f"There is already a user {username!r}.",
            key="user_exists",
            next_step="Choose another name, or change the password with `mltm-gateway user passwd`.",
        ) from error


def _find_user(username: str) -> UserRow:
    row: UserRow | None = UserRow.get_or_none(UserRow.username == username)
    if row is None:
        raise NotFoundError(
            f"There is no user {username[:80]!r}.",
            key="user_not_found",
            next_step="List the users with `mltm-gateway user list` (GET /users).",
        )
    return row


def _role(row: UserRow) -> Role:
    return "admin" if row.role == "admin" else "user"


def _show(row: UserRow) -> dict[str, object]:
    return {"username": row.username, "role": _role(row), "created_at": row.created_at}


def list_users() -> list[dict[str, object]]:
    """List all users, by name."""
    return [_show(row) for row in UserRow.select().order_by(UserRow.username)]


def read_user(username: str) -> dict[str, object]:
    """Read one user. Raises NotFoundError."""
    return _show(_find_user(username))


def read_password_hash(username: str) -> str | None:
    """The argon2 hash; None for an unknown user and for a user without a password."""
    row: UserRow | None = UserRow.get_or_none(UserRow.username == username)
    return row.password_hash if row else None


def set_password(username: str, password_hash: str, now: datetime) -> None:
    """Set a password and revoke all tokens of the user. Raises NotFoundError."""
    row = _find_user(username)
    row.password_hash = password_hash
    row.save()
    _revoke(Token.username == username, now)


def remove_user(username: str, now: datetime) -> None:
    """Remove a user and revoke his tokens. His tasks stay. Raises NotFoundError."""
    _find_user(username).delete_instance()
    _revoke(Token.username == username, now)


def _revoke(which: peewee.Expression, now: datetime) -> int:
    query = Token.update(revoked_at=render_timestamp(now)).where(which, Token.revoked_at.is_null())
    return int(query.execute())


def add_token(new: NewToken) -> TokenAnswer:
    """Add a token of an existing user. Raises NotFoundError (user_not_found)."""
    _find_user(new.username)
    row = Token.create(
        token_id=new.token_id,
        username=new.username,
        name=new.name,
        sha256=new.sha256,
        created_at=render_timestamp(new.created_at),
        expires_at=render_timestamp(new.expires_at) if new.expires_at else None,
    )
    return _answer(row)


def _answer(row: Token) -> TokenAnswer:
    return TokenAnswer(
        token_id=row.token_id,
        name=row.name,
        created_at=parse_timestamp(row.created_at),
        last_used_at=parse_timestamp(row.last_used_at) if row.last_used_at else None,
    )


def _is_valid(now: datetime) -> peewee.Expression:
    return Token.revoked_at.is_null() & (Token.expires_at.is_null() | (Token.expires_at > render_timestamp(now)))


def list_tokens(username: str, now: datetime) -> list[TokenAnswer]:
    """List a user's valid tokens, newest first."""
    query = Token.select().where(Token.username == username, _is_valid(now)).order_by(Token.token_id.desc())
    return [_answer(row) for row in query]


def revoke_token(username: str | None, token_id: str, now: datetime) -> None:
    """Revoke a token; `username` None: anybody's. Raises NotFoundError (token_not_found)."""
    mine = (Token.token_id == token_id) & (True if username is None else Token.username == username)
    if not Token.select().where(mine).exists():
        raise NotFoundError(
            f"There is no token {token_id[:80]!r}.",
            key="token_not_found",
            next_step="List the tokens (`mltm-gateway token list USER`, GET /v1/tokens) and check the id.",
        )
    _revoke(mine, now)


def find_token_user(sha256: str, now: datetime) -> tuple[User, bool] | None:
    """Find the user of a valid token, and whether its use must be noted: once a minute is enough."""
    row: Token | None = Token.get_or_none(Token.sha256 == sha256, _is_valid(now))
    user: UserRow | None = UserRow.get_or_none(UserRow.username == row.username) if row else None
    if row is None or user is None:
        return None
    is_due = row.last_used_at is None or now - parse_timestamp(row.last_used_at) > _TOUCH_EVERY
    return User(user.username, _role(user)), is_due


def touch_token(sha256: str, now: datetime) -> None:
    """Note that a token was used."""
    Token.update(last_used_at=render_timestamp(now)).where(Token.sha256 == sha256).execute()
