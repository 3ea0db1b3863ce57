"""Queries of users and their API tokens. Secrets come in as SHA-256 or argon2 hashes only."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import peewee

from gateway.errors import ConflictError, NotFoundError, UnauthorizedError
from gateway.store.models import Agent, EnrolCode, Token, UserRow, parse_timestamp, render_timestamp
from gateway.store.ownership import is_of, is_owned_by, read_user_id, require_live
from gateway.values import Role, User
from mltm.contract.user_api import TokenAnswer

__all__ = [
    "KnownPassword", "NewToken", "Removed", "add_token", "add_user", "change_password", "explain_token",
    "find_password", "find_token_user", "find_user", "list_tokens", "list_users", "read_user", "remove_user",
    "revoke_token", "set_password", "touch_token",
]  # fmt: skip

_TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class NewToken:
    """A token to store; the secret itself is not in it. `password_hash`: of the password that it was given for."""

    token_id: str
    user: User
    name: str
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    password_hash: str | None = None


@dataclass(frozen=True)
class Removed:
    """What ended with a user: his id, and how many of his tokens, agents and unused enrolment codes."""

    user_id: str
    tokens: int
    agents: int
    codes: int


def add_user(
    username: str, role: Role, password_hash: str | None, now: datetime, *, user_id: str | None = None
) -> User:
    """Add a user, with a new id: he is nobody who had the name before. Raises ConflictError (user_exists)."""
    user_id = user_id or secrets.token_hex(16)
    try:
        UserRow.create(
            username=username, role=role, password_hash=password_hash, created_at=render_timestamp(now), user_id=user_id
        )
    except peewee.IntegrityError as error:
        raise ConflictError(
            f"There is already a user {username!r}.",
            key="user_exists",
            next_step="Choose another name, or change the password with `mltm-gateway user passwd`.",
        ) from error
    return User(username, role, user_id)


def _find_user(username: str) -> UserRow:
    row: UserRow = UserRow.get(UserRow.user_id == read_user_id(username))
    return row


def find_user(username: str) -> User:
    """Find the user who has this name now. Raises NotFoundError (user_not_found)."""
    return _build(_find_user(username))


def _build(row: UserRow) -> User:
    return User(row.username, _role(row), row.user_id)


def _role(row: UserRow) -> Role:
    return "admin" if row.role == "admin" else "user"


def _show(row: UserRow) -> dict[str, object]:
    return {"username": row.username, "role": _role(row), "created_at": row.created_at, "user_id": row.user_id}


def list_users() -> list[dict[str, object]]:
    """List all users, by name."""
    return [_show(row) for row in UserRow.select().order_by(UserRow.username)]


def read_user(username: str) -> dict[str, object]:
    """Read one user. Raises NotFoundError."""
    return _show(_find_user(username))


@dataclass(frozen=True)
class KnownPassword:
    """A user, and the argon2 hash of his password; None: he has no password."""

    user: User
    password_hash: str | None


def find_password(username: str) -> KnownPassword | None:
    """The user of this name, with his password's hash; None for an unknown name."""
    row: UserRow | None = UserRow.get_or_none(UserRow.username == username)
    return KnownPassword(_build(row), row.password_hash) if row else None


def set_password(username: str, password_hash: str, now: datetime) -> User:
    """Set a password and revoke all tokens of the user. Raises NotFoundError."""
    row = _find_user(username)
    row.password_hash = password_hash
    row.save()
    _revoke(is_owned_by(Token.user_id, row.user_id), now)
    return _build(row)


def change_password(user: User, password_hash: str, now: datetime) -> None:
    """Set a password, and revoke all tokens of the user. Raises UnauthorizedError if his token has ended meanwhile."""
    require_live(user)
    set_password(user.username, password_hash, now)


def remove_user(username: str, now: datetime) -> Removed:
    """Remove a user. His tokens, agents and unused codes end with him; his tasks stay. Raises NotFoundError."""
    row = _find_user(username)
    row.delete_instance()
    reason = f"its owner {username} was removed"
    agents = Agent.update(revoked_at=render_timestamp(now), revoked_reason=reason)
    codes = EnrolCode.delete().where(is_owned_by(EnrolCode.owner_id, row.user_id), EnrolCode.used_at.is_null())
    return Removed(
        user_id=row.user_id,
        tokens=_revoke(is_owned_by(Token.user_id, row.user_id), now),
        agents=agents.where(is_owned_by(Agent.owner_id, row.user_id), Agent.revoked_at.is_null()).execute(),
        codes=codes.execute(),
    )


def _revoke(which: peewee.Expression, now: datetime) -> int:
    query = Token.update(revoked_at=render_timestamp(now)).where(which, Token.revoked_at.is_null())
    return int(query.execute())


def add_token(new: NewToken) -> TokenAnswer:
    """Add a token of a user. Raises UnauthorizedError if he was removed, or his password changed meanwhile."""
    require_live(new.user)
    if new.password_hash not in (None, _find_user(new.user.username).password_hash):
        raise UnauthorizedError("The password was changed during this login.", key="bad_login", title="Not logged in")
    row = Token.create(
        token_id=new.token_id,
        username=new.user.username,
        user_id=new.user.user_id,
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


def list_tokens(user: User, now: datetime) -> list[TokenAnswer]:
    """List a user's valid tokens, newest first."""
    query = Token.select().where(is_owned_by(Token.user_id, user.user_id), _is_valid(now))
    return [_answer(row) for row in query.order_by(Token.token_id.desc())]


def revoke_token(user: User | None, token_id: str, now: datetime) -> str:
    """Revoke a token; `user` None: anybody's. Returns its user's id. Raises NotFoundError (token_not_found)."""
    row: Token | None = Token.get_or_none(Token.token_id == token_id)
    if row is None or not (user is None or is_of(row.user_id, user)):
        raise NotFoundError(
            f"There is no token {token_id[:80]!r}.",
            key="token_not_found",
            next_step="List the tokens (`mltm-gateway token list USER`, GET /v1/tokens) and check the id.",
            evidence={"token_id": token_id, "of_user_id": row.user_id} if row else None,
        )
    _revoke(Token.token_id == token_id, now)
    return row.user_id


def find_token_user(sha256: str, now: datetime) -> tuple[User, bool] | None:
    """Find the user of a valid token, and whether its use must be noted: once a minute is enough."""
    row: Token | None = Token.get_or_none(Token.sha256 == sha256, _is_valid(now))
    user: UserRow | None = UserRow.get_or_none(is_owned_by(UserRow.user_id, row.user_id)) if row else None
    if row is None or user is None:
        return None
    is_due = row.last_used_at is None or now - parse_timestamp(row.last_used_at) > _TOUCH_EVERY
    return replace(_build(user), token_id=row.token_id), is_due


def explain_token(sha256: str) -> dict[str, str]:
    """What is known of a token that is not valid, for the security log; empty if it was never given."""
    row: Token | None = Token.get_or_none(Token.sha256 == sha256)
    if row is None:
        return {}
    reason = "revoked" if row.revoked_at is not None else "expired"
    return {"user": row.username, "user_id": row.user_id, "token_id": row.token_id, "reason": reason}


def touch_token(sha256: str, now: datetime) -> None:
    """Note that a token was used."""
    Token.update(last_used_at=render_timestamp(now)).where(Token.sha256 == sha256).execute()
