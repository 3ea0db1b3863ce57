"""Carries out plans, several at once: arms them, waits until they strike, puts what died back on its feet.

A plan whose point was not passed in time is taken up again later, a few times, before it counts as missed.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.faults.plan import Plan, read_victim, set_plan, take_back
from chaos.faults.points import WRAPPER_AFTER_CLAIM, Role
from chaos.load.spoil import is_end_unwritten
from chaos.strikes.provoke import provoke
from chaos.trial import Trial

__all__ = ["Walk"]

_AT_ONCE: dict[Role, int] = {"agent": 4, "gateway": 2, "wrapper": 3}
_REACHED_WITHIN_S = 60.0
_MAX_TRIES = 4
_PROVOKE_EVERY_S = 2.0
_AT_START = frozenset({"agent.start", "agent.epoch"})
_POLL_S = 0.02
_STAYS_UP_S = 3.0


@dataclass
class _Armed:
    plan: Plan
    tries: int
    until_s: float
    provoke_s: float = 0.0


class Walk:
    """A walk over plans, in their order as far as each role's points are passed in it."""

    def __init__(self, plans: Sequence[Plan], trial: Trial) -> None:
        self._trial, self._house = trial, trial.house
        self._waiting: dict[Role, deque[tuple[Plan, int]]] = {
            role: deque((plan, 1) for plan in plans if plan.point.role == role) for role in _AT_ONCE
        }
        self._armed: list[_Armed] = []
        self._killed: set[int] = set()

    def run(self) -> None:
        """Return when every plan has struck or was missed."""
        while self._armed or any(self._waiting.values()):
            for role, waiting in self._waiting.items():
                self._arm(role, waiting)
            for armed in list(self._armed):
                self._check(armed)
            self._house.revive_dead()
            time.sleep(_POLL_S)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        """What the last strike makes end itself may still be on its way to that."""
        until_s = time.monotonic() + _STAYS_UP_S
        while time.monotonic() < until_s:
            self._house.revive_dead()
            time.sleep(_POLL_S)

    def _arm(self, role: Role, waiting: deque[tuple[Plan, int]]) -> None:
        """Arm as many as may be at once; two of one point and moment come one after the other."""
        for _ in range(len(waiting)):
            if sum(armed.plan.point.role == role for armed in self._armed) >= _AT_ONCE[role]:
                return
            plan, tries = waiting.popleft()
            if any((armed.plan.point, armed.plan.when) == (plan.point, plan.when) for armed in self._armed):
                waiting.append((plan, tries))
                continue
            set_plan(self._house.plans, plan)
            self._armed.append(_Armed(plan, tries, time.monotonic() + _REACHED_WITHIN_S))
            if plan.point.name in _AT_START:
                self._house.kill("agent")
                self._house.start("agent")

    def _check(self, armed: _Armed) -> None:
        victim, now_s = read_victim(self._house.plans, armed.plan), time.monotonic()
        if victim is not None:
            self._armed.remove(armed)
            self._count(armed.plan, victim)
        elif now_s > armed.until_s:
            if take_back(self._house.plans, armed.plan):
                self._armed.remove(armed)
                self._put_off(armed)
        elif now_s > armed.provoke_s:
            armed.provoke_s = now_s + _PROVOKE_EVERY_S
            provoke(armed.plan.point.name, self._trial)

    def _put_off(self, armed: _Armed) -> None:
        if armed.tries < _MAX_TRIES:
            self._waiting[armed.plan.point.role].append((armed.plan, armed.tries + 1))
        else:
            self._trial.result.missed.append(str(armed.plan))

    def _count(self, plan: Plan, victim: str) -> None:
        """Count a fault, and a kill if a process died of it that no other plan had killed already."""
        role, result = plan.point.role, self._trial.result
        result.faults += 1
        if role == "wrapper":
            result.kills += 1
            is_after = plan.point.name in WRAPPER_AFTER_CLAIM
            if victim and is_after and is_end_unwritten(self._house.spool, victim):
                self._trial.stream.allow(victim, "lost", "node_fail")
        elif plan.act == "kill":
            result.kills += int(victim) not in self._killed
            self._killed.add(int(victim))
            self._house.revive(role, int(victim))
