"""More than 500 texts that lead elsewhere, in every field and every address that takes a text."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

import requests

from attack.guards import replace
from attack.payloads.paths import CANARY, list_paths
from attack.product.forged_agent import ForgedAgent
from attack.product.house import CLUSTER, House, build_config, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_TEXT_FIELDS = (
    "script_path", "script_name", "dataset_name", "experiment_name", "project_path", "tracking_uri", "runner_location",
)  # fmt: skip
_INFRA_FIELDS = ("image_name", "instance_type", "account")
_LOOK_EVERY = 10
_STARTS_WITH_ID = re.compile(r"[0-9a-f]{32}(\.|$)")
_ADDRESSES = (
    "/v1/tasks/{}", "/v1/tasks/{}/log", "/v1/tasks/{task}/outputs/{}", "/v1/tokens/{}", "/users/{}", "/task/{}",
    "/job_status/{}", "/docs/{}", "/{}",
)  # fmt: skip


def run(trial: Trial) -> None:
    """Each try is one text in all fields: 500 texts make some 12,000 requests."""
    with open_house(trial) as house:
        agent, task_id = house.forge_agents("ann")["ann"], house.submit("ann")
        agent.report(task_id, "succeeded", closed=True, evidence="closed")
        (house.home / "secret").write_text("a secret of the gateway", encoding="utf-8")
        texts = list_paths()
        if trial.tries < len(texts):
            texts = texts[:1] + trial.rng.sample(texts[1:], trial.tries - 1)
        with agent.refusing() as asked:
            _try_all(trial, house, agent, task_id, texts)
        climbing = [file for file in asked if ".." in file.split("/") or "\x00" in file]
        trial.tally.reached += [f"the agent was asked for {file!r}" for file in climbing]


def _try_all(trial: Trial, house: House, agent: ForgedAgent, task_id: str, texts: Sequence[str]) -> None:
    """Send each text everywhere, and now and then look for what was made where nothing belongs."""
    sent, known = 0, _list_all(house.folder)
    for number, text in enumerate(texts, 1):
        wrong: list[str] = []
        for ask in _build_asks(house, agent, task_id, text):
            sent += 1
            wrong += _judge(ask())
        if number % _LOOK_EVERY == 0 or number == len(texts):
            now = _list_all(house.folder)
            wrong += [f"{path} was made, by this text or one before" for path in now - known if not _is_expected(path)]
            wrong += [f"/{CANARY} was made"] if Path(f"/{CANARY}").exists() else []
            known = now
        trial.tally.count(f"{text[:60]!a}: {wrong[0]}" if wrong else "")
    trial.tally.counts["requests"] = sent


def _build_asks(
    house: House, agent: ForgedAgent, task: str, text: str
) -> Iterator[Callable[[], requests.Response | None]]:
    for config in _build_configs(text):
        yield partial(_submit, house, config, "script.py", "extra.bin")
    name = text.replace("\x00", "%00").replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
    yield lambda: _submit(house, build_config(script_path=text), name, "extra.bin")
    yield lambda: _submit(house, build_config(), "script.py", name)
    yield lambda: _submit(house, build_config(), "script.py", "extra.bin", {"Idempotency-Key": quote(text)[:200]})
    for address in _ADDRESSES:
        for spelled in (quote(text, safe="/%"), quote(text, safe="")):
            path = address.replace("{task}", task).replace("{}", spelled)
            yield partial(_get, house, path)
    yield lambda: agent.acknowledge(quote(text, safe=""), outcome="done")
    yield lambda: agent.deliver(quote(text, safe=""), b"bytes")
    report = agent.build_report(task, "running", node=text, slurm_state=text, message=text, job_id=text)
    yield lambda: agent.ask("POST", "/v1/agent/reports", json={"reports": [report]})


def _build_configs(text: str) -> Iterator[dict[str, object]]:
    for field in _TEXT_FIELDS:
        yield build_config(**{field: text})
    for field in _INFRA_FIELDS:
        infra = {"instance_type": "cpu", "image_name": "image", field: text}
        yield build_config(clusters={CLUSTER: {"infra_config": infra}})
    yield build_config(env={"NAME": text}, model_params={"name": text})
    yield build_config(resources={"constraint": text})


def _submit(
    house: House, config: dict[str, object], script: str, extra: str, headers: dict[str, str] | None = None
) -> requests.Response:
    body = json.dumps(config)
    files = [("config", ("config.json", body)), ("script", (script, "print(1)\n")), ("files", (extra, "bytes"))]
    return house.ask("ann", "POST", "/v1/tasks", files=files, headers=headers or {})


def _get(house: House, path: str) -> requests.Response | None:
    """As it is spelled: a library would tidy dots and slashes away."""
    prepared = requests.Request("GET", house.url, headers={"Authorization": f"Bearer {house.tokens['ann']}"}).prepare()
    prepared.url = house.url + path
    with requests.Session() as session:
        try:
            return session.send(prepared, timeout=30, allow_redirects=False)
        except requests.Timeout:  # it waits for the task's agent, whom it asks for a file of that name
            return None


def _judge(answer: requests.Response | None) -> Sequence[str]:
    if answer is None or answer.status_code == 504:
        return ()  # the agent was asked, and this one does not answer
    if answer.status_code >= 500:
        return (f"{answer.request.method} {answer.url[-80:]} was answered {answer.status_code}",)
    leaks = ("a secret of the gateway", "root:x:0:0", "SQLite format 3")
    return tuple(f"{answer.url[-80:]} gave {leak!r}" for leak in leaks if leak in answer.text)


def _list_all(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _is_expected(path: str) -> bool:
    """True for files/<task>/<name>, uploads, bundles in inboxes, and the gateway's own database and cache."""
    parts = path.split("/")
    is_id = len(parts) == 3 or (len(parts) > 3 and _STARTS_WITH_ID.match(parts[3]) is not None)
    if "/".join(parts[:3]) in {"gateway/data/files", "gateway/data/staging"}:
        return is_id and len(parts) <= 5
    if "/".join(parts[:3]) in {"inboxes/ann/tmp", "inboxes/ann/new"}:
        return is_id and len(parts) <= (6 if parts[4:5] == ["files"] else 5)
    return path.startswith(("gateway/data/gateway.sqlite", "gateway/data/cache"))


def take_guard_out() -> None:
    """A contract that takes any text for a file's name."""
    from mltm.contract import manifest

    replace(manifest, "check_file_name", lambda name: name)


SCENARIO = Scenario(
    threats="T1",
    tries_to="lead out of a task's folder by a text in each field and each address",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(list_paths()),
    control_tries=10,
)
