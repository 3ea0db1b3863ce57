"""What agent and gateway say to each other over HTTPS. The agent always calls; every answer carries a generation.

Authorization: `Bearer <credential>` on all but the enrolment. A generation that changes (restore, migrate) makes
the agent report everything it has again.
"""

from typing import Literal

from pydantic import Field

from mltm.contract.reports import Report
from mltm.contract.shape import MOST, Message, Moment

__all__ = [
    "MAX_REPORTS", "POLL_WAIT_S", "Ack", "Answer", "BytesHeaders", "CommandKind", "CommandMessage", "Commands",
    "Enrolled", "Enrolment", "Heartbeat", "OutputFile", "ReportBatch", "ReportOutcome", "ReportsAnswer",
]  # fmt: skip

MAX_REPORTS = 200
POLL_WAIT_S = 25.0
CommandKind = Literal["cancel", "hold", "release", "send_bytes", "list_outputs"]


class Answer(Message):
    """Part of every answer to an agent."""

    generation: str


class Enrolment(Message):
    """An agent's first call, with the one-time code that an admin (or the user) made."""

    code: str
    host: str
    unix_user: str
    spool_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    version: str = ""


class Enrolled(Answer):
    """The credential is shown once; the gateway keeps only its SHA-256."""

    agent_id: str
    credential: str
    cluster: str
    owner: str
    gateway_name: str
    gateway_id: str = Field(default="", description="made with the database; the name is for people")


class ReportBatch(Message):
    """At most MAX_REPORTS events."""

    reports: list[Report] = Field(max_length=MAX_REPORTS)


class ReportOutcome(Message):
    """What became of one report. `taken` and `known` are done with; `conflict` needs a person: keep it and say so.

    taken: new, stored. known: seen before with the same content. conflict: seen before with other content.
    refused: not this agent's task; it is set aside with the words. unknown_task: no row, and no manifest to make one
    from (the database was put back): it waits until a report of the task that carries its manifest was taken.
    """

    epoch: int
    seq: int
    outcome: Literal["taken", "known", "conflict", "refused", "unknown_task"]
    words: str = ""


class ReportsAnswer(Answer):
    """One outcome a report, in the order sent. The HTTP status is 200 whenever the batch was read."""

    outcomes: list[ReportOutcome]


class Heartbeat(Message):
    """The agent's health, every 30 s. Silence changes no task; it is shown."""

    version: str
    host: str
    pid: int
    epoch: int
    at: Moment
    active_tasks: int
    outbox: int
    slurm_calls: dict[str, int] = Field(default_factory=dict, description="calls since start, by command")
    problems: list[str] = Field(default_factory=list, description="sentences that a person can act on")


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
    size: int
    modified_at: Moment


class Ack(Message):
    """done: carried out (a cancel: recorded in the task's control folder). refused: cannot be, `words` says why.

    A send_bytes can only be refused so: the bytes themselves, PUT …/bytes, carry it out.
    """

    outcome: Literal["done", "refused"]
    words: str = ""
    outputs: list[OutputFile] | None = None


class BytesHeaders(Message):
    """PUT …/bytes carries the raw bytes as its body and these as headers (X-Mltm-Offset, X-Mltm-Size, X-Mltm-Final).

    `offset`: where the bytes begin; larger than asked for where the middle of a long log was dropped.
    `size`: how long the file is by now. `final`: it will not grow any more.
    """

    offset: int = Field(ge=0, le=MOST)
    size: int = Field(ge=0, le=MOST)
    final: bool
