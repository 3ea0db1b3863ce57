"""The folder for an agent's tasks becomes writable for all, and somebody spoils a task of the gateway's in it."""

import os
import shutil
import signal
import time

from attack.accounts import give
from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.product.real_agent import RealAgent, running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_SEEN_S = 4.0  #: the agent of the suite takes a bundle for spoilt after less


def run(trial: Trial) -> None:
    """Ann's agent runs while her inbox is opened and closed again."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        processes.wait_until(lambda: "agent_started" in agent.log.read_text("utf-8"), "ann's agent has started")
        for _ in range(trial.tries):
            trial.tally.count(_try(house, agent))


def _try(house: House, agent: RealAgent) -> str:
    """Spoil a bundle that waits. What the attacker reached: the task's end."""
    new, kept = house.inbox("ann") / "new", house.folder / "kept"
    os.kill(agent.pid, signal.SIGSTOP)
    task_id = house.submit("ann", script="print('mine')\n")
    processes.wait_until((new / task_id).exists, "ann's bundle is published")
    shutil.copytree(new / task_id, kept)
    new.chmod(0o2777)
    script = new / task_id / "files" / "entrypoint.py"
    script.unlink()
    script.write_text("print('spoilt')\n", encoding="utf-8")
    give(script, house.accounts["ben"], 0o644)
    os.kill(agent.pid, signal.SIGCONT)
    time.sleep(_SEEN_S)
    new.chmod(0o2750)
    shutil.rmtree(new / task_id, ignore_errors=True)
    shutil.copytree(kept, new / task_id, dirs_exist_ok=True)
    shutil.rmtree(kept)

    def read() -> str:
        return str(house.ask("ann", "GET", f"/v1/tasks/{task_id}").json()["state"])

    processes.wait_until(lambda: read() not in {"accepted", "submitting", "pending"}, "ann's task goes on or has ended")
    return f"ann's task became {read()}" if read() == "rejected" else ""


def take_guard_out() -> None:
    """An agent that judges its inbox at its start only."""
    from agent.intake import bundles

    replace(bundles.BundleIntake, "_is_open_to_others", lambda _: False)


SCENARIO = Scenario(
    threats="1.9, 3b.1",
    tries_to="end a task by spoiling its bundle in an inbox that was opened to all",
    run=run,
    take_guard_out=take_guard_out,
    tries=6,
    control_tries=1,
)
