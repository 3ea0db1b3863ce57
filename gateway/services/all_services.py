"""Everything that the HTTP half may call, as one frozen dataclass of ports. HTTP never touches the database."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gateway.values import Accepted, AgentIdentity, Chunk, Upload, User
from mltm.contract.agent_api import (
    Ack,
    Answer,
    BytesHeaders,
    Commands,
    Enrolled,
    Enrolment,
    Heartbeat,
    ReportBatch,
    ReportsAnswer,
)
from mltm.contract.states import State
from mltm.contract.user_api import (
    CancelAnswer,
    Health,
    HoldAnswer,
    LoginAnswer,
    Outputs,
    TaskAnswer,
    TaskList,
    TokenAnswer,
)

__all__ = ["AgentsPort", "IntakePort", "PeoplePort", "RelayPort", "Services", "TasksPort"]


class PeoplePort(Protocol):
    """Users, passwords and API tokens."""

    async def login(self, username: str, password: str) -> LoginAnswer:
        """Check the password and make a token. Raises UnauthorizedError, TooManyError."""

    async def authenticate(self, bearer: str) -> User:
        """Find whose token this is. Raises UnauthorizedError."""

    async def list_users(self) -> list[dict[str, object]]:
        """List username, role, created_at of everyone; never a hash."""

    async def read_user(self, username: str) -> dict[str, object]:
        """Read one user's row. Raises NotFoundError (user_not_found)."""

    async def create_token(self, user: User, name: str) -> TokenAnswer:
        """Make an API token; the answer shows it this once."""

    async def list_tokens(self, user: User) -> list[TokenAnswer]:
        """List the user's API tokens, without the tokens themselves."""

    async def revoke_token(self, user: User, token_id: str) -> None:
        """End a token. Raises NotFoundError (token_not_found)."""


class IntakePort(Protocol):
    """How a submission becomes a task."""

    async def accept(self, user: User, upload: Upload, idempotency_key: str | None) -> Accepted:
        """Make the task durable, or find the one of this key. Raises InvalidError, ConflictError, UnavailableError.

        On success the staged files have been moved; what is left of `upload.folder` is the caller's to delete.
        """


class TasksPort(Protocol):
    """Reading and cancelling. Somebody else's task is NotFoundError, as one that does not exist."""

    async def read(self, user: User, task_id: str) -> TaskAnswer:
        """Read one task with its attempts, history and config."""

    async def find_by_job_id(self, user: User, job_id: str) -> TaskAnswer:
        """Find the newest task with an attempt of this Slurm job id."""

    async def request_cancel(self, user: User, task_id: str) -> CancelAnswer:
        """Record the wish, durably, once. Raises ConflictError (already_final)."""

    async def request_hold(self, user: User, task_id: str, kind: Literal["hold", "release"]) -> HoldAnswer:
        """Record the wish, durably. Raises ConflictError (already_final)."""

    async def clusters(self, user: User) -> list[str]:
        """List where this user's tasks can run."""

    async def wait_for_job_id(self, user: User, task_id: str, timeout_s: float) -> TaskAnswer:
        """Read the task as soon as it has a job id or is final, at the latest after `timeout_s`."""

    async def list(
        self, user: User, *, state: State | None = None, before: str | None = None, limit: int = 50
    ) -> TaskList:
        """List newest first; `before` is the `next` of the page before. An admin sees everybody's."""


class AgentsPort(Protocol):
    """The agents' side: who they are, what they report, what they are told."""

    async def enrol(self, enrolment: Enrolment) -> Enrolled:
        """Use up a one-time code. Raises UnauthorizedError (bad_code, code_expired), ConflictError."""

    async def authenticate(self, credential: str) -> AgentIdentity:
        """Find whose credential this is. Raises UnauthorizedError (bad_credential, credential_revoked)."""

    async def store_reports(self, agent: AgentIdentity, batch: ReportBatch) -> ReportsAnswer:
        """Store each report once and merge; one outcome a report."""

    async def heartbeat(self, agent: AgentIdentity, beat: Heartbeat) -> Answer:
        """Keep the agent's health."""

    async def open_commands(self, agent: AgentIdentity, wait_s: float) -> Commands:
        """List the agent's open commands; with none, wait for one, `wait_s` at most."""

    async def acknowledge(self, agent: AgentIdentity, command_id: str, ack: Ack) -> Answer:
        """Close a command; again is harmless.

        Raises NotFoundError (command_not_found), InvalidError (bytes_needed).
        """


class RelayPort(Protocol):
    """Bytes of files on the cluster, brought by the agent and cached."""

    async def read_log(
        self, user: User, task_id: str, *, offset: int, length: int, attempt: int | None = None, wait_s: float
    ) -> Chunk:
        """Read a piece of the log; a negative offset counts from the end. Raises AgentSilentError, NotFoundError."""

    async def list_outputs(self, user: User, task_id: str, wait_s: float) -> Outputs:
        """List the files in the outputs folder. Raises AgentSilentError."""

    async def read_output(self, user: User, task_id: str, path: str, offset: int, length: int, wait_s: float) -> Chunk:
        """Read a piece of an output file. Raises AgentSilentError, NotFoundError (output_not_found)."""

    async def deliver_bytes(self, agent: AgentIdentity, command_id: str, headers: BytesHeaders, data: bytes) -> Answer:
        """Take what a send_bytes command asked for; again is harmless.

        Raises NotFoundError (command_not_found), InvalidError (no_bytes_wanted, bad_bytes).
        """


@dataclass(frozen=True)
class Services:
    """What HTTP gets. `staging`: each upload streams into a new folder below it. `generation` fixed while it runs."""

    people: PeoplePort
    intake: IntakePort
    tasks: TasksPort
    agents: AgentsPort
    relay: RelayPort
    health: Callable[[], Awaitable[Health]]
    generation: str
    staging: Path
