"""Everything in one process: the gateway's services, two agents on one spool, a Slurm in memory, and clocks."""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from agent.daemon.tick import Tick
from agent.errors import AgentError
from agent.settings import AgentSettings, InstanceType
from agent.spool.outbox import Outbox
from agent.spool.records import read_journal
from agent.spool.setup import prepare_spool
from agent.spool.spool_key import write_spool_key
from agent.uplink.alerts import AlertBoard
from agent.uplink.client import GatewayClient
from agent.uplink.command_gate import CommandGate
from agent.uplink.command_poller import CommandPoller
from agent.uplink.reporter import Reporter
from gateway.errors import ConflictError
from gateway.store.commands import HoldKind
from gateway.values import AgentIdentity
from mltm.contract.ids import AgentId, TaskId, parse_job_name
from mltm.runtime import files
from mltm.runtime.clock import Clock
from tests.agent.protocol import build
from tests.machine.gateway_part import GatewayLine, GatewayPart
from tests.machine.memory_slurm import Job, MemorySlurm

__all__ = ["Whole"]

_EFFECTS = ("link_once", "replace", "move", "remove", "make_folder")


class _KilledError(BaseException):
    """Not an Exception: nothing in the product may catch it, as nothing catches SIGKILL."""


@dataclass
class _AgentPart:
    tick: Tick
    reporter: Reporter
    poller: CommandPoller


