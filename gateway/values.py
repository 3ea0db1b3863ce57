"""The plain values that pass between the gateway's HTTP half and its store half."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mltm.contract.ids import AgentId
from mltm.contract.task_config import TaskConfig
from mltm.contract.user_api import TaskAnswer

__all__ = ["Accepted", "AgentIdentity", "Chunk", "Role", "Upload", "UploadedFile", "User"]

Role = Literal["user", "admin"]


@dataclass(frozen=True)
class User:
    """A person who has proved who he is."""

    username: str
    role: Role

    @property
    def is_admin(self) -> bool:
        """True where he sees everybody's tasks."""
        return self.role == "admin"


@dataclass(frozen=True)
class AgentIdentity:
    """An agent that has shown its credential. `owner` None: shared by all users; `spool` None: no shared folder.

    unix_user: who it runs as, and so whose everything in its spool's drop/ is.
    """

    agent_id: AgentId
    cluster: str
    owner: str | None
    spool: Path | None
    spool_id: str
    unix_user: str = ""


@dataclass(frozen=True)
class UploadedFile:
    """A file that was streamed to the staging folder and synced. `name` is a checked plain file name."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """A whole submission. `folder` (below services.staging) belongs to the request until accept() has succeeded."""

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
    """The task of a submission; `created` False: the idempotency key had been used for this same body before."""

    task: TaskAnswer
    created: bool


@dataclass(frozen=True)
class Chunk:
    """Bytes of a file on the cluster. `offset` is where they really begin, `size` how long the file is by now."""

    data: bytes
    offset: int
    size: int
    final: bool
