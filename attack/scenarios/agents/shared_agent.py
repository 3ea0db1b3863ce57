"""An agent for all users without a container: a task of one user would be the agent, so it does not start."""

from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.product.real_agent import RealAgent, running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_READS = "import pathlib\npathlib.Path('loot').write_text(pathlib.Path({credential!r}).read_text())\n"


def run(trial: Trial) -> None:
    """One start is one try: ben's task would read the credential of the agent that ann's account runs."""
    with open_house(trial) as house, running_agent(house, "ann", is_shared=True) as agent:
        trial.tally.count(_wait(house, agent))


def _wait(house: House, agent: RealAgent) -> str:
    task_id = house.submit("ben", script=_READS.format(credential=str(agent.credential)))
    loot = house.spool("ann") / "tasks" / task_id / "work" / "loot"
    processes.wait_until(lambda: loot.exists() or b"shared_without_container" in agent.log.read_bytes(), "an end")
    return "ben's task read the agent's credential" if loot.exists() else ""


def take_guard_out() -> None:
    """An agent that runs everybody's tasks as they are."""
    import agent.app  # noqa: F401 - it has to be there to be changed
    from agent.job import isolation

    replace(isolation, "find_ways_out", lambda *_, **__: [])


SCENARIO = Scenario(
    threats="1.11",
    tries_to="read the credential of an agent for all users that runs tasks without a container",
    run=run,
    take_guard_out=take_guard_out,
    tries=1,
    control_tries=1,
)
