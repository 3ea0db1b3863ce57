"""Two agents on one spool: each drop becomes one task."""

import json
import threading

from agent.intake.drops import Drops
from tests.agent.spool.build import CONFIG, SCRIPT, Hands


def scan_by_two_agents(hands: Hands) -> None:
    """One look by each, begun together."""
    start = threading.Barrier(2)

    def run() -> None:
        drops = Drops(hands.spool, hands.settings, hands.clock)
        start.wait(10)
        drops.scan()

    agents = [threading.Thread(target=run) for _ in range(2)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(30)


def test_of_two_agents_that_see_the_same_drops_one_takes_each(hands: Hands) -> None:
    names = [f"run{number}.ready" for number in range(10)]
    for name in names:
        hands.drop(f"{name}/config.json", CONFIG)
        hands.drop(f"{name}/train.py", SCRIPT)
    scan_by_two_agents(hands)
    last = Drops(hands.spool, hands.settings, hands.clock)
    for _ in range(5):
        last.scan()
        hands.now_s += 10
    places = [json.loads((hands.spool.task(task).control / "receipt").read_bytes())["name"] for task in hands.tasks()]
    assert sorted(places) == names
    assert not list(hands.spool.bad.iterdir())
    assert not list(hands.spool.taking.iterdir())
