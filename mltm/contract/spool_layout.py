"""The one module that knows where things lie in a spool (protocol: "The spool"). Paths only, no I/O."""

from dataclasses import dataclass
from pathlib import Path

from mltm.contract.ids import TaskId

__all__ = [
    "CONFIG_FILE", "ENTRYPOINT", "GONE_SUFFIX", "MANIFEST", "PIECE_BYTES", "PROOF", "RECEIPT_SUFFIX", "Attempt",
    "Inbox", "Spool", "TaskFolder", "is_ignored",
]  # fmt: skip

MANIFEST = "manifest.json"  #: in a bundle and in control/
PROOF = "proof"  #: in a bundle: that the manifest is the gateway's, for this spool
CONFIG_FILE = "config.json"  #: the task's config beside the manifest
ENTRYPOINT = "entrypoint.py"  #: the name of the user's script here, whatever the user called it
GONE_SUFFIX = ".gone"
RECEIPT_SUFFIX = ".receipt.json"
PIECE_BYTES = 1024 * 1024  #: piece n of a log begins at byte n * PIECE_BYTES; wrapper.sh has the same number


def is_ignored(name: str) -> bool:
    """True for names that no scan looks at: dot files, and NFS's `.nfs*` with them."""
    return name.startswith(".")


@dataclass(frozen=True)
class Attempt:
    """The records of one attempt, in `tasks/<task>/control` and, for the note, in `agent/`."""

    control: Path
    notes: Path
    task_id: TaskId
    number: int

    def _named(self, kind: str) -> Path:
        return self.control / f"{kind}.{self.number:02d}"

    @property
    def intent(self) -> Path:
        """Who may ask for this attempt: submit, or closed."""
        return self._named("intent")

    @property
    def claim(self) -> Path:
        """Who owns it: a job, or an agent's fence."""
        return self._named("claim")

    @property
    def note(self) -> Path:
        """Where an agent says that it has read `claim` = job."""
        return self.notes / f"{self.task_id}.{self.number:02d}"

    @property
    def submitted(self) -> Path:
        """What Slurm answered (advice)."""
        return self._named("submitted")

    @property
    def beat(self) -> Path:
        """Touched by the running copy (advice)."""
        return self._named("beat")

    @property
    def slurm_output(self) -> Path:
        """What the wrapper and Slurm's own step daemon print; nothing of the user's code."""
        return self.control / f"slurm.{self.number:02d}.out"

    @property
    def exit(self) -> Path:
        """Written by the owner, last."""
        return self._named("exit")

    @property
    def argv(self) -> Path:
        """The command that the wrapper runs: arguments, each ended by NUL."""
        return self._named("argv")

    @property
    def env(self) -> Path:
        """The variables that the wrapper exports: NAME=VALUE, each ended by NUL. Mode 0600."""
        return self._named("env")

    @property
    def checks(self) -> Path:
        """Paths that must be readable before the claim, each ended by NUL."""
        return self._named("checks")

    def refused(self, nonce: str) -> Path:
        """Why the copy of that nonce did not start."""
        return self._named("refused").with_name(f"refused.{self.number:02d}.{nonce}")

    def dup(self, nonce: str) -> Path:
        """The copy of that nonce stepped aside."""
        return self._named("dup").with_name(f"dup.{self.number:02d}.{nonce}")


@dataclass(frozen=True)
class TaskFolder:
    """`tasks/<task>`: the journal in control/, which user code never sees, and the user's folders beside it."""

    path: Path
    notes: Path
    task_id: TaskId

    @property
    def control(self) -> Path:
        """The journal; no user code sees it."""
        return self.path / "control"

    @property
    def manifest(self) -> Path:
        """What the task consists of."""
        return self.control / MANIFEST

    @property
    def cancel(self) -> Path:
        """The recorded cancel."""
        return self.control / "cancel"

    def hold_order(self, kind: str, command_id: str) -> Path:
        """A recorded hold or release; of several, the greatest command id says."""
        return self.control / f"{kind}.{command_id}"

    @property
    def amended(self) -> Path:
        """The correction of an end, once."""
        return self.control / "amended"

    @property
    def input(self) -> Path:
        """The entrypoint and the files beside it; read-only for the task."""
        return self.path / "input"

    @property
    def work(self) -> Path:
        """The working folder."""
        return self.path / "work"

    @property
    def outputs(self) -> Path:
        """What the task hands back."""
        return self.path / "outputs"

    @property
    def checkpoint(self) -> Path:
        """What it keeps for a next attempt."""
        return self.path / "checkpoint"

    @property
    def logs(self) -> Path:
        """One folder of log pieces an attempt."""
        return self.path / "logs"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that a task has from the start."""
        return (self.control, self.input, self.work, self.outputs, self.checkpoint, self.logs)

    def attempt(self, number: int) -> Attempt:
        """The records of one attempt."""
        return Attempt(self.control, self.notes, self.task_id, number)

    def attempt_logs(self, number: int) -> Path:
        """`logs/a01`: the numbered pieces of one attempt's log."""
        return self.logs / f"a{number:02d}"

    def attempt_tmp(self, number: int) -> Path:
        """`tmp.01`: the container runtime keeps one attempt's /tmp and /var/tmp in it. User code cannot replace it."""
        return self.path / f"tmp.{number:02d}"


