"""Logging in, API tokens, and who the users are."""

from datetime import datetime

from pydantic import Field

from gateway.http.route import Call, Reply, route
from gateway.values import User
from mltm.contract import routes
from mltm.contract.base_models import Message, Strict
from mltm.contract.user_api import LoginAnswer, TokenAnswer, Whoami

__all__ = [
    "LoginForm", "TokenRequest", "UserAnswer", "create_token", "list_tokens", "list_users", "log_in", "read_me",
    "read_user", "revoke_token",
]  # fmt: skip


class LoginForm(Message):
    """OAuth2's password form; its other fields (grant_type, scope, …) are taken and not needed."""

    username: str = Field(min_length=1, max_length=128)
    password: str = Field(min_length=1, max_length=1024, json_schema_extra={"format": "password"})


class TokenRequest(Strict):
    """What the new token is called, so that its owner knows it again."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")


class UserAnswer(Message):
    """A user. Nothing else of his row leaves the gateway."""

    username: str
    role: str
    created_at: datetime | None = None


@route("POST", routes.LOGIN, area="people", errors=(401, 415, 429))
async def log_in(call: Call, form: LoginForm) -> LoginAnswer:
    """Trade a user name and a password for a token."""
    return await call.services.people.login(form.username, form.password)


@route("GET", routes.WHOAMI, area="people")
async def read_me(call: Call, user: User) -> Whoami:
    """Who the token belongs to, and where he may run tasks."""
    clusters = await call.services.tasks.clusters(user)
    return Whoami(username=user.username, role=user.role, clusters=clusters)


@route("POST", routes.TOKENS, area="people", status=201, errors=(415,))
async def create_token(call: Call, user: User, body: TokenRequest) -> Reply[TokenAnswer]:
    """Make an API token. The answer shows it, this once."""
    return Reply(await call.services.people.create_token(user, body.name), 201)


@route("GET", routes.TOKENS, area="people")
async def list_tokens(call: Call, user: User) -> list[TokenAnswer]:
    """Your API tokens, without the tokens themselves."""
    return await call.services.people.list_tokens(user)


@route("DELETE", routes.TOKEN, area="people", status=204, errors=(404,))
async def revoke_token(call: Call, user: User, token_id: str) -> None:
    """End one of your tokens, at once."""
    await call.services.people.revoke_token(user, token_id)


@route("GET", routes.LEGACY_USERS, area="first generation")
async def list_users(call: Call, admin: User) -> list[UserAnswer]:
    """All users. For administrators."""
    del admin  # that it could be read is the check
    return [UserAnswer.model_validate(row) for row in await call.services.people.list_users()]


@route("GET", routes.LEGACY_USER, area="first generation", errors=(404,))
async def read_user(call: Call, admin: User, username: str) -> UserAnswer:
    """One user. For administrators."""
    del admin  # that it could be read is the check
    return UserAnswer.model_validate(await call.services.people.read_user(username))
