"""Whose a row is. Every query that is filtered by owner asks here, and nowhere else.

Rows belong to a user's id, never to his name: a name that was removed and added again is somebody else.
"""

from typing import Final

import peewee

from gateway.errors import NotFoundError, UnauthorizedError
from gateway.store.models import Task, Token, UserRow
from gateway.values import AgentIdentity, User

__all__ = ["NOBODY", "find_owner_id", "is_of", "is_owned_by", "may_see", "read_user_id", "require_live", "visible_to"]

NOBODY: Final = "nobody"
"""The owner of a task whose name is no user's. It is not an id, so no user has it; admins see such tasks."""


def require_live(user: User) -> None:
    """Refuse a user who was removed or got another role, or whose token was revoked, since his request began.

    Requests may last for hours (a download): each of their queries asks this again. Raises UnauthorizedError.
    """
    is_there = UserRow.select().where(UserRow.user_id == user.user_id, UserRow.role == user.role).exists()
    is_revoked = Token.select().where(Token.token_id == user.token_id, ~Token.revoked_at.is_null()).exists()
    if is_revoked or not is_there:
        raise UnauthorizedError(
            "This user was removed or changed, or this token was revoked, while the request was running.",
            key="bad_token",
            next_step="Log in again (`mltm login`, POST /auth/login). If that fails, ask an administrator.",
        )


def visible_to(user: User) -> peewee.Node:
    """The tasks that this user may see: his own; all of them for an admin. Raises UnauthorizedError."""
    require_live(user)
    return peewee.SQL("1") if user.is_admin else is_owned_by(Task.owner_id, user.user_id)


def may_see(user: User, task: Task) -> bool:
    """True if this user may see this task. Raises UnauthorizedError."""
    require_live(user)
    return user.is_admin or is_of(task.owner_id, user)


def is_of(owner_id: str, user: User) -> bool:
    """True if something with this owner's id is this user's own."""
    return owner_id == user.user_id


def is_owned_by(column: peewee.Field, owner_id: str | None) -> peewee.Expression:
    """The rows of this owner; None: the rows that are for all users (a shared agent and its codes)."""
    return column.is_null() if owner_id is None else column == owner_id


def read_user_id(username: str) -> str:
    """Read the id of the user who has this name now. Raises NotFoundError (user_not_found)."""
    row: UserRow | None = UserRow.get_or_none(UserRow.username == username)
    if row is None:
        raise NotFoundError(
            f"There is no user {username[:80]!r}.",
            key="user_not_found",
            next_step="List the users with `mltm-gateway user list` (GET /users).",
        )
    return str(row.user_id)


def find_owner_id(agent: AgentIdentity, name: str) -> str:
    """Find whose a task is that an agent reports: its owner's; at a shared agent the live user's of this name."""
    if agent.owner is not None:
        return agent.owner_id or NOBODY
    row: UserRow | None = UserRow.get_or_none(UserRow.username == name)
    return str(row.user_id) if row else NOBODY
