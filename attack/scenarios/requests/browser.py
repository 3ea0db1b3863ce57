"""A real browser opens every address where a text of a user, an agent or a cluster's file can appear: nothing runs."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import requests

from attack.accounts import give, make_accounts
from attack.guards import replace
from attack.payloads.markup import MARKUP, RUN
from attack.product.chromium import open_all
from attack.product.forged_agent import ForgedAgent, render_now
from attack.product.house import House, build_config, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_PRINTED = re.search(r"\d+", RUN)
_FOR_ALL = (
    "/v1/tasks?limit=200",
    "/tasks",
    "/v1/tokens",
    "/v1/me",
    "/users",
    "/users/ann",
    "/healthz",
    "/docs",
    "/openapi.json",
)  #: opened once, when all is planted
_ENDINGS = ("html", "svg", "xhtml", "xml", "js", "txt", "pdf", "")


def run(trial: Trial) -> None:
    """Each try is one text in every field; the browser has the administrator's token, who sees the most."""
    texts = MARKUP if trial.tries >= len(MARKUP) else [MARKUP[0], *trial.rng.sample(MARKUP[1:], trial.tries - 1)]
    account, home = make_accounts("browser")["browser"], trial.folder / "browser"
    home.mkdir()
    give(home, account, 0o700)
    with open_house(trial) as house:
        agent = house.forge_agents("ann")["ann"]
        planted = {_plant(house, agent, number, text): text for number, text in enumerate(texts)}
        opened = [(text, path) for number, (task_id, text) in enumerate(planted.items())
                  for path in _list_paths(task_id, number, text)]  # fmt: skip
        opened += [(texts[0], path) for path in _FOR_ALL]
        trial.tally.reached += _find_unopened(house, [path for _, path in opened])
        assert _PRINTED is not None
        with agent.answering(lambda command: _answer(agent, planted, command)):
            did = open_all(
                account, home, [house.url + path for _, path in opened],
                headers={"Authorization": f"Bearer {house.tokens['eve']}"}, printed=_PRINTED.group(),
                needs=trial.needs,
            )  # fmt: skip
        log = house.log.read_bytes()
    for text in texts:
        harm = [f"{path[:60]} {what[0]}" for (of, path), what in zip(opened, did, strict=False) if what and of == text]
        trial.tally.count(f"{text[:40]!r}: {harm[0]}" if harm else "")
    trial.tally.counts |= {"addresses opened": len(did), "answers 500": log.count(b'"status": 500')}


def _plant(house: House, agent: ForgedAgent, number: int, text: str) -> str:
    """Say the text wherever one can; return the id of the task that has it. What is refused is refused."""
    spelled = text.replace("'", "").replace('"', "").replace("\\", "").replace("/", "")
    config = build_config(
        experiment_name=text, project_path=text, tracking_uri=text, model_params={"a": text, "b": [text, {"c": text}]},
        env={"TEXT": text}, backend_execution={"mlflow": {"execution_config": {"execution_mode": text}}},
    )  # fmt: skip
    task_id = house.submit("ann", config)
    for name in (spelled[:100], f"{spelled[:90]}.py"):
        files = [
            ("config", ("config.json", json.dumps(build_config(script_path=name)))), ("script", (name, text)),
            ("files", (f"{name}.txt", text)),
        ]  # fmt: skip
        house.ask("ann", "POST", "/v1/tasks", files=files)
    house.ask("eve", "POST", "/v1/tokens", json={"name": text[:64]})
    report = agent.build_report(
        task_id, "running", message=text, node=text, slurm_state=text, job_id=str(number + 1),
        note={"kind": "attention", "message": text},
    )  # fmt: skip
    agent.send([report])
    agent.send([agent.build_report(task_id, "running", job_id=text)])
    _name_people(house, agent, text)
    return task_id


def _name_people(house: House, agent: ForgedAgent, text: str) -> None:
    """Names of an agent, its host, its problems, and of a user: an administrator may be led to anything."""
    beat = {
        "version": text, "host": text, "pid": 1, "epoch": 1, "at": render_now(), "active_tasks": 0, "outbox": 0,
        "problems": [text], "slurm_calls": {text: 1},
    }  # fmt: skip
    agent.ask("POST", "/v1/agent/heartbeat", json=beat)
    body = {"code": "x", "host": text, "unix_user": text, "spool_id": "0" * 32, "version": text}
    requests.post(f"{house.url}/v1/agent/enrol", json=body, timeout=30)
    house.ask("", "POST", "/auth/login", data={"username": text, "password": text})


def _list_paths(task_id: str, number: int, text: str) -> Iterator[str]:
    """Every route to a task, and error pages that would repeat what was asked."""
    spelled, task = quote(text, safe=""), f"/v1/tasks/{task_id}"
    name = quote(_name_output(number, text))
    yield from (
        task, f"/task/{task_id}", f"/job_status/{task_id}", f"/job_status/{number + 1}", f"{task}/log",
        f"{task}/log?attempt=1", f"{task}/outputs", f"{task}/outputs/{name}",
    )  # fmt: skip
    yield from (
        f"/{spelled}", f"/v1/tasks/{spelled}", f"/task/{spelled}", f"/job_status/{spelled}", f"/users/{spelled}",
        f"/docs/{spelled}", f"/v1/tasks?state={spelled}", f"/v1/tasks?before={spelled}", f"/v1/tasks?{spelled}=1",
        f"{task}/log?offset={spelled}", f"{task}/log?attempt={spelled}", f"{task}/outputs/..%2f{spelled}",
        f"/docs?{spelled}", f"/v1/agent/commands?wait={spelled}", f"/openapi.json?{spelled}", f"/tasks?limit={spelled}",
    )  # fmt: skip


def _name_output(number: int, text: str) -> str:
    return f"{text.replace('/', '_')[:60]}.{_ENDINGS[number % len(_ENDINGS)]}"


def _answer(agent: ForgedAgent, planted: Mapping[str, str], command: Mapping[str, object]) -> None:
    """As the agent of user code that wrote the text into its log, its outputs, and their names."""
    task_id = str(command["task_id"])
    text, number = planted[task_id], list(planted).index(task_id)
    if command["kind"] == "list_outputs":
        listed = [{"path": _name_output(number, text), "size": len(text.encode()), "modified_at": render_now()}]
        agent.acknowledge(command["command_id"], outcome="done", outputs=listed)
    else:
        data = text.encode()[int(str(command["offset"])) :]
        agent.deliver(command["command_id"], data[: int(str(command["length"]))], size=len(text.encode()), final="true")


def _find_unopened(house: House, paths: list[str]) -> Iterator[str]:
    """Routes that nobody thought of when this list was written."""
    routes: dict[str, Any] = house.ask("", "GET", "/openapi.json").json()["paths"]
    for route in sorted(route for route, methods in routes.items() if "get" in methods):
        pattern = re.compile(re.sub(r"\\\{[^}]*\\\}", "[^?]+", re.escape(route)))
        if not any(pattern.fullmatch(path.partition("?")[0]) for path in paths):
            yield f"the browser does not open {route}: add it"


def take_guard_out() -> None:
    """A gateway whose answers are pages without the headers that protect browsers."""
    import gateway.http.response_headers as headers

    async def weaken(_: Any, response: Any) -> None:
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        response.headers.popall("Content-Disposition", None)

    replace(headers, "secure_answer", weaken)


SCENARIO = Scenario(
    threats="T9",
    tries_to="run a script in a real browser by a text in any field, answer or address",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(MARKUP),
    control_tries=2,
)
