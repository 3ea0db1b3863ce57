"""A private agent enrols with the id of a shared agent's spool, to inherit the tasks of everybody."""

import requests

from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial
from mltm.contract.proofs import prove_enrolment

__all__ = ["SCENARIO"]


def run(trial: Trial) -> None:
    """Ann's task is at the shared agent; ben enrols with that spool's id, from several places, with several proofs."""
    with open_house(trial) as house:
        house.make_spool_of("shared", "ann")
        shared = house.enrol(house.make_codes(["--shared", "--inbox", str(house.inbox("shared"))])[0])
        task_id = house.submit("ann")
        shared.report(task_id, "running")
        places = [house.inbox("ben"), house.inbox("shared"), house.inbox("ben") / "in", house.folder / "elsewhere"]
        codes = house.make_codes(
            *(["--owner", "ben", "--inbox", str(places[n % len(places)])] for n in range(trial.tries))
        )
        for number, code in enumerate(codes):
            spool_id = [shared.spool_id, ""][number // len(places) % 2]
            trial.tally.count(_adopt(house, code, spool_id, _prove(number, shared, code), shared, task_id))


def _prove(number: int, shared: ForgedAgent, code: str) -> str:
    """What somebody without the spool's key may send: nothing, anything, or what he makes with a key of his own."""
    proofs = ["", "0" * 64, prove_enrolment(b"k" * 32, shared.spool_id, code), shared.spool_id * 2]
    return proofs[number // 2 % len(proofs)]


def _adopt(house: House, code: str, spool_id: str, proof: str, shared: ForgedAgent, task_id: str) -> str:
    try:
        ben = house.enrol(code, spool_id, proof=proof)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        return f"answered {status}" if status >= 500 else ""
    outcomes = [ben.report(task_id, "failed", closed=True, evidence="closed", spool_id=each, epoch=5)
                for each in (ben.spool_id, shared.spool_id)]  # fmt: skip
    if any(each in {"taken", "known"} for each in outcomes):
        return "ben's agent ended ann's task"
    return "ben's agent sees ann's commands" if any(each["task_id"] == task_id for each in ben.poll(0)) else ""


def take_guard_out() -> None:
    """A gateway that takes whoever says the spool's id for the agent that had it."""
    from gateway.store import agents
    from gateway.store.models import Agent

    def find_same(_: object, spool_id: str) -> Agent | None:
        found: Agent | None = Agent.get_or_none(Agent.spool_id == spool_id)
        return found

    replace(agents, "_find_same", find_same)
    replace(agents, "_check_proof", lambda *_: None)


SCENARIO = Scenario(
    threats="1.8",
    tries_to="enrol as another owner with the id or the path of a shared agent's spool, and end its tasks",
    run=run,
    take_guard_out=take_guard_out,
    tries=16,
    control_tries=8,
)
