"""User code leaves thousands of outputs with long names: whoever lists them gets an answer, and the agent is free."""

from pathlib import Path

from attack.accounts import give
from attack.guards import replace
from attack.product import processes
from attack.product.house import House, open_house
from attack.product.real_agent import running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_FILES, _MAX_NAME = 9_900, 255
_MAX_ANSWER = 4 * 1024 * 1024


def run(trial: Trial) -> None:
    """Each try is a task with names of another kind."""
    with open_house(trial) as house, running_agent(house, "ann"):
        for number in range(trial.tries):
            task_id = house.submit("ann")
            outputs = house.spool("ann") / "tasks" / task_id / "outputs"
            processes.wait_until(outputs.exists, "the agent has taken the task")
            _fill(house, outputs, "aß\\"[number % 3])
            trial.tally.count(_list(house, task_id))


def _fill(house: House, outputs: Path, letter: str) -> None:
    long = letter * (_MAX_NAME // len(letter.encode()))
    folder = outputs / long / long / long
    folder.mkdir(parents=True)
    tail = letter * (240 // len(letter.encode()))
    for number in range(_FILES):
        (folder / f"{number:05d}{tail}").touch()
    for path in (outputs / long, outputs / long / long, folder):
        give(path, house.accounts["ann"], 0o755)


def _list(house: House, task_id: str) -> str:
    answer = house.ask("ann", "GET", f"/v1/tasks/{task_id}/outputs")
    if answer.status_code != 200 or not answer.json()["files"]:
        return f"the list of outputs was answered {answer.status_code}"
    return f"the list has {len(answer.content):,} bytes" if len(answer.content) > _MAX_ANSWER else ""


def take_guard_out() -> None:
    """An agent that counts files, and not how long their names are."""
    from agent.uplink import outputs

    replace(outputs, "_measure", lambda _: 0)


SCENARIO = Scenario(
    threats="1.10",
    tries_to=f"leave {_FILES:,} outputs whose names make the list too long",
    run=run,
    take_guard_out=take_guard_out,
    tries=6,
    control_tries=1,
)
