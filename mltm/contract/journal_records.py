"""The records of a task's journal (protocol: "The journal"): their shapes and the one spelling they are written in.

`intent`, `claim`, `note` decide; the others are advice. The wrapper reads and writes some of them in bash, so
every record starts with its kind: `{"kind":"submit",...`.
"""

import json
from typing import Annotated, Literal

from pydantic import Field

from mltm.contract.base_models import Explained, Message, Timestamp
from mltm.contract.states import State

__all__ = [
    "Amended",
    "Author",
    "Claim",
    "Closed",
    "Command",
    "Dup",
    "Exit",
    "Fence",
    "FenceReason",
    "Intent",
    "JobClaim",
    "Note",
    "Record",
    "Refused",
    "StopSignal",
    "Submit",
    "Submitted",
    "Verdict",
    "render_record",
]

Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
FenceReason = Literal[
    "cancel", "admin_cancel", "deadline", "unknown", "ambiguous", "refused_by_slurm", "refused_by_policy",
    "refused_start", "launch_failed", "node_fail", "no_claim",
]  # fmt: skip


class Author(Message):
    """Which agent process wrote a record."""

    epoch: int
    host: str
    pid: int


class Verdict(Message):
    """How a task ended, and what that rests on. `reason` is a sentence for people."""

    state: State
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    slurm_state: str | None = None
    job_id: str | None = None
    node: str | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    elapsed_s: float | None = None
    evidence: str = "closed"


class Submit(Message):
    """`intent` k = submit: an agent will call sbatch for attempt k. `after` says what became of attempt k-1."""

    kind: Literal["submit"] = "submit"
    nonce: Nonce
    attempt: int
    author: Author
    at: Timestamp
    after: str = ""
    after_state: State | None = None  #: how attempt k-1 ended, if it ran and this is its rerun
    after_exit: bool = False  #: that end is the word of its exit record
    batch: str | None = None


class Closed(Message):
    """`intent` k = closed: attempt k and later will never be. The task's final state is this record."""

    kind: Literal["closed"] = "closed"
    nonce: Nonce
    attempt: int
    author: Author
    at: Timestamp
    verdict: Verdict


class JobClaim(Message):
    """`claim` k = job: a starting copy owns attempt k. Written by the wrapper."""

    kind: Literal["job"] = "job"
    nonce: Nonce
    job_id: str
    array_index: int | None = None
    node: str
    boot_id: str
    pid: int
    at: Timestamp


class Fence(Explained):
    """`claim` k = fence: an agent owns attempt k; its code will never start."""

    kind: Literal["fence"] = "fence"
    nonce: Nonce
    reason: FenceReason
    message: str = ""
    author: Author
    at: Timestamp


class Note(Message):
    """`note` k: an agent has read `claim` = job. User code cannot reach it. It holds the claim that was read."""

    kind: Literal["note"] = "note"
    claim: JobClaim
    at: Timestamp


class Submitted(Explained):
    """Advice: Slurm's answer to one sbatch. `outcome` is its class (agent/slurm/errors.py).

    attention: sbatch is called again, but a person should look.
    """

    kind: Literal["submitted"] = "submitted"
    job_id: str | None = None
    outcome: str
    message: str = ""
    attention: bool = False
    at: Timestamp


class StopSignal(Message):
    """A signal that reached the wrapper, and when (seconds of /proc/uptime)."""

    name: str
    uptime_s: float


class Exit(Message):
    """`exit`: written last, by the claim's owner. Success is `code` 0 and no stop signal, nothing else."""

    kind: Literal["exit"] = "exit"
    nonce: Nonce
    job_id: str
    node: str
    boot_id: str
    code: int
    started_at: Timestamp
    ended_at: Timestamp
    elapsed_s: float
    stop_signals: list[StopSignal] = Field(default_factory=list)  #: those that came until shortly after the code ended
    ended_uptime_s: float | None = None  #: when the wrapper saw the code's end (seconds of /proc/uptime)
    stopped_for_beat: bool = False
    oom_kills: int | None = None  #: None if no cgroup tells
    image_started: bool | None = None  #: None for the runtime `none`

    @property
    def stopped_in_time(self) -> bool:
        """True if a stop signal came before the code was seen to end."""
        last_s = self.ended_uptime_s
        return any(last_s is None or signal.uptime_s <= last_s for signal in self.stop_signals)


class Refused(Explained):
    """Advice: why a copy did not start its code."""

    kind: Literal["refused"] = "refused"
    nonce: Nonce
    job_id: str
    node: str
    check: str
    message: str


class Dup(Message):
    """Advice: a copy stepped aside."""

    kind: Literal["dup"] = "dup"
    nonce: Nonce
    job_id: str
    node: str


class Command(Message):
    """`cancel`, `hold`, `release`: a command of the gateway, recorded before it is acknowledged."""

    kind: Literal["cancel", "hold", "release"]
    command_id: str
    by: str = ""
    at: Timestamp


class Amended(Message):
    """Advice, once: an exit record that became visible after a close as lost or node_fail."""

    kind: Literal["amended"] = "amended"
    verdict: Verdict
    at: Timestamp


Intent = Annotated[Submit | Closed, Field(discriminator="kind")]
Claim = Annotated[JobClaim | Fence, Field(discriminator="kind")]
Record = Submit | Closed | JobClaim | Fence | Note | Submitted | Exit | Refused | Dup | Command | Amended


def render_record(record: Record) -> bytes:
    """Render a record: one line of JSON that starts with its kind, because the wrapper looks there."""
    fields = record.model_dump(mode="json", exclude_none=True)
    ordered = {"kind": fields.pop("kind"), **fields}
    return json.dumps(ordered, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"