class Whole:
    """What the machine moves. Times only pass when it says so."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        self._folder, self._runner = folder, runner
        self.now_s, self.offset = 1000.0, [0.0]
        (folder / "datasets").mkdir()
        (folder / "datasets" / "wine_classification.csv").write_text("a\n1\n")
        self._clock = Clock(boot_s=lambda: self.now_s, now=self._now)
        self._settings = AgentSettings(
            spool=folder / "spool", cluster="atena02", credential_file=folder / "credential", runtime="none",
            images={"sklearn_sample_latest": Path(sys.executable)}, datasets_dir=folder / "datasets", drops=False,
            instance_types={name: InstanceType(partition=name) for name in ("cpu", "nowhere")},
        )  # fmt: skip
        identity = prepare_spool(self._settings, self._clock)
        self.spool = identity.spool
        self.slurm = MemorySlurm(self.spool)
        self._identity = AgentIdentity(
            AgentId("b" * 32), "atena02", None, self.spool.inbox.root, identity.spool_id, unix_user="u"
        )
        self._line = GatewayLine(self._identity)
        self._keys = itertools.count(1)
        self.cancelled: set[TaskId] = set()  #: what the gateway was asked to cancel, and had not ended
        self.gateway = self._open_gateway()
        write_spool_key(self.spool, self.gateway.read_key().hex(), self._clock)
        self._agents = [self._open_agent(), self._open_agent()]

    def _now(self) -> datetime:
        return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=self.now_s + self.offset[0])

    def _open_gateway(self) -> GatewayPart:
        self._line.gateway = GatewayPart(self._folder, self._identity, self._runner, self.offset)
        return self._line.gateway

    def _open_agent(self) -> _AgentPart:
        identity = prepare_spool(self._settings, self._clock)
        outbox = Outbox(self.spool.outbox, identity.spool_id, identity.epoch, self._clock)
        client = cast("GatewayClient", self._line)
        return _AgentPart(
            Tick(self._settings, self.spool, self.slurm, outbox, self._clock, identity),
            Reporter(outbox, client, AlertBoard(), self._clock, news=asyncio.Event(), tell_again=_tell_nothing),
            CommandPoller(self.spool, client, self._clock, lambda: None, CommandGate(self._clock)),
        )

    def close(self) -> None:
        """Close the database."""
        self.gateway.close()

    # Users and processes -------------------------------------------------------------------------------------------

    def submit(self, partition: str, rerun_on: Sequence[str] = (), rerun_limit: int = 1) -> TaskId:
        """Hand in a task for a partition."""
        infra = {"instance_type": partition, "image_name": "sklearn_sample_latest"}
        clusters = {"atena02": {"infra_config": infra}}
        config = build.config(clusters=clusters, rerun_on=list(rerun_on), rerun_limit=rerun_limit)
        return self.gateway.submit(config, f"key-{next(self._keys)}")

    def cancel(self, task_id: str) -> bool:
        """Ask for a cancel; False where the task has ended."""
        try:
            self.gateway.cancel(TaskId(task_id))
        except ConflictError:
            return False
        self.cancelled.add(TaskId(task_id))
        return True

    def ask_hold(self, task_id: str, kind: HoldKind) -> None:
        """Ask for a hold or a release; nothing where the task has ended."""
        with contextlib.suppress(ConflictError):
            self.gateway.ask_hold(TaskId(task_id), kind)

    @contextlib.contextmanager
    def _watching_cancels(self) -> Iterator[None]:
        """A task whose cancel is on record gets no further attempt, not even one that is fenced at once."""
        recorded = [task_id for task_id in self.cancelled if self.spool.task(task_id).cancel.exists()]
        before = {task_id: len(read_journal(self.spool, task_id).attempts) for task_id in recorded}
        yield
        for task_id, count in before.items():
            if len(read_journal(self.spool, task_id).attempts) > count:
                self.slurm.harm.append(f"{task_id}: attempt {count + 1} was opened although a cancel is on record")

    def tick(self, *, second: bool, after_s: float) -> None:
        """One round of an agent, some time later."""
        self.pass_time(after_s)
        with self._watching_cancels():
            self._agents[second].tick.run()

    def tick_and_die(self, *, second: bool, step: int, before: bool) -> None:
        """One round that is cut off before or after its n-th write; then another process on the same disk."""
        left = itertools.count(1)

        def deadly(effect: Callable[..., Any]) -> Callable[..., Any]:
            def call(*values: Any, **named: Any) -> Any:
                is_last = next(left) == step
                if is_last and before:
                    raise _KilledError
                done = effect(*values, **named)
                if is_last:
                    raise _KilledError
                return done

            return call

        with self._watching_cancels(), contextlib.ExitStack() as stack:
            for name in _EFFECTS:
                stack.enter_context(patch.object(files, name, deadly(getattr(files, name))))
            with contextlib.suppress(_KilledError):
                self._agents[second].tick.run()
        self.restart_agent(second=second)

    def restart_agent(self, *, second: bool) -> None:
        """The process dies, and another one starts on what lies on the disk."""
        self._agents[second] = self._open_agent()

    def restart_gateway(self) -> None:
        """The same for the gateway."""
        self.gateway.close()
        self.gateway = self._open_gateway()
        write_spool_key(self.spool, self.gateway.read_key().hex(), self._clock)

    def talk(self, *, second: bool) -> None:
        """An agent brings its reports and takes its commands, as far as the line lets it."""
        for step in (self._agents[second].reporter.send_batch(), self._agents[second].poller.poll_once(0)):
            self._runner.run(_try(step))

    # The cluster ---------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let time pass; whatever runs shows that it lives, a moment ago."""
        self.now_s += seconds
        self.slurm.touch_beats(int(self.now_s * 1e9))

    def run_cluster(self, looks: int) -> None:
        """Start what is pending (where `looks` is not 0), and let each copy go on so often."""
        for job in [job for job in self.slurm.jobs if job.state == "PENDING" and looks]:
            self.slurm.start(job)
        for _ in range(looks):
            for job, copy in list(self.slurm.copies("looking", "claiming")):
                self.slurm.step(job, copy)

    def task_of(self, job: Job) -> TaskId:
        """Whose job it is."""
        parsed = parse_job_name(job.name)
        assert parsed is not None
        return parsed[0]

    def count_struck(self, task_id: TaskId) -> int:
        """How often a node died or was cut off under a task's code."""
        return sum(copy.is_struck for copy in self.slurm.started.get(task_id, []))

    def read_ends(self, task_id: TaskId) -> set[str]:
        """How a task may end, by what became of the code that started last."""
        code, started = self.slurm.exits.get(task_id), self.slurm.started.get(task_id, [])
        by_code = set() if code is None else {"succeeded" if code == 0 else "cancelled" if code == 143 else "failed"}
        return by_code | ({"lost", "node_fail"} if started and started[-1].is_struck else set())

    def set_fault(self, what: str, mode: str) -> None:
        """Set or take back a fault of Slurm's commands, or of the line to the gateway."""
        if what == "line":
            self._line.fault = mode
        else:
            setattr(self.slurm, what, mode)

    def stop_faults(self) -> None:
        """From here on nothing goes wrong."""
        self.offset[0] = 0.0
        for what in ("sbatch", "squeue", "scancel", "sacct", "line"):
            self.set_fault(what, "")

    def go_on(self) -> None:
        """One round of everybody, as on a good day."""
        self.gateway.publish()
        for second in (False, True):
            self.tick(second=second, after_s=20)
            self.talk(second=second)
        self.run_cluster(1)
        for job, copy in list(self.slurm.copies("running")):
            # A job finds its recorded cancel by itself; one that its user cancelled ends by nothing else.
            copy.stopped = copy.stopped or self.spool.task(self.task_of(job)).cancel.exists()
            if copy.stopped or self.task_of(job) not in self.cancelled:
                self.slurm.end_code(job, copy, 0)
        self.slurm.forget_ended()


async def _tell_nothing(_: Sequence[str]) -> None:
    return


async def _try(step: Any) -> None:
    try:
        await step
    except AgentError:
        return
