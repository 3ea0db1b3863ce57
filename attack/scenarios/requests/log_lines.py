"""Texts with line ends and terminal commands: the logs of gateway and agent hold one event a line, and nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attack.accounts import give
from attack.guards import replace
from attack.payloads.lines import LINES
from attack.product import processes
from attack.product.forged_agent import ForgedAgent, render_now
from attack.product.house import House, build_config, open_house
from attack.product.real_agent import running_agent
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def run(trial: Trial) -> None:
    """Say each text wherever one can; then read the logs."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        forged = house.forge_agents("ben")["ben"]
        texts = LINES if trial.tries >= len(LINES) else trial.rng.sample(LINES, trial.tries)
        for number, text in enumerate(texts):
            _say(house, forged, text)
            _drop(house, number, text)
        processes.wait_until(lambda: not _count_drops(house), "the agent has taken the drops", within_s=120)
        harm = [*_read_harm(house.log), *_read_harm(agent.log)]
        for number, _ in enumerate(texts):
            trial.tally.count(harm[number] if number < len(harm) else "")
        lines = sum(len(path.read_bytes().split(b"\n")) - 1 for path in (house.log, agent.log))
        trial.tally.counts["events, a line each"] = lines


def _say(house: House, forged: ForgedAgent, text: str) -> None:
    spelled = quote(text, safe="")
    house.ask("", "POST", "/auth/login", data={"username": text, "password": text})
    for path in (f"/{spelled}", f"/v1/tasks/{spelled}", f"/job_status/{spelled}", f"/users/{spelled}"):
        house.ask("eve", "GET", path)
    house.ask(
        "ann", "GET", "/v1/me", headers={"User-Agent": spelled, "X-Request-Id": spelled, "X-Forwarded-For": spelled}
    )
    files = {"config": ("config.json", json.dumps(build_config(experiment_name=text))), "script": ("script.py", "1")}
    house.ask("ben", "POST", "/v1/tasks", files=files)
    task_id = house.submit("ben")
    forged.report(task_id, "running", message=text, node=text, slurm_state=text)
    beat = {
        "version": text, "host": text, "pid": 1, "epoch": 1, "at": render_now(), "active_tasks": 0, "outbox": 0,
        "problems": [text],
    }  # fmt: skip
    forged.ask("POST", "/v1/agent/heartbeat", json=beat)


def _drop(house: House, number: int, text: str) -> None:
    """A folder in drop/ with such a name, and with a config in which it is a field."""
    name = re.sub(r"[/\x00]", "_", f"{number}{text}")[:60] + ".ready"
    drop, account = house.spool("ann") / "drop", house.accounts["ann"]
    folder = drop / f".{number}"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(build_config(runner_location=text)), encoding="utf-8")
    (folder / "script.py").write_text("1\n", encoding="utf-8")
    for path in (folder, *folder.iterdir()):
        give(path, account, 0o700)
    folder.rename(drop / name)


def _count_drops(house: House) -> int:
    names = [path.name for path in (house.spool("ann") / "drop").iterdir()]
    return sum(1 for name in names if not name.startswith(".") and not name.endswith(".receipt.json"))


def _read_harm(log: Path) -> Iterator[str]:
    for line in log.read_bytes().split(b"\n")[:-1]:
        if _CONTROL.search(line):
            yield f"{log.name} has a control character: {line[:80]!r}"
        elif _read_event(line) in {"", "forged"}:
            yield f"{log.name} has a line that is not an event of its own: {line[:80]!r}"


def _read_event(line: bytes) -> str:
    """The event of a line; "" if it is not an event."""
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return ""


def take_guard_out() -> None:
    """Daemons that write texts into their logs as they come."""
    import structlog

    from agent.intake import drops

    def render_plain() -> Callable[[Any, str, dict[str, Any]], str]:
        return lambda _, __, event: " ".join(f"{key}={value}" for key, value in event.items())

    replace(structlog.processors, "JSONRenderer", render_plain)
    vars(drops)["ascii"] = str


SCENARIO = Scenario(
    threats="T12",
    tries_to="write lines of one's own, and commands of a terminal, into the logs of gateway and agent",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(LINES),
    control_tries=6,
)
