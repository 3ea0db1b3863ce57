"""What users get from the gateway: a task, its history, its outputs."""

from typing import Literal

from pydantic import Field

from mltm.contract.agent_api import OutputFile
from mltm.contract.base_models import Explained, JsonObject, Message, Timestamp
from mltm.contract.reports import AttemptDetails, StatusNote
from mltm.contract.states import State

__all__ = [
    "AttemptAnswer",
    "CancelAnswer",
    "Event",
    "Health",
    "HoldAnswer",
    "LoginAnswer",
    "Outputs",
    "TaskAnswer",
    "TaskList",
    "TokenAnswer",
    "Whoami",
]


class AttemptAnswer(AttemptDetails):
    """One try at running the task."""


class Event(Explained):
    """A line of the task's history, oldest first."""

    at: Timestamp
    state: State
    attempt: int | None = None
    message: str = ""
    source: Literal["gateway", "agent"] = "agent"


class TaskAnswer(Message):
    """A task. The predecessor's keys stand beside ours, so that old clients go on reading it."""

    task_id: str
    state: State
    final: bool
    reason: str = Field(default="", description="why it ended so, or what it waits for, for people")
    note: StatusNote = StatusNote()
    owner: str
    cluster: str
    submitted_at: Timestamp
    updated_at: Timestamp
    attempts: list[AttemptAnswer] = Field(
        default_factory=list, description="the newest ones: 20 in lists, 200 of one task"
    )
    history: list[Event] = Field(
        default_factory=list, description="filled for one task (its newest 1,000 reports), empty in lists"
    )
    config: JsonObject = Field(default_factory=dict, description="filled for one task, empty in lists")
    cancel_requested: bool = False
    agent_silent_s: float | None = Field(
        default=None, description="seconds since the agent's last message; None: never"
    )
    # The predecessor's row.
    id: str
    job_id: int | str | None = None
    instance_type: str | None = None
    image_name: str | None = None
    account: str | None = None
    runner_location: str
    script_path: str | None = None
    dataset_name: str | None = None
    experiment_name: str | None = None
    project_path: str | None = None


class TaskList(Message):
    """A page of tasks, newest first. `next` is the `before` of the next page."""

    tasks: list[TaskAnswer]
    next: str | None = None


class CancelAnswer(Message):
    """The cancel is recorded; the task's state follows when the agent has carried it out."""

    task_id: str
    state: State
    cancel_requested: bool


class HoldAnswer(Message):
    """The hold or release is recorded; the task's note follows when the agent has heard of it."""

    task_id: str
    state: State
    hold_requested: bool


class Outputs(Message):
    """The files below the task's outputs folder."""

    task_id: str
    files: list[OutputFile]


class LoginAnswer(Message):
    """OAuth2's answer to the password form."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - OAuth2's word, not a password
    expires_in: int


class TokenAnswer(Message):
    """An API token. Only the answer that creates it has `token`."""

    token_id: str
    name: str
    token: str | None = None
    created_at: Timestamp
    last_used_at: Timestamp | None = None


class Whoami(Message):
    """Whose credential it is, and on which clusters that user may run tasks."""

    username: str
    role: Literal["user", "admin"]
    clusters: list[str]


class Health(Message):
    """`/healthz`: 200 while tasks can be accepted, else 503 with what is wrong."""

    status: Literal["ok", "degraded", "failing"]
    version: str
    checks: dict[str, str] = Field(default_factory=dict, description="name → 'ok' or a sentence")
