"""Login, API tokens and users."""

from datetime import datetime

from pydantic import Field, field_validator

from gateway.http.route import Call, Reply, route
from gateway.services.passwords import MAX_PASSWORD_BYTES
from gateway.values import User
from mltm.contract import routes
from mltm.contract.base_models import Message, Strict
from mltm.contract.user_api import LoginAnswer, TokenAnswer, Whoami

__all__ = [
    "LoginForm", "PasswordRequest", "TokenRequest", "UserAnswer", "change_password", "create_token", "list_tokens",
    "list_users", "log_in", "read_me", "read_user", "revoke_token",
]  # fmt: skip


class LoginForm(Message):
    """OAuth2's password form. Its other fields (grant_type, scope, …) are ignored."""

    username: str = Field(min_length=1, max_length=128)
    password: str = Field(min_length=1, max_length=MAX_PASSWORD_BYTES, json_schema_extra={"format": "password"})

    @field_validator("username", "password")
    @classmethod
    def _fits(cls, text: str) -> str:
        """A form may have any charset: what is text here may have no bytes in UTF-8, or many more than characters."""
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            size = MAX_PASSWORD_BYTES + 1
        if size > MAX_PASSWORD_BYTES:
            raise ValueError(f"text of at most {MAX_PASSWORD_BYTES:,} bytes in UTF-8 is allowed")
        return text


class PasswordRequest(Strict):
    """The password that the user has, and the one that he wants."""

    current_password: str = Field(min_length=1, max_length=MAX_PASSWORD_BYTES, json_schema_extra={"format": "password"})
    new_password: str = Field(min_length=1, max_length=MAX_PASSWORD_BYTES, json_schema_extra={"format": "password"})


class TokenRequest(Strict):
    """The name of the new token, so that its owner recognises it."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")


class UserAnswer(Message):
    """A user. Nothing else of his row leaves the gateway."""

    username: str
    role: str
    created_at: datetime | None = None


@route("POST", routes.LOGIN, area="users", errors=(401, 415, 429, 503, 507))
async def log_in(call: Call, form: LoginForm) -> LoginAnswer:
    """Exchange a user name and a password for a token."""
    return await call.services.users.login(form.username, form.password)


@route("GET", routes.WHOAMI, area="users")
async def read_me(call: Call, user: User) -> Whoami:
    """The user of this token, and the clusters where he may run tasks."""
    clusters = await call.services.tasks.list_clusters(user)
    return Whoami(username=user.username, role=user.role, clusters=clusters)


@route("PUT", routes.PASSWORD, area="users", status=204, errors=(403, 429, 503, 507))
async def change_password(call: Call, user: User, body: PasswordRequest) -> None:
    """Change your password.

    All your tokens end, the one of this request too: log in again. A password that is easy to guess is refused.
    """
    await call.services.users.change_password(user, body.current_password, body.new_password)


@route("POST", routes.TOKENS, area="users", status=201, errors=(507,))
async def create_token(call: Call, user: User, body: TokenRequest) -> Reply[TokenAnswer]:
    """Create an API token. Only this answer shows it."""
    return Reply(await call.services.users.create_token(user, body.name), 201)


@route("GET", routes.TOKENS, area="users")
async def list_tokens(call: Call, user: User) -> list[TokenAnswer]:
    """Your API tokens, without the tokens themselves."""
    return await call.services.users.list_tokens(user)


@route("DELETE", routes.TOKEN, area="users", status=204, errors=(404, 507))
async def revoke_token(call: Call, user: User, token_id: str) -> None:
    """Revoke one of your tokens, at once.

    `current` in place of an id is the token of this request: a logout.
    """
    await call.services.users.revoke_token(user, token_id)


@route("GET", routes.PREDECESSOR_USERS, area="predecessor")
async def list_users(call: Call, admin: User) -> list[UserAnswer]:
    """All users. For administrators."""
    del admin  # reading this argument is the check
    return [UserAnswer.model_validate(row) for row in await call.services.users.list_users()]


@route("GET", routes.PREDECESSOR_USER, area="predecessor", errors=(404,))
async def read_user(call: Call, admin: User, username: str) -> UserAnswer:
    """One user. For administrators."""
    del admin  # reading this argument is the check
    return UserAnswer.model_validate(await call.services.users.read_user(username))
