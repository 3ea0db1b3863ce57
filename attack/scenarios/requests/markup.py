"""Texts that a browser would run, in every text of a user and an agent: what every answer says of itself."""

import json
import threading
from collections.abc import Iterator
from urllib.parse import quote

import requests

from attack.guards import replace
from attack.payloads.markup import MARKUP, RUN
from attack.product.forged_agent import ForgedAgent, render_now
from attack.product.house import House, build_config, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_PLAIN = ("application/json", "application/problem+json", "text/plain; charset=utf-8", "application/octet-stream")


def run(trial: Trial) -> None:
    """Each try is one text everywhere; every answer is judged."""
    with open_house(trial) as house:
        agent = house.forge_agents("ann")["ann"]
        texts = MARKUP if trial.tries >= len(MARKUP) else trial.rng.sample(MARKUP, trial.tries)
        judged = 0
        for text in texts:
            wrong: list[str] = []
            for answer in _collect(house, agent, text):
                judged += 1
                wrong += _judge(answer)
            trial.tally.count(f"{text[:40]!r}: {wrong[0]}" if wrong else "")
        trial.tally.counts["answers"] = judged


def _collect(house: House, agent: ForgedAgent, text: str) -> Iterator[requests.Response]:
    task_id = house.submit("ann", build_config(experiment_name=text, project_path=text, model_params={"a": text}))
    report = agent.build_report(
        task_id, "running", message=text, node=text, slurm_state=text, note={"kind": "attention", "message": text}
    )
    yield agent.send([report])
    for path in (
        f"/v1/tasks/{task_id}", "/v1/tasks", "/tasks", f"/task/{task_id}", f"/job_status/{task_id}", "/v1/me", "/docs",
        f"/{quote(text)}", f"/v1/tasks/{quote(text, safe='')}", f"/v1/tasks?state={quote(text)}", "/openapi.json",
        f"/job_status/{quote(text, safe='')}", f"/docs/{quote(text, safe='')}",
    ):  # fmt: skip
        yield house.ask("ann", "GET", path)
    yield house.ask("ann", "POST", "/v1/tokens", json={"name": text[:100]})
    yield house.ask("", "POST", "/auth/login", data={"username": text, "password": text})
    yield house.ask("ann", "GET", "/v1/tokens")
    files = {"config": ("config.json", json.dumps(build_config(dataset_name=text))), "script": (text, "x")}
    yield house.ask("ann", "POST", "/v1/tasks", files=files)
    yield from _read_files(house, agent, task_id, text)


def _read_files(house: House, agent: ForgedAgent, task_id: str, text: str) -> Iterator[requests.Response]:
    name = f"{text.replace('/', '_')[:40]}.html"
    listed = [{"path": name, "size": 9, "modified_at": render_now()}]
    for path in ("log", f"outputs/{quote(name)}", "outputs"):
        answers: list[requests.Response] = []
        reader = threading.Thread(target=_keep_answer, args=(house, f"/v1/tasks/{task_id}/{path}", answers))
        reader.start()
        for command in agent.poll():
            if command["kind"] == "list_outputs":
                agent.acknowledge(command["command_id"], outcome="done", outputs=listed)
            else:
                agent.deliver(command["command_id"], text.encode(), final="true")
        reader.join()
        yield from answers


def _keep_answer(house: House, path: str, answers: list[requests.Response]) -> None:
    answers.append(house.ask("ann", "GET", path))


def _judge(answer: requests.Response) -> Iterator[str]:
    headers, kind = answer.headers, answer.headers.get("Content-Type", "").lower()
    where = f"{answer.request.method} {answer.url[-60:]} ({answer.status_code})"
    if headers.get("X-Content-Type-Options") != "nosniff":
        yield f"{where} may be sniffed"
    if not _allows_own_scripts_only(headers.get("Content-Security-Policy", "")):
        yield f"{where} lets a page run scripts"
    if answer.status_code >= 500:
        yield f"{where} is a failure"
    is_page = kind.startswith("text/html")
    if is_page and RUN in answer.text:
        yield f"{where} shows it as a page"
    if not is_page and answer.content and kind not in _PLAIN and "/docs" not in answer.url:
        yield f"{where} is {kind!r}"
    if "octet-stream" in kind and "attachment" not in headers.get("Content-Disposition", ""):
        yield f"{where} is not saved but shown"


def _allows_own_scripts_only(policy: str) -> bool:
    """True if a page may run no scripts, or files of the gateway alone (/docs): neither inline nor from elsewhere."""
    directives = {words[0]: set(words[1:]) for part in policy.split(";") if (words := part.split())}
    return directives.get("script-src", directives.get("default-src")) in ({"'none'"}, {"'self'"})


def take_guard_out() -> None:
    """A gateway without the headers that protect browsers."""
    import gateway.http.response_headers as headers

    async def leave_alone(*_: object) -> None:
        pass

    replace(headers, "secure_answer", leave_alone)


SCENARIO = Scenario(
    threats="T9",
    tries_to="bring a script to a browser by any text of a user or an agent",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(MARKUP),
    control_tries=2,
)
