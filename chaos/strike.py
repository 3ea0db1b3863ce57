"""Carries out one plan: arms it, waits until it has struck, and puts what died back on its feet."""

import time

from chaos.plan import Plan, plan_path, read_victim, set_plan
from chaos.points import WRAPPER_AFTER_CLAIM
from chaos.trial import Trial

__all__ = ["strike"]

_REACHED_WITHIN_S = 20.0
_AT_START = frozenset({"agent.start", "agent.epoch"})
_LOOK_S = 0.01


def strike(plan: Plan, trial: Trial) -> bool:
    """Let one plan befall the house; False where its point was not passed in time (it is then taken back)."""
    house, role = trial.house, plan.point.role
    set_plan(house.plans, plan)
    if plan.point.name in _AT_START:
        house.kill("agent")
        house.start("agent")
    until_s = time.monotonic() + _REACHED_WITHIN_S
    while (victim := read_victim(house.plans, role)) is None:
        if time.monotonic() > until_s:
            plan_path(house.plans, role).unlink(missing_ok=True)
            trial.result.missed.append(str(plan))
            return False
        time.sleep(_LOOK_S)
    trial.result.faults += 1
    if victim and plan.point.name in WRAPPER_AFTER_CLAIM:
        trial.stream.allow(victim, "lost", "node_fail")
    if role != "wrapper":
        house.revive(role, must_die=plan.act == "kill" or plan.point.name in _AT_START)
    return True
