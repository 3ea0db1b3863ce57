"""The plain values that pass between the gateway's rooms."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mltm.contract.ids import AgentId
from mltm.contract.task_config import TaskConfig
from mltm.contract.user_api import TaskAnswer

__all__ = ["Accepted", "AgentIdentity", "FilePiece", "InboxKey", "Role", "Upload", "UploadedFile", "User"]

Role = Literal["user", "admin"]


@dataclass(frozen=True)
class User:
    """A user who has proved who he is. `user_id` is his for ever; the name may be another user's later.

    `token_id`: the token that proves it; empty if it was none (a command on the gateway's machine).
    """

    username: str
    role: Role
    user_id: str
    token_id: str = ""

    @property
    def is_admin(self) -> bool:
        """True if he sees the tasks of all users."""
        return self.role == "admin"


@dataclass(frozen=True)
class AgentIdentity:
    """An agent that has shown its credential. `owner` None: for all users; `inbox` None: no shared folder.

    `unix_user`: the account it runs as. Tasks dropped into its spool belong to this user. `owner_id`: whose agent it
    is; `owner` is his name.
    """

    agent_id: AgentId
    cluster: str
    owner: str | None
    inbox: Path | None
    spool_id: str
    unix_user: str = ""
    owner_id: str | None = None


@dataclass(frozen=True)
class InboxKey:
    """An agent's inbox, and the key for what the gateway proves there."""

    inbox: Path
    spool_id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class UploadedFile:
    """A file that was streamed to the staging folder and synced. `name` is a checked plain file name."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """A whole submission. `folder` (below settings.staging) belongs to the request until accept() has succeeded."""

    config: TaskConfig
    script: UploadedFile
    extra: tuple[UploadedFile, ...]
    folder: Path

    @property
    def files(self) -> tuple[UploadedFile, ...]:
        """The script first, then the others."""
        return (self.script, *self.extra)


@dataclass(frozen=True)
class Accepted:
    """The task of a submission. `created` False: its Idempotency-Key was used for the same body before."""

    task: TaskAnswer
    created: bool


@dataclass(frozen=True)
class FilePiece:
    """`length` bytes of a file on the cluster, from `offset` on, in an open file of the cache, from `skip` on.

    `size`: of the whole file now; `final`: it no longer grows.
    """

    descriptor: int
    skip: int
    length: int
    offset: int
    size: int
    final: bool
