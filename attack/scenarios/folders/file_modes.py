"""The gateway under the umask 0: nobody else may read what it stores, whatever its account's settings are."""

from attack.guards import replace
from attack.product.house import open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]


def run(trial: Trial) -> None:
    """Let it store what it stores; each file and folder of its data is a try, and so is each of an inbox."""
    with open_house(trial, umask=0) as house:
        agent, task_id = house.forge_agents("ann")["ann"], house.submit("ann")
        agent.report(task_id, "running", job_id="1")
        house.ask("ann", "POST", "/v1/tokens", json={"name": "more"}).raise_for_status()
        data = house.home / "data"
        for path in (data, *data.rglob("*")):
            mode = path.stat().st_mode & 0o777
            trial.tally.count(f"{path.relative_to(house.home)} has the mode {mode:04o}" if mode & 0o077 else "")
        for path in (house.inbox("ann"), *house.inbox("ann").rglob("*")):
            mode = path.stat().st_mode & 0o777
            trial.tally.count(f"{path.relative_to(house.folder)} has the mode {mode:04o}" if mode & 0o027 else "")


def take_guard_out() -> None:
    """A gateway that leaves modes to the umask."""
    from gateway import private_files

    replace(private_files, "_tighten", lambda *_: None)
    vars(private_files)["FOLDER_MODE"], vars(private_files)["FILE_MODE"] = 0o777, 0o666


SCENARIO = Scenario(
    threats="1.10",
    tries_to="read the gateway's database and files, which it made under the umask 0, as anybody",
    run=run,
    take_guard_out=take_guard_out,
    tries=1,
    control_tries=1,
    control_needs=3,
)
