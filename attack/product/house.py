"""A gateway as a process of its own account, with users, and agents' credentials for whoever wants to misuse them."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import requests

from attack.accounts import Account, give, make_accounts
from attack.product import processes
from attack.product.forged_agent import ForgedAgent
from attack.trial import Trial

__all__ = ["CLUSTER", "PASSWORD", "USERS", "House", "build_config", "open_house"]

CLUSTER = "atena"
USERS = {"ann": "user", "ben": "user", "eve": "admin"}
PASSWORD = "correct horse battery"  # noqa: S105 - of users that live for seconds


def build_config(**fields: object) -> dict[str, object]:
    """A task's config that is accepted; `fields` come in addition or instead."""
    infra = {"instance_type": "cpu", "image_name": "image"}
    clusters = {CLUSTER: {"infra_config": infra}}
    return {"runner_location": CLUSTER, "clusters": clusters, "script_path": "script.py", **fields}


@dataclass
class House:
    """The gateway's account is `gateway`; `ann` and `ben` own a spool and have an inbox each. guard: see Trial."""

    folder: Path
    guard: str
    accounts: dict[str, Account]
    settings: Sequence[str] = ()  #: lines of its config more
    umask: int = 0o022  #: of the gateway's processes
    url: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    _session: requests.Session = field(default_factory=requests.Session)
    _gateway: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """The gateway's own folder: its config, its database, its files."""
        return self.folder / "gateway"

    @property
    def log(self) -> Path:
        """What the gateway printed."""
        return self.folder / "gateway.log"

    @property
    def pid(self) -> int:
        """The gateway's process."""
        assert self._gateway is not None
        return self._gateway.pid

    def spool(self, name: str) -> Path:
        """The spool of an account."""
        return self.folder / f"spool-{name}"

    def inbox(self, name: str) -> Path:
        """The folder that the gateway writes for this agent."""
        return self.folder / "inboxes" / name

    def make(self) -> None:
        """Make the folders and the users."""
        self.home.mkdir()
        give(self.home, self.accounts["gateway"], 0o700)
        (self.folder / "inboxes").mkdir()
        give(self.folder / "inboxes", self.accounts["gateway"], 0o755)
        for name in ("ann", "ben"):
            (self.folder / name).mkdir()
            give(self.folder / name, self.accounts[name], 0o700)
            self.make_spool_of(name, name)
        self._choose_port()
        adding = [(["user", "add", name, "--role", role, "--password-stdin"], PASSWORD) for name, role in USERS.items()]
        tokens = [(["token", "create", name, "--json"], "") for name in USERS]
        said = self.command([(["migrate"], ""), *adding, *tokens])
        self.tokens = {name: json.loads(text)["token"] for name, text in zip(USERS, said[-3:], strict=True)}

    def _choose_port(self) -> None:
        """A port that is free now."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        data = [] if any(line.startswith("data_dir") for line in self.settings) else [f'data_dir = "{self.home}/data"']
        lines = [
            'host = "127.0.0.1"', f"port = {port}", *data, 'name = "attacked"',
            "publish_interval_s = 0.2", *self.settings,
        ]  # fmt: skip
        (self.home / "gateway.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def make_spool_of(self, name: str, owner: str) -> None:
        """The layout for two accounts: the owner's spool, and the gateway's inbox, which their common group reads."""
        account = self.accounts[owner]
        self.spool(name).mkdir()
        give(self.spool(name), account, 0o700)
        self.command([(["spool", "make", str(self.inbox(name)), "--group", str(account.groups[0])], "")])

    def command(self, calls: Sequence[tuple[Sequence[str], str]]) -> list[str]:
        """Run commands of `mltm-gateway`, each with its standard input; return what each printed."""
        config = ["--config", str(self.home / "gateway.toml")]
        told = [([*argv, *([] if argv[0] == "spool" else config)], f"{stdin}\n") for argv, stdin in calls]
        batch = json.dumps(told)
        said: list[str] = json.loads(
            processes.call(self.accounts["gateway"], self.guard, ["batch", batch], home=self.home, umask=self.umask)
        )
        return said

    def start_gateway(self) -> None:
        """Start it, and wait until it listens. If somebody else has taken the port meanwhile, it gets another."""
        while not self._start_once():
            if "Address already in use" not in self._read_end():
                raise RuntimeError(f"the gateway ended: {self._read_end()}")
            self.log.unlink()
            self._choose_port()

    def _start_once(self) -> bool:
        """True if it listens, False if it ended."""
        began = self.log.stat().st_size if self.log.exists() else 0
        words = ["gateway", "serve", "--config", str(self.home / "gateway.toml")]
        process = processes.start(
            self.accounts["gateway"], self.guard, words, home=self.home, log=self.log, umask=self.umask
        )
        self._gateway = process
        said = partial(self._has_said, "gateway_started", began)
        processes.wait_until(lambda: process.poll() is not None or said(), "the gateway listens")
        return process.poll() is None

    def _has_said(self, event: str, began: int) -> bool:
        return event.encode() in self.log.read_bytes()[began:]

    def _read_end(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:] if self.log.exists() else ""

    def stop_gateway(self) -> bool:
        """Ask it to end. True if it did, so that it did not have to be killed."""
        gateway, self._gateway = self._gateway, None
        return gateway is None or processes.end(gateway)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def make_codes(self, *options: Sequence[str]) -> list[str]:
        """Make enrolment codes, one for each list of options of `agent code`."""
        said = self.command([(["agent", "code", "--cluster", CLUSTER, "--json", *each], "") for each in options])
        return [json.loads(text)["code"] for text in said]

    def forge_agents(self, *names: str) -> dict[str, ForgedAgent]:
        """Enrol agents of these users by hand: each is a credential, a spool's id and its key, and no process."""
        codes = self.make_codes(*(["--owner", name, "--inbox", str(self.inbox(name))] for name in names))
        return {name: self.enrol(code) for name, code in zip(names, codes, strict=True)}

    def enrol(self, code: str, spool_id: str = "", **more: str) -> ForgedAgent:
        """Use a code as an agent does. more: of its request. Raises requests.HTTPError if the gateway refuses it."""
        chosen = spool_id or secrets.token_hex(16)
        body = {"code": code, "host": "login1", "unix_user": "somebody", "spool_id": chosen, "version": "0", **more}
        answer = requests.post(f"{self.url}/v1/agent/enrol", json=body, timeout=30)
        answer.raise_for_status()
        return ForgedAgent(self.url, answer.json()["credential"], chosen, answer.json()["spool_key"])

    def ask(self, user: str, method: str, path: str, **options: object) -> requests.Response:
        """Ask the gateway as a user; "" for nobody."""
        given = options.pop("headers", {})
        assert isinstance(given, Mapping)
        headers = {**({"Authorization": f"Bearer {self.tokens[user]}"} if user else {}), **given}
        timeout_s = options.pop("timeout", 60)
        return self._session.request(method, self.url + path, headers=headers, timeout=timeout_s, **options)  # type: ignore[arg-type] # requests' own names

    def submit(self, user: str, config: Mapping[str, object] | None = None, script: str = "print(1)\n") -> str:
        """Submit a task; return its id. Raises requests.HTTPError."""
        files = {
            "config": ("config.json", json.dumps(config or build_config())),
            "script": ("script.py", script),
        }
        answer = self.ask(user, "POST", "/v1/tasks", files=files)
        answer.raise_for_status()
        return str(answer.json()["task_id"])

    def read_memory_bytes(self) -> int:
        """What the gateway's process holds in memory now, and its highest point since it began (the larger)."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return max(int(line.split()[1]) for line in text.splitlines() if line.startswith(("VmRSS", "VmHWM"))) * 1024


@contextlib.contextmanager
def open_house(trial: Trial, *settings: str, umask: int = 0o022) -> Iterator[House]:
    """Open a house whose gateway runs; take it down at the end. settings: lines of its config more."""
    accounts = make_accounts("gateway", "ann", "ben", shared=[("gateway", "ann"), ("gateway", "ben")])
    house = House(trial.folder, trial.guard, accounts, settings, umask)
    os.umask(0o022)
    house.make()
    try:
        house.start_gateway()
        yield house
    finally:
        house.stop_gateway()
        house.close()
