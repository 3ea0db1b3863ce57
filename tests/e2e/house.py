"""The whole product as processes: gateway and agent by their commands, on a Slurm of the lab. Kills are real."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import requests

_ANSWERS_WITHIN_S = 600.0
ADMIN_PASSWORD = "five grey herons"
BIN = Path(sys.executable).parent
SEED = {
    "dataset_name": "wine",
    "model_params": {"n_estimators": 2, "random_state": 42},
    "runner_location": "atena02",
    "experiment_name": "atena_test",
    "script_path": "path/to/script.py",
    "clusters": {"atena02": {"infra_config": {"instance_type": "cpu", "image_name": "image"}}},
}
PLAIN = ('runtime = "none"', f'images = {{ image = "{sys.executable}" }}')
# The protocol's waits, in seconds instead of minutes: economy only, but for the beat, which the tests do not shorten
# below what a loaded machine needs.
WAITS = """
[waits]
rescan_s = 2
glance_s = 0.5
poll_soon_s = 1
fence_after_s = 4
late_accept_s = 4
no_claim_s = 30
unlisted_s = 5
beat_still_s = 20
look_again_s = 2
beat_every_s = 2
retry_first_s = 1
drop_quiet_s = 1
drop_look_s = 0.3
drop_give_up_s = 3
heartbeat_s = 2
"""
HURRIED_SLURM = """
poll_interval_s = 2
sbatch_bucket = { burst = 50, per_second = 50 }
query_bucket = { burst = 50, per_second = 5 }
"""


def run(*argv: str, stdin: str = "", **env: str) -> str:
    program = [str(BIN / argv[0]), *argv[1:]]
    full = {**os.environ, **env}
    done = subprocess.run(program, input=stdin, capture_output=True, text=True, check=False, env=full)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(
    holds: Callable[[], bool], what: str, deadline_s: float = 60.0, tell: Callable[[], str] = lambda: ""
) -> None:
    """Wait for it. `tell` describes the scene of a failure."""
    until_s = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < until_s, f"not within {deadline_s} s: {what}\n{tell()}"
        time.sleep(0.05)


class House:
    """One gateway, one agent, one spool. `site`: lines of the agent's config, in place of runtime `none`."""

    waits, slurm = WAITS, HURRIED_SLURM

    def __init__(
        self, folder: Path, slurm_env: dict[str, str], site: Sequence[str] = PLAIN, *, in_a_hurry: bool = True
    ) -> None:
        self.folder, self.spool, self._in_a_hurry = folder, folder / "spool", in_a_hurry
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        (folder / "datasets").mkdir()
        (folder / "datasets" / "wine.csv").write_text("a,b\n1,2\n")
        self._write_configs(slurm_env, site)
        config = ("--config", str(folder / "gateway.toml"))
        add_user = ("mltm-gateway", "user", "add", "admin", "--role", "admin", "--password-stdin", *config)
        run(*add_user, stdin=f"{ADMIN_PASSWORD}\n")
        self.token = json.loads(run("mltm-gateway", "token", "create", "admin", "--json", *config))["token"]
        self.start("gateway")
        wait_until(self._answers, "the gateway answers")
        asked = ("--cluster", "atena02", "--owner", "admin", "--spool", str(self.spool), "--json", *config)
        code = json.loads(run("mltm-gateway", "agent", "code", *asked))["code"]
        run("mltm-agent", "enroll", "--config", str(folder / "agent.toml"), "--code-stdin", stdin=code + "\n")
        self.start("agent")

    def _write_configs(self, slurm_env: dict[str, str], site: Sequence[str]) -> None:
        port = self.url.rpartition(":")[2]
        gateway = f'host = "127.0.0.1"\nport = {port}\ndata_dir = "{self.folder}/gateway"\nname = "test"\n'
        (self.folder / "gateway.toml").write_text(gateway)
        lines = [
            f'spool = "{self.spool}"',
            'cluster = "atena02"',
            f'gateway_url = "{self.url}"',
            f'credential_file = "{self.folder}/credential"',
            f'datasets_dir = "{self.folder}/datasets"',
            *site,
            self.waits if self._in_a_hurry else "",
            "[slurm]",
            self.slurm if self._in_a_hurry else "",
        ]
        if "SLURM_CONF" in slurm_env:
            lines.append(f'conf = "{slurm_env["SLURM_CONF"]}"')
        if "PATH" in slurm_env:
            lines.append(f'path = "{slurm_env["PATH"].partition(":")[0]}"')
        (self.folder / "agent.toml").write_text("\n".join(lines) + "\n")

    def start(self, part: str) -> None:
        word = {"gateway": "serve", "agent": "run"}[part]
        argv = [str(BIN / f"mltm-{part}"), word, "--config", str(self.folder / f"{part}.toml")]
        with (self.folder / f"{part}.log").open("ab") as log:
            self._processes[part] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "COLUMNS": "200"}
            )

    def kill(self, part: str) -> None:
        self._processes[part].send_signal(signal.SIGKILL)
        self._processes[part].wait()

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        return False

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}  # type: ignore[dict-item] # a dict
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)  # type: ignore[arg-type] # requests' own names

    def submit(self, script: str, *, key: str = "", config: dict[str, object] | None = None) -> str:
        """Submit until the gateway has answered; the key makes a repetition harmless. Raises TimeoutError."""
        files = {"config": ("config.json", json.dumps(config or SEED)), "script": ("script.py", script)}
        headers = {"Idempotency-Key": key} if key else {}
        until_s = time.monotonic() + _ANSWERS_WITHIN_S
        while time.monotonic() < until_s:
            try:
                answer = self.ask("POST", "/v1/tasks", files=files, headers=headers)
            except requests.RequestException:
                if not key:
                    raise
                time.sleep(0.1)
                continue
            if answer.status_code >= 500 and key:
                time.sleep(0.1)
                continue
            assert answer.status_code in {200, 201}, answer.text
            return str(answer.json()["task_id"])
        raise TimeoutError(f"The gateway did not take task {key} within {_ANSWERS_WITHIN_S:.0f} s.")

    def read(self, task_id: str) -> dict[str, object]:
        task: dict[str, object] = self.ask("GET", f"/v1/tasks/{task_id}").json()
        return task

    def wait_final(self, task_id: str, deadline_s: float = 60.0) -> dict[str, object]:
        wait_until(lambda: bool(self.read(task_id)["final"]), f"task {task_id} ends", deadline_s)
        return self.read(task_id)

    def wait_state(self, task_id: str, state: str, deadline_s: float = 60.0) -> None:
        wait_until(lambda: self.read(task_id)["state"] == state, f"task {task_id} is {state}", deadline_s)

    def list_states(self) -> dict[str, str]:
        return {task: str(row["state"]) for task, row in self.list_rows().items()}

    def list_rows(self, most: int = sys.maxsize) -> dict[str, dict[str, str]]:
        """The newest tasks by id, at least `most` of them where there are so many."""
        rows: dict[str, dict[str, str]] = {}
        before = ""
        while True:
            page = self.ask("GET", f"/v1/tasks?limit=100{before}").json()
            rows |= {task["task_id"]: task for task in page["tasks"]}
            if not page.get("next") or len(rows) >= most:
                return rows
            before = f"&before={page['next']}"


@contextlib.contextmanager
def open_house(
    folder: Path, slurm_env: dict[str, str], site: Sequence[str] = PLAIN, *, in_a_hurry: bool = True
) -> Iterator[House]:
    house = House(folder, slurm_env, site, in_a_hurry=in_a_hurry)
    try:
        yield house
    finally:
        house.stop()
