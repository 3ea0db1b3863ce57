"""An agent fills a task with reports, up to its caps: the last batch costs the gateway what the first one did."""

import os
from pathlib import Path
from typing import Any

from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_BATCH, _ATTEMPTS = 100, 1_500
_MAX_GROWTH, _SPARE_S = 4.0, 0.2


def run(trial: Trial) -> None:
    """A try is a batch. Its cost is processor time of the gateway, which other programs here hardly change."""
    with open_house(trial) as house:
        agent, task_id = house.forge_agents("ann")["ann"], house.submit("ann")
        costs: list[float] = []
        for number in range(trial.tries):
            costs.append(_send(house, agent, task_id, number))
            is_dear = costs[-1] > _MAX_GROWTH * costs[0] + _SPARE_S
            trial.tally.count(f"batch {number} took {costs[-1]:.2f} s, the first {costs[0]:.2f} s" if is_dear else "")
            house.ask("ben", "GET", "/v1/tasks").raise_for_status()
        trial.tally.counts |= {"reports": trial.tries * _BATCH, "ms for the dearest batch": round(max(costs) * 1000)}


def _send(house: House, agent: ForgedAgent, task_id: str, number: int) -> float:
    before = _read_cpu_s(house.pid)
    reports = [
        agent.build_report(task_id, "running", attempt=(number * _BATCH + n) % _ATTEMPTS + 1, message="x" * 500)
        for n in range(_BATCH)
    ]
    agent.send(reports).raise_for_status()
    return _read_cpu_s(house.pid) - before


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def take_guard_out() -> None:
    """A gateway that merges a task from all of its reports, with each report that comes."""
    from gateway.store import joined, reports

    store_reports = reports.store_reports

    def load(task_id: str) -> joined.Joined:
        known = joined.Joined(task_id)
        known.compute_again()
        return known

    def store_each(agent: Any, prepared: Any, now: Any) -> list[Any]:
        return [outcome for each in prepared for outcome in store_reports(agent, [each], now)]

    replace(joined, "load_joined", load)
    replace(reports, "store_reports", store_each)


SCENARIO = Scenario(
    threats="1.4",
    tries_to="make each batch of reports dearer than the one before",
    run=run,
    take_guard_out=take_guard_out,
    tries=90,
    control_tries=4,
)