@dataclass(frozen=True)
class Inbox:
    """The folder that the gateway writes for one agent, and the agent only reads. It may lie outside the spool."""

    root: Path

    @property
    def building(self) -> Path:
        """Where the gateway builds bundles."""
        return self.root / "tmp"

    @property
    def new(self) -> Path:
        """Complete bundles, renamed in by the gateway."""
        return self.root / "new"

    @property
    def address(self) -> Path:
        """Where the gateway can be reached, with a proof."""
        return self.root / "address"

    def bundle(self, task_id: TaskId) -> Path:
        """A task as the gateway publishes it."""
        return self.new / task_id


@dataclass(frozen=True)
class Spool:
    """A spool's folders: one account's, the agent's."""

    root: Path

    @property
    def inbox(self) -> Inbox:
        """`in/`: the inbox of an agent that has the same account as the gateway, if the site sets no other."""
        return Inbox(self.root / "in")

    @property
    def drop(self) -> Path:
        """Where users put files."""
        return self.root / "drop"

    @property
    def taking(self) -> Path:
        """Drops that an agent is taking."""
        return self.root / "taking"

    @property
    def tasks(self) -> Path:
        """A folder a task."""
        return self.root / "tasks"

    @property
    def agent(self) -> Path:
        """What only agents write."""
        return self.root / "agent"

    @property
    def notes(self) -> Path:
        """The notes of claims that were read."""
        return self.agent / "notes"

    @property
    def leftovers(self) -> Path:
        """An empty file for each fenced attempt of which Slurm may still have a job, named like the job."""
        return self.agent / "leftovers"

    @property
    def observations(self) -> Path:
        """What agents saw over time (advice)."""
        return self.agent / "observations"

    @property
    def epochs(self) -> Path:
        """A file an epoch, taken by link(2)."""
        return self.agent / "epochs"

    @property
    def spool_id(self) -> Path:
        """128 random bits, made with the spool."""
        return self.agent / "spool_id"

    @property
    def gateway_name(self) -> Path:
        """What people call the gateway that this spool belongs to."""
        return self.agent / "gateway"

    @property
    def gateway_id(self) -> Path:
        """Which gateway this spool belongs to; an agent enrolled elsewhere refuses to start on it."""
        return self.agent / "gateway_id"

    @property
    def generation(self) -> Path:
        """The gateway's generation that everything was last reported to."""
        return self.agent / "generation"

    @property
    def spool_key(self) -> Path:
        """The key that this spool shares with its gateway."""
        return self.agent / "spool_key"

    @property
    def gateway_uid(self) -> Path:
        """Whose bundles an agent without a key accepts."""
        return self.agent / "gateway_uid"

    @property
    def active(self) -> Path:
        """A marker for each task that has not ended."""
        return self.root / "active"

    @property
    def bell(self) -> Path:
        """Files that wake the agent."""
        return self.root / "bell"

    @property
    def outbox(self) -> Path:
        """Reports that the gateway has not confirmed."""
        return self.root / "outbox"

    @property
    def done(self) -> Path:
        """Tombstones."""
        return self.root / "done"

    @property
    def bad(self) -> Path:
        """What was set aside, with its reason."""
        return self.root / "bad"

    @property
    def staging(self) -> Path:
        """`tasks/.staging`: private copies under way; on the same file system, ignored by scans."""
        return self.tasks / ".staging"

    @property
    def agent_folders(self) -> tuple[Path, ...]:
        """The folders that the agent makes at its start."""
        return (
            self.drop, self.taking, self.tasks, self.staging, self.agent, self.notes, self.leftovers, self.observations,
            self.epochs, self.active, self.bell, self.outbox, self.done, self.bad,
        )  # fmt: skip

    def task(self, task_id: TaskId) -> TaskFolder:
        """The folder of a task."""
        return TaskFolder(self.tasks / task_id, self.notes, task_id)

    def tombstone(self, task_id: TaskId) -> Path:
        """The last report of a task that ended."""
        return self.done / task_id
