"""Gateway, agents and Slurm in one process, driven by Hypothesis: any order of their steps, any fault, any kill.

After each step: no code started twice but for reruns that its user allows, each after its node died or was cut off;
nothing given to Slurm of a task that is cancelled or held; no task shown as ended without evidence, no state that goes
where the table does not let it. When the faults stop, every accepted task ends, as it must.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.spool.records import read_journal
from chaos.ledger import Expectation, Shown, judge
from gateway.store.commands import HoldKind
from mltm.contract.ids import TaskId
from mltm.contract.states import State, is_allowed, is_final
from mltm.contract.user_api import TaskAnswer
from tests.machine.memory_slurm import Copy, Job
from tests.machine.whole import Whole

NOWHERE = "nowhere"
FAULTS = {
    "sbatch": ["mute", "late", "deaf", "forget", "busy"],
    "squeue": ["fail", "empty"],
    "scancel": ["fail", "ignored"],
    "sacct": ["fail", "empty"],
    "line": ["away", "lost"],
}
RERUN_ON = st.sampled_from([[], ["node_fail"], ["node_fail", "lost"], ["node_fail", "lost"]])
LIMIT = st.sampled_from([1, 1, 2])
_ROUNDS = 400


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.runner = asyncio.Runner()
        self.whole = Whole(self.folder, self.runner)
        self.expected: dict[str, set[str]] = {}
        self.shown: dict[str, State] = {}
        self.most_reruns: dict[str, int] = {}

    def teardown(self) -> None:
        try:
            self._come_to_an_end()
        finally:
            self.whole.close()
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # Users ---------------------------------------------------------------------------------------------------------

    @initialize(
        sbatch=st.sampled_from(["", *FAULTS["sbatch"]]),
        accounting=st.booleans(),
        rerun_on=RERUN_ON,
        limit=LIMIT,
        losses=st.sampled_from([0, 0, 1, 2]),
    )
    def submit_one(self, sbatch: str, accounting: bool, rerun_on: list[str], limit: int, losses: int) -> None:
        """Far enough that there is something to break: handed in, published, taken, sbatch called, or already lost."""
        self.whole.slurm.accounting = accounting
        self.submit("cpu", rerun_on, limit)
        self.whole.set_fault("sbatch", sbatch)
        self.work_for_long(second=False, after_s=1.0, times=2, looks=0)
        if losses:
            self.whole.stop_faults()
            self.nodes_are_lost(losses, cut_off=bool(sbatch), cancels=False)

    @precondition(lambda self: len(self.expected) < 4)
    @rule(partition=st.sampled_from(["cpu", "cpu", "cpu", NOWHERE]), rerun_on=RERUN_ON, limit=LIMIT)
    def submit(self, partition: str, rerun_on: list[str], limit: int) -> None:
        task_id = self.whole.submit(partition, rerun_on, limit)
        self.most_reruns[task_id] = limit if rerun_on else 0
        self.expected[task_id] = {"rejected"} if partition == NOWHERE else set()

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), chance=st.integers(0, 3))
    def cancel(self, data: st.DataObject, chance: int) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.expected)))
        if chance == 0 and self.whole.cancel(task_id):
            self.expected[task_id].add("cancelled")

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), kind=st.sampled_from(get_args(HoldKind)))
    def hold_or_release(self, data: st.DataObject, kind: HoldKind) -> None:
        self.whole.ask_hold(data.draw(st.sampled_from(sorted(self.expected))), kind)

    # Steps of ours -------------------------------------------------------------------------------------------------

    @rule(second=st.booleans(), step=st.integers(1, 25), before=st.booleans())
    def tick_and_die(self, second: bool, step: int, before: bool) -> None:
        self.whole.tick_and_die(second=second, step=step, before=before)

    @rule(second=st.booleans())
    def restart_agent(self, second: bool) -> None:
        self.whole.restart_agent(second=second)

    @rule()
    def restart_gateway(self) -> None:
        self.whole.restart_gateway()

    @rule(second=st.booleans())
    def talk(self, second: bool) -> None:
        self.whole.talk(second=second)

    # The cluster ---------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([2.0, 30.0, 61.0, 130.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.whole.pass_time(seconds)

    @rule(hours=st.integers(-48, 48))
    def clock_steps(self, hours: int) -> None:
        self.whole.offset[0] = hours * 3600.0

    @precondition(lambda self: self.whole.slurm.jobs)
    @rule(data=st.data())
    def start_job(self, data: st.DataObject) -> None:
        pending = [job for job in self.whole.slurm.jobs if job.state == "PENDING"]
        if pending:
            self.whole.slurm.start(data.draw(st.sampled_from(pending)))

    @precondition(lambda self: self.whole.slurm.jobs)
    @rule(data=st.data())
    def start_job_twice(self, data: st.DataObject) -> None:
        """As slurmctld does after a crash, under the same id; also when the first copy is over."""
        started = [job for job in self.whole.slurm.jobs if job.copies and job.state != "CANCELLED"]
        if started:
            self.whole.slurm.start(data.draw(st.sampled_from(started)))

    @precondition(lambda self: any(self.whole.slurm.copies("looking", "claiming")))
    @rule(data=st.data())
    def copy_goes_on(self, data: st.DataObject) -> None:
        self.whole.slurm.step(*self._choose(data, "looking", "claiming"))

    @precondition(lambda self: any(self.whole.slurm.copies("running")))
    @rule(data=st.data(), code=st.sampled_from([0, 0, 3]))
    def code_ends(self, data: st.DataObject, code: int) -> None:
        self.whole.slurm.end_code(*self._choose(data, "running"), code)

    @precondition(lambda self: any(self.whole.slurm.copies("running", "looking", "claiming")))
    @rule(data=st.data(), said=st.sampled_from(["NODE_FAIL", "NODE_FAIL", "FAILED"]))
    def node_dies(self, data: st.DataObject, said: str) -> None:
        self.whole.slurm.kill(*self._choose(data, "running", "looking", "claiming"), said)

    @precondition(lambda self: any(self.whole.slurm.copies("running")))
    @rule(data=st.data())
    def node_is_cut_off(self, data: st.DataObject) -> None:
        """Slurm calls it dead; its code goes on, and may end when nobody thinks of it any more."""
        self.whole.slurm.cut_off(*self._choose(data, "running"))

    @precondition(lambda self: self.whole.slurm.jobs)
    @rule(times=st.integers(1, 3), cut_off=st.booleans(), cancels=st.sampled_from([False, False, True]))
    def nodes_are_lost(self, times: int, cut_off: bool, cancels: bool) -> None:
        """Whatever runs is struck; then so long that its tasks end or their code starts again, and is struck again."""
        for _ in range(times):
            self.whole.run_cluster(2)
            for job, copy in list(self.whole.slurm.copies("running")):
                (self.whole.slurm.cut_off if cut_off else self.whole.slurm.kill)(job, copy)
                if cancels and self.whole.cancel(task_id := self.whole.task_of(job)):
                    self.expected[task_id].add("cancelled")
            self.work_for_long(second=False, after_s=121.0, times=5, looks=2)

    @precondition(lambda self: self.whole.slurm.jobs)
    @rule(data=st.data())
    def slurm_forgets(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.whole.slurm.jobs))
        job.visible = False
        if job.state == "PENDING":
            job.state = "FORGOTTEN"  # what slurmctld has forgotten, it does not start

    @precondition(lambda self: self.whole.slurm.unheard)
    @rule()
    def slurm_hears_late(self) -> None:
        self.whole.slurm.accept(self.whole.slurm.unheard.pop(0))

    @rule(data=st.data(), what=st.sampled_from(sorted(FAULTS)))
    def fault(self, data: st.DataObject, what: str) -> None:
        self.whole.set_fault(what, data.draw(st.sampled_from(FAULTS[what])))

    @rule()
    def all_is_well_for_now(self) -> None:
        self.whole.stop_faults()

    # What happens most of the time, so that tasks get far in few steps -----------------------------------------------

    @rule(second=st.booleans(), after_s=st.sampled_from([0.0, 1.0, 31.0]), looks=st.integers(0, 2))
    def work(self, second: bool, after_s: float, looks: int) -> None:
        self.whole.gateway.publish()
        self.whole.tick(second=second, after_s=after_s)
        self.whole.talk(second=second)
        self.whole.run_cluster(looks)

    @rule(
        second=st.booleans(),
        after_s=st.sampled_from([31.0, 61.0, 121.0]),
        times=st.integers(1, 5),
        looks=st.integers(0, 2),
    )
    def work_for_long(self, second: bool, after_s: float, times: int, looks: int) -> None:
        for _ in range(times):
            self.work(second=second, after_s=after_s, looks=looks)

    @rule(looks=st.integers(1, 2))
    def cluster_works(self, looks: int) -> None:
        self.whole.run_cluster(looks)

    # What must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def no_code_starts_twice(self) -> None:
        ledger = self.whole.slurm.ledger
        assert all(count <= self._most_starts(task_id) for task_id, count in ledger.items()), ledger

    @invariant()
    def nobody_is_harmed(self) -> None:
        assert self.whole.slurm.harm == []

    def _most_starts(self, task_id: str) -> int:
        """One, and another for each node that was lost under it, as far as its user allows."""
        return 1 + min(self.whole.count_struck(TaskId(task_id)), self.most_reruns[task_id])

    @invariant()
    def nothing_is_shown_without_evidence(self) -> None:
        rows = self.whole.gateway.read_all()
        assert set(rows) == set(self.expected)
        for task_id, row in rows.items():
            before = self.shown.get(task_id, State.ACCEPTED)
            assert is_allowed(before, row.state), (task_id, before, row.state)
            self.shown[task_id] = row.state
            if row.final and not is_final(before):
                self._require_closed(TaskId(task_id))
        assert self._judge({task_id: row for task_id, row in rows.items() if row.final}) == []

    def _require_closed(self, task_id: TaskId) -> None:
        closed = read_journal(self.whole.spool, task_id).closed
        assert closed is not None or self.whole.spool.tombstone(task_id).exists()

    def _judge(self, rows: Mapping[str, TaskAnswer]) -> list[str]:
        """The judge of chaos: by what the tasks did."""
        shown = {task_id: Shown(str(row.state), row.reason) for task_id, row in rows.items()}
        expected = {task_id: Expectation(self._allowed(task_id), self._most_starts(task_id)) for task_id in rows}
        starts = {str(task_id): count for task_id, count in self.whole.slurm.ledger.items() if task_id in rows}
        found = judge(expected, shown, starts)
        return [*found.lost, *found.twice, *found.wrong]

    def _allowed(self, task_id: str) -> frozenset[str]:
        return frozenset(self.expected[task_id] | self.whole.read_ends(TaskId(task_id)))

    # ---------------------------------------------------------------------------------------------------------------

    def _choose(self, data: st.DataObject, *steps: str) -> tuple[Job, Copy]:
        return data.draw(st.sampled_from(list(self.whole.slurm.copies(*steps))))

    def _come_to_an_end(self) -> None:
        self.whole.stop_faults()
        for task_id in self.expected:
            self.whole.ask_hold(task_id, "release")
        for _ in range(_ROUNDS):
            self.nothing_is_shown_without_evidence()
            self.no_code_starts_twice()
            self.nobody_is_harmed()
            if all(is_final(state) for state in self.shown.values()):
                return
            self.whole.go_on()
        assert {task_id: state for task_id, state in self.shown.items() if not is_final(state)} == {}


@pytest.mark.long
@pytest.mark.timeout(0)
def test_nothing_is_lost_and_nothing_starts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # this is not about power cuts
    run_state_machine_as_test(
        Machine,
        settings=settings(
            deadline=None,
            max_examples=settings().max_examples * 2 // 5,
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )
