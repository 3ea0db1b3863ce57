"""Two agents on one spool: each drop becomes one task."""

import json
import threading

from agent.intake.drops import DropIntake
from tests.agent.spool.build import CONFIG, SCRIPT, SpoolKit


def scan_by_two_agents(kit: SpoolKit) -> None:
    """One look by each, begun together."""
    start = threading.Barrier(2)

    def run() -> None:
        drops = DropIntake(kit.spool, kit.settings, kit.clock)
        start.wait(10)
        drops.scan()

    agents = [threading.Thread(target=run) for _ in range(2)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(30)


def test_of_two_agents_that_see_the_same_drops_one_takes_each(kit: SpoolKit) -> None:
    names = [f"run{number}.ready" for number in range(10)]
    for name in names:
        kit.drop(f"{name}/config.json", CONFIG)
        kit.drop(f"{name}/train.py", SCRIPT)
    scan_by_two_agents(kit)
    last = DropIntake(kit.spool, kit.settings, kit.clock)
    for _ in range(5):
        last.scan()
        kit.now_s += 10
    places = [json.loads((kit.spool.task(task).control / "receipt").read_bytes())["name"] for task in kit.tasks()]
    assert sorted(places) == names
    assert not list(kit.spool.bad.iterdir())
    assert not list(kit.spool.taking.iterdir())
