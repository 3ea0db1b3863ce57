"""Captured reports come again, in random order, and changed ones under numbers that were used."""

from typing import Any

from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_COURSE = (
    ("submitting", "none", False), ("pending", "slurm", False), ("running", "claim", False),
    ("finishing", "exit", False), ("succeeded", "closed", True),
)  # fmt: skip
_BATCH = 100


def run(trial: Trial) -> None:
    """Report a task's whole course, then again and again; half of it is changed."""
    with open_house(trial) as house:
        agent, task_id = house.forge_agents("ann")["ann"], house.submit("ann")
        captured = [
            agent.build_report(task_id, state, evidence=evidence, closed=closed, job_id="4711")
            for state, evidence, closed in _COURSE
        ]
        agent.send(captured)
        before = _read(house, task_id)
        for _ in range(0, trial.tries, _BATCH):
            _replay(trial, house, agent, captured, before)


def _replay(
    trial: Trial, house: House, agent: ForgedAgent, captured: list[dict[str, object]], before: dict[str, object]
) -> None:
    batch = [dict(trial.rng.choice(captured)) for _ in range(_BATCH)]
    for report in batch[::2]:
        report["state"], report["message"] = trial.rng.choice(["failed", "running", "cancelled"]), "forged"
    outcomes = [each["outcome"] for each in agent.send(batch).json()["outcomes"]]
    after = _read(house, str(captured[0]["task_id"]))
    changed = f"the task became {after['state']}" if after != before else ""
    for number, outcome in enumerate(outcomes):
        wanted = "conflict" if number % 2 == 0 else "known"
        told = "" if outcome == wanted else f"a replayed report was {outcome}"
        trial.tally.count(told or (changed if number == len(outcomes) - 1 else ""))


def _read(house: House, task_id: str) -> dict[str, object]:
    task: dict[str, object] = house.ask("ann", "GET", f"/v1/tasks/{task_id}").json()
    task.pop("agent_silent_s", None)
    return task


def take_guard_out() -> None:
    """A gateway that believes the report that came last."""
    from gateway.store import reports
    from gateway.store.models import Task

    def believe(agent: object, prepared: Any, joined: object, now: object) -> Any:
        del agent, joined, now
        report = prepared.report
        Task.update(state=report.state.value).where(Task.task_id == report.task_id).execute()
        return reports._build_outcome(report, "taken")

    replace(reports, "_store_one", believe)


SCENARIO = Scenario(
    threats="T10",
    tries_to="send captured reports again in random order, and changed ones under used numbers",
    run=run,
    take_guard_out=take_guard_out,
    tries=10_000,
    control_tries=100,
)
