"""An agent works on a task of another: over every address that agents have, with everything it may know."""

from attack.guards import replace
from attack.product.forged_agent import ForgedAgent
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]


def run(trial: Trial) -> None:
    """Ben's agent knows everything of ann's task but her agent's credential."""
    with open_house(trial) as house:
        agents = house.forge_agents("ann", "ben")
        task_id = house.submit("ann")
        agents["ann"].report(task_id, "running", job_id="1")
        house.ask("ann", "POST", f"/v1/tasks/{task_id}/cancel")
        command_id = str(agents["ann"].poll()[0]["command_id"])
        before = _read(house, task_id)
        ways = [_report, _report_as_hers, _close, _manifest, _acknowledge, _deliver, _poll, _beat]
        for number in range(trial.tries):
            way = ways[number % len(ways)]
            told = way(agents["ben"], agents["ann"], task_id, command_id)
            changed = "" if _read(house, task_id) == before else "ann's task has changed"
            trial.tally.count(f"{way.__name__[1:]}: {told or changed}" if told or changed else "")


def _read(house: House, task_id: str) -> dict[str, object]:
    task: dict[str, object] = house.ask("ann", "GET", f"/v1/tasks/{task_id}").json()
    task.pop("agent_silent_s", None)
    return task


def _report(ben: ForgedAgent, _: ForgedAgent, task_id: str, __: str) -> str:
    outcome = ben.report(task_id, "succeeded", evidence="closed", closed=True, exit_code=0)
    return outcome if outcome in {"taken", "known"} else ""


def _report_as_hers(ben: ForgedAgent, ann: ForgedAgent, task_id: str, _: str) -> str:
    report = ben.build_report(task_id, "failed", evidence="closed", closed=True, spool_id=ann.spool_id, epoch=7)
    outcome = ben.send([report]).json()["outcomes"][0]["outcome"]
    return str(outcome) if outcome in {"taken", "known"} else ""


def _close(ben: ForgedAgent, _: ForgedAgent, task_id: str, __: str) -> str:
    outcome = ben.report(task_id, "lost", evidence="amended", closed=True, taken=True)
    return outcome if outcome in {"taken", "known"} else ""


def _manifest(ben: ForgedAgent, _: ForgedAgent, task_id: str, __: str) -> str:
    manifest = {
        "task_id": task_id, "owner": "ben", "cluster": "atena", "submitted_at": "2026-01-01T00:00:00Z",
        "script_name": "x", "config": {}, "files": [], "source": "drop",
    }  # fmt: skip
    outcome = ben.report(task_id, "running", manifest=manifest)
    return outcome if outcome in {"taken", "known"} else ""


def _acknowledge(ben: ForgedAgent, _: ForgedAgent, __: str, command_id: str) -> str:
    return "was accepted" if ben.acknowledge(command_id, outcome="done").status_code not in {403, 404} else ""


def _deliver(ben: ForgedAgent, _: ForgedAgent, __: str, command_id: str) -> str:
    return "was accepted" if ben.deliver(command_id, b"forged").status_code not in {403, 404} else ""


def _poll(ben: ForgedAgent, _: ForgedAgent, task_id: str, __: str) -> str:
    return "saw a command of ann's" if any(each["task_id"] == task_id for each in ben.poll(0)) else ""


def _beat(ben: ForgedAgent, ann: ForgedAgent, _: str, __: str) -> str:
    beat = {
        "version": "9", "host": "h", "pid": 1, "epoch": 1, "at": "2026-01-01T00:00:00Z", "active_tasks": 0, "outbox": 0,
        "spool_id": ann.spool_id,
    }  # fmt: skip
    return "" if ben.ask("POST", "/v1/agent/heartbeat", json=beat).status_code < 500 else "broke the gateway"


def take_guard_out() -> None:
    """A gateway that does not ask whose task or command it is."""
    from gateway.store import commands, reports
    from gateway.store.models import Command
    from mltm.contract.agent_api import CommandMessage

    def list_all(*_: object) -> list[CommandMessage]:
        return [CommandMessage.model_validate_json(row.body) for row in Command.select()]

    replace(reports, "_refuse", lambda *_: "")
    replace(commands, "_find_command", lambda _, command_id: Command.get_by_id(command_id))
    replace(commands, "list_open", list_all)


SCENARIO = Scenario(
    threats="T10",
    tries_to="report, acknowledge, deliver and poll for a task of another agent",
    run=run,
    take_guard_out=take_guard_out,
    tries=80,
    control_tries=8,
)
