"""A real gateway process with users, tasks in several states, agents and commands: what the cases run against.

Limits that would turn cases into 429 are not reached: each request comes from an address of its own, which
`trusted_proxies` lets the caller say. An upload may have 100 files, because OpenAPI has no word for a setting. No other
setting is looser than its default, and no constant is changed.
"""

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import requests

from gateway.app import open_database
from gateway.services.passwords import hash_secret
from gateway.settings import GatewaySettings
from gateway.store import agents
from mltm.contract import routes
from mltm.runtime.clock import Clock
from tests.gateway.build import CLUSTER, SCRIPT, config
from tests.gateway.fixtures import USERS, build_settings, make_inbox, prepare
from tests.gateway.process import serving
from tests.schema.forged_agent import ForgedAgent

__all__ = ["OTHER_CLUSTER", "Role", "Stage", "list_roles", "open_stage"]

Role = Literal["anonymous", "user", "admin", "agent"]
OTHER_CLUSTER = "second"
_USER_OF: dict[Role, str] = {"user": "alice", "admin": "root"}
_STATES = ("accepted", "pending", "running", "finishing", "succeeded", "failed", "lost", "rejected")
_SETTINGS = """
trusted_proxies = ["127.0.0.0/8"]
clusters = ["elsewhere"]
legacy_wait_s = 0.0
min_free_bytes = 0
max_files = 100
"""


def list_roles() -> tuple[Role, ...]:
    """Who calls."""
    return get_args(Role)


@dataclass
class Stage:
    """Where the gateway listens, the callers' headers, and ids that exist."""

    url: str
    tokens: dict[str, str]
    agents: dict[str, ForgedAgent]
    known: dict[str, list[str]] = field(default_factory=dict)
    kept_tokens: frozenset[str] = frozenset()  #: ids of the callers' own tokens, which no case may revoke

    def headers(self, role: Role) -> dict[str, str]:
        """The caller's header; nothing for nobody."""
        if role == "anonymous":
            return {}
        secret = self.agents[OTHER_CLUSTER].credential if role == "agent" else self.tokens[_USER_OF[role]]
        return {"Authorization": f"Bearer {secret}"}

    def call(self, method: str, path: str, who: str, **options: Any) -> Any:
        """A request of a user that must succeed; its JSON."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        answer = requests.request(method, self.url + path, headers=headers, timeout=30, **options)
        assert answer.ok, answer.text
        return answer.json()


@contextlib.contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Serve for the length of the block."""
    folder.mkdir(exist_ok=True)
    (folder / "spool").mkdir()
    settings = build_settings(folder)
    tokens, code = prepare(settings, folder / "spool")
    codes = {CLUSTER: code, OTHER_CLUSTER: _add_code(settings, folder / "spool2")}
    file = folder / "gateway.toml"
    file.write_text(_SETTINGS)
    log = folder / "gateway.log"
    with serving("--config", str(file), "--data-dir", str(settings.data_dir), "--port", "0") as server:
        reader = threading.Thread(target=_drain, args=(server.process.stdout, log), daemon=True)
        reader.start()
        with contextlib.ExitStack() as stack:
            forged = {name: ForgedAgent.enrol(server.url, each) for name, each in codes.items()}
            stage = Stage(server.url, tokens, forged)
            _fill(stage, stack)
            yield stage
        server.process.terminate()
        reader.join(timeout=20)


def _drain(lines: Any, log: Path) -> None:
    """Read what the gateway says: a full pipe would stop it."""
    with log.open("w") as file:
        for line in lines:
            file.write(line)
            file.flush()


def _add_code(settings: GatewaySettings, spool: Path) -> str:
    """A code for an agent of another cluster; it runs the tasks of all users."""
    clock = Clock()
    code, now = clock.new_secret("enrol_"), clock.now()
    spool.mkdir()
    new = agents.NewCode(hash_secret(code), OTHER_CLUSTER, None, make_inbox(spool), now, now + timedelta(minutes=10))
    database = open_database(settings)
    try:
        database.call_now(agents.add_code, new)
    finally:
        database.close()
    return code


def _fill(stage: Stage, stack: contextlib.ExitStack) -> None:
    """Tasks in several states for each user, tokens, commands that are open, questions that nobody answers."""
    tasks, jobs = [], itertools.count(100)
    for who, state in itertools.product(USERS, _STATES):
        task_id = _submit(stage, who, CLUSTER)
        if state != "accepted":
            job = str(next(jobs))
            stage.agents[CLUSTER].report(task_id, state, job_id=job, node="n1")
            stage.known.setdefault("job_id", []).append(job)
        tasks.append(task_id)
    other = [_submit(stage, who, OTHER_CLUSTER) for who in USERS for _ in range(4)]
    for task_id in other:
        stage.agents[OTHER_CLUSTER].report(task_id, "running", job_id="7", node="n2")
        stage.call("POST", routes.TASK_HOLD.format(task_id=task_id), "root")
        stage.call("POST", routes.TASK_CANCEL.format(task_id=task_id), "root")
    quiet = _ask_in_vain(stage, other[:3])
    stage.kept_tokens = frozenset(token["token_id"] for who in USERS for token in stage.call("GET", routes.TOKENS, who))
    tokens = [stage.call("POST", routes.TOKENS, who, json={"name": "x"})["token_id"] for who in USERS for _ in range(5)]
    commands = [command["command_id"] for command in stage.agents[OTHER_CLUSTER].poll(0)]
    stage.known |= {
        "task_id": [*tasks, *other], "token_id": tokens, "username": [*USERS], "command_id": commands,
        "file_name": ["swagger-ui.css", "docs.js"], "path": ["model.bin", "sub/predictions.csv"],
    }  # fmt: skip
    stack.enter_context(stage.agents[CLUSTER].answering())
    stack.enter_context(stage.agents[OTHER_CLUSTER].answering(leave_alone=quiet, only_questions=True))


def _submit(stage: Stage, who: str, cluster: str) -> str:
    infra = {"infra_config": {"instance_type": "cpu", "image_name": "sklearn"}}
    document = json.dumps(config(runner_location=cluster, clusters={cluster: infra}))
    files = {"config": (None, document, "application/json"), "files": ("script.py", SCRIPT)}
    return str(stage.call("POST", routes.TASKS, who, files=files)["task_id"])


def _ask_in_vain(stage: Stage, task_ids: list[str]) -> frozenset[str]:
    """Ask for logs and go away: the questions stay open, so that an agent's PUT has something to answer."""
    for task_id in task_ids:
        with contextlib.suppress(requests.Timeout):
            requests.get(
                stage.url + routes.TASK_LOG.format(task_id=task_id),
                headers={"Authorization": f"Bearer {stage.tokens['root']}"}, timeout=0.3,
            )  # fmt: skip
    return frozenset(
        command["command_id"] for command in stage.agents[OTHER_CLUSTER].poll(0) if command["kind"] == "send_bytes"
    )
