"""What agent and gateway say to each other over HTTPS. The agent always calls; every answer carries a generation.

Authorization: `Bearer <credential>` on all but the enrolment. A generation that changes (restore, migrate) makes
the agent report everything it has again.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mltm.contract.base_models import MAX_INT64, Explained, Integer, Message, ShownAs, Timestamp
from mltm.contract.limits import MAX_OUTPUTS, MAX_PATH_CHARS, Count, Line, MessageText, has_control
from mltm.contract.reports import Report

__all__ = [
    "BATCH_BYTES", "MAX_REPORTS", "POLL_WAIT_S", "Ack", "Answer", "BytesHeaders", "CommandKind", "CommandMessage",
    "Commands", "Enrolled", "Enrolment", "Heartbeat", "OutputFile", "ReportBatch", "ReportOutcome", "ReportsAnswer",
]  # fmt: skip

MAX_REPORTS = 200
BATCH_BYTES = 2 * 1024 * 1024
"""An agent sends no more in one batch, but for a single report that is larger. The gateway takes twice that."""
POLL_WAIT_S = 25.0
CommandKind = Literal["cancel", "hold", "release", "send_bytes", "list_outputs"]


class Answer(Message):
    """Part of every answer to an agent."""

    generation: str


class Enrolment(Message):
    """An agent's first call, with the one-time code that an admin (or the user) made."""

    code: str = Field(max_length=1024)
    host: Line
    unix_user: Line
    spool_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    version: Line = ""
    proof: str = Field(default="", max_length=128, description="of an agent that has the spool's key from before")


class Enrolled(Answer):
    """The credential is shown once; the gateway keeps only its SHA-256."""

    agent_id: str
    credential: str
    cluster: str
    owner: str
    gateway_name: str
    gateway_id: str = Field(default="", description="made with the database; the name is for people")
    spool_key: str = Field(
        default="", max_length=128, repr=False, description="proves what comes from this gateway to this spool"
    )


class ReportBatch(Message):
    """At most MAX_REPORTS events."""

    reports: list[Report] = Field(max_length=MAX_REPORTS)


class ReportOutcome(Explained):
    """What became of one report. `taken` and `known` are done with; `conflict` needs a person: keep it and say so.

    taken: new, stored. known: seen before with the same content. conflict: seen before with other content.
    refused: not this agent's task; it is set aside with the message. unknown_task: no row, and no manifest to make one
    from (the database was restored): it waits until a report that carries the task's manifest was taken.
    """

    epoch: int
    seq: int
    outcome: Literal["taken", "known", "conflict", "refused", "unknown_task"]
    message: str = ""


class ReportsAnswer(Answer):
    """One outcome a report, in the order sent. The HTTP status is 200 whenever the batch was read."""

    outcomes: list[ReportOutcome]


class Heartbeat(Message):
    """The agent's health, every 30 s. Silence changes no task; it is shown."""

    version: Line
    host: Line
    pid: Count
    epoch: Count
    at: Timestamp
    active_tasks: Count
    outbox: Count
    slurm_calls: dict[Line, Count] = Field(
        default_factory=dict, max_length=1000, description="calls since start, by command"
    )
    problems: list[Line] = Field(
        default_factory=list, max_length=1000, description="sentences that a person can act on"
    )


class CommandMessage(Message):
    """A command stays open until its acknowledgement, and is repeated at every poll to every agent of the cluster.

    send_bytes: answer with PUT …/bytes: `length` bytes of `file` from `offset` on. list_outputs: answer with an Ack
    that carries `outputs`.
    """

    command_id: str
    kind: CommandKind
    task_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    by: str = ""
    file: str = Field(default="", description="'log', or 'outputs/<path>' for an output file")
    attempt: int | None = Field(default=None, description="log of which attempt; None: the newest")
    offset: int = 0
    length: int = 0


class Commands(Answer):
    """The answer to the long poll: GET with ?wait=<seconds>; empty after that time."""

    commands: list[CommandMessage]


class OutputFile(Message):
    """One file below the task's outputs folder."""

    path: str
    size: Integer
    modified_at: Timestamp


def _check_listed(file: OutputFile) -> OutputFile:
    """What an agent may list; a client reads whatever its gateway has."""
    if has_control(file.path) or not 0 < len(file.path) <= MAX_PATH_CHARS:
        raise ValueError(f"a path of 1 to {MAX_PATH_CHARS:,} characters without control characters is allowed")
    if not 0 <= file.size <= MAX_INT64:
        raise ValueError("a size from 0 on, of at most 64 bits, is allowed")
    return file


class ListedFile(OutputFile):
    """One file below the task's outputs folder."""  # what _check_listed takes; only its schema is used

    path: str = Field(min_length=1, max_length=MAX_PATH_CHARS, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
    size: Count


_Listed = Annotated[OutputFile, AfterValidator(_check_listed), ShownAs(ListedFile)]


class Ack(Explained):
    """done: carried out (a cancel: recorded in the task's control folder). refused: cannot be, `message` says why.

    A send_bytes can only be refused so: the bytes themselves, PUT …/bytes, carry it out.
    """

    outcome: Literal["done", "refused"]
    message: MessageText = ""
    outputs: list[_Listed] | None = Field(default=None, max_length=MAX_OUTPUTS)


class BytesHeaders(Message):
    """PUT …/bytes carries the raw bytes as its body and these as headers (X-Mltm-Offset, X-Mltm-Size, X-Mltm-Final).

    `offset`: where the bytes begin; larger than asked for if the middle of a long log was dropped.
    `size`: how long the file is by now. `final`: it will not grow any more. `attempt`: whose log it is (X-Mltm-Attempt;
    missing: an older agent, or an output).
    """

    offset: int = Field(ge=0, le=MAX_INT64)
    size: int = Field(ge=0, le=MAX_INT64)
    final: bool
    attempt: int | None = Field(default=None, ge=1, le=MAX_INT64)
