"""A stream of tasks of every kind, handed in by several clients at once; each knows how its task must end."""

import contextlib
import json
import math
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import requests

from chaos.ledger import Expectation, Shown, render_script
from chaos.load.spoil import forestall, kill_and_write_exit, spoil_bundle
from chaos.load.watch import Watch
from chaos.product.house import ChaosHouse
from tests.e2e.house import SEED

__all__ = ["FORESTALLED", "KINDS", "LATE", "ROTTEN", "HandedIn", "Kind", "Stream", "read_shown"]

_POLL_S = 0.15


@dataclass(frozen=True)
class Kind:
    """A kind of task: what its code does after it said that it started, and how it must end."""

    name: str
    ends: frozenset[str]
    code: str = ""
    weight: int = 1
    partition: str = "cpu"
    cancel_when: str = ""  #: the state in which its user cancels it; `accepted`: at once
    hold_s: float = 0.0  #: its user holds it at once, and releases it so much later
    reruns: int = 0  #: how often its user allows that its code starts again, after its job was lost
    way: str = "https"
    extra: Mapping[str, object] = field(default_factory=dict)  #: further fields of the config


KINDS = (
    Kind("good", frozenset({"succeeded"}), weight=5),
    Kind("bad", frozenset({"failed"}), "sys.exit(3)"),
    Kind("longer", frozenset({"succeeded"}), "time.sleep(1)"),
    Kind("refused", frozenset({"rejected"}), partition="nowhere"),
    Kind("stopped", frozenset({"cancelled"}), "time.sleep(600)", cancel_when="running"),
    Kind("regretted", frozenset({"cancelled", "succeeded"}), cancel_when="accepted"),
    Kind("again", frozenset({"succeeded"}), "time.sleep(1)", reruns=1),
    Kind("held", frozenset({"succeeded"}), hold_s=1.0),
    Kind("dropped", frozenset({"succeeded"}), weight=2, way="drop"),
    Kind("dropped-wrong", frozenset({"rejected"}), way="drop", extra={"model_parms": {}}),
)
# Only when asked for: they hold the agent up, or last long.
ROTTEN = Kind("rotten", frozenset({"rejected", "succeeded"}), way="rotten")
FORESTALLED = Kind("forestalled", frozenset({"cancelled", "succeeded"}), way="forestalled")
LATE = Kind("late", frozenset({"failed"}), "time.sleep(600)", way="late")


@dataclass(frozen=True)
class HandedIn:
    """A task of the stream. began_s, ended_s: of the monotonic clock, before it was handed in and once it had ended."""

    kind: Kind
    began_s: float
    ended_s: float = math.inf


class Stream:
    """Clients that hand in tasks until they are stopped. `expected` grows with every task that was accepted."""

    def __init__(
        self, house: ChaosHouse, seed: int, *, kinds: tuple[Kind, ...], clients: int, timeout_s: float
    ) -> None:
        self.house, self.seed, self.kinds, self._timeout_s = house, seed, kinds, timeout_s
        self.ledger = house.folder / "ledger"
        self.expected: dict[str, Expectation] = {}
        self.handed_in: dict[str, HandedIn] = {}
        self.failures: list[str] = []
        self._losses, self._reruns = Counter[str](), Counter[str]()
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._wanted: queue.SimpleQueue[Kind] = queue.SimpleQueue()
        self._chosen: dict[int, Kind] = {}  # by client: what it is at
        self._agent_held = threading.Lock()
        self._watch = Watch(house)
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def start(self) -> None:
        """Let the clients begin."""
        self._watch.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each client see its task's end, and go."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._watch.stop()

    def dismiss(self) -> None:
        """Let the clients go without waiting for them: the trial has broken off, or is over."""
        self._stopping.set()
        self._watch.stop()

    def ask_for(self, kind: Kind) -> None:
        """Let the next free client hand in this kind, unless one is asked for already."""
        if self._wanted.empty():
            self._wanted.put(kind)

    def turn_to(self, *kinds: Kind) -> None:
        """Let the clients hand in these kinds from now on."""
        with self._lock:
            self.kinds = kinds

    def has_turned(self) -> bool:
        """Whether no client is at a task of another kind any more."""
        return all(self._chosen.get(number) in self.kinds for number in range(len(self._threads)))

    def allow(self, task_id: str, *ends: str, is_code_killed: bool = False, reruns: int = 0) -> None:
        """A fault befell this task, or a client handed it in: it may end like this, too.

        Each fault by which a job may be lost allows one more start, as often as the task's user allows a rerun.
        """
        with self._lock:
            self._losses[task_id] += "lost" in ends
            self._reruns[task_id] += reruns
            known = self.expected.get(task_id, Expectation(frozenset()))
            self.expected[task_id] = replace(
                known,
                ends=known.ends | set(ends),
                max_starts=1 + min(self._losses[task_id], self._reruns[task_id]),
                is_code_killed=known.is_code_killed or is_code_killed,
            )

    def _run(self, number: int) -> None:
        rng = random.Random(f"{self.seed}:{number}")  # noqa: S311 - a stream that can be replayed
        count = 0
        while not self._stopping.is_set():
            count += 1
            with self._lock:
                kind = self._chosen[number] = self._choose(rng)
            try:
                self._hand_in(kind, f"{number}-{count}")
            except (AssertionError, OSError, ValueError, KeyError, TypeError) as error:
                self.failures.append(f"{kind.name} {number}-{count}: {type(error).__name__}: {error}")

    def _choose(self, rng: random.Random) -> Kind:
        chosen = rng.choices(self.kinds, [kind.weight for kind in self.kinds])[0]
        try:
            return self._wanted.get_nowait()
        except queue.Empty:
            return chosen

    def _hand_in(self, kind: Kind, name: str) -> None:
        match kind.way:
            case "drop":
                self._drop(kind, name)
            case "rotten" | "forestalled":
                spoil = spoil_bundle if kind.way == "rotten" else forestall
                with self._agent_held, self.house.holding("agent"):
                    task_id = self._submit(kind, name)
                    spoil(self.house.spool, task_id)
                self.wait_final(task_id)
            case "late":
                task_id = self._submit(kind, name)
                kill_and_write_exit(self, task_id)
            case _:
                self._submit_and_follow(kind, name)

    def _submit(self, kind: Kind, name: str) -> str:
        began_s, script = time.monotonic(), render_script(self.ledger, kind.code)
        task_id = self.house.submit(script, key=f"{self.seed}-{name}", config=_config(kind))
        self._note(task_id, kind, began_s)
        return task_id

    def _note(self, task_id: str, kind: Kind, began_s: float) -> None:
        self.handed_in[task_id] = HandedIn(kind, began_s)
        self.allow(task_id, *kind.ends, reruns=kind.reruns)

    def _submit_and_follow(self, kind: Kind, name: str) -> None:
        task_id = self._submit(kind, name)
        if kind.cancel_when:
            self.wait(task_id, lambda shown: shown["final"] or kind.cancel_when in (shown["state"], "accepted"))
            self._ask_for(task_id, "cancel")
        if kind.hold_s:
            self._ask_for(task_id, "hold")
            time.sleep(kind.hold_s)
            self._ask_for(task_id, "release")
        self.wait_final(task_id)

    def _ask_for(self, task_id: str, request: Literal["cancel", "hold", "release"]) -> None:
        """Ask until the gateway says that it has the request, or that the task has ended."""
        until_s = time.monotonic() + self._timeout_s
        while time.monotonic() < until_s:
            with contextlib.suppress(requests.RequestException):
                if self.house.ask("POST", f"/v1/tasks/{task_id}/{request}").status_code in {200, 202, 409}:
                    return
            time.sleep(_POLL_S)

    def _drop(self, kind: Kind, name: str) -> None:
        """Copy a script and a config into drop/, say that they are whole, and follow the receipt."""
        began_s, drop = time.monotonic(), self.house.ground.drop or self.house.spool / "drop"
        script, config = drop / f"script-{name}.py", drop / f"task-{name}.json"
        script.write_text(render_script(self.ledger, kind.code), encoding="utf-8")
        config.write_text(json.dumps(_config(kind) | {"script_path": script.name}), encoding="utf-8")
        (drop / f"{config.name}.ready").touch()
        receipt = drop / f"{config.name}.receipt.json"
        until_s = time.monotonic() + self._timeout_s
        while not receipt.exists() and time.monotonic() < until_s:
            time.sleep(_POLL_S)
        task_id = json.loads(receipt.read_text(encoding="utf-8"))["task_id"]
        self._note(task_id, kind, began_s)
        self.wait_final(task_id)

    def wait_final(self, task_id: str) -> None:
        """Wait for a task's end, as `wait` does."""
        if self.wait(task_id, lambda shown: bool(shown["final"])):
            self.handed_in[task_id] = replace(self.handed_in[task_id], ended_s=time.monotonic())

    def wait(self, task_id: str, holds: Callable[[Mapping[str, object]], object]) -> bool:
        """Look at a task until something holds, or for so long that the judge will find it unended."""
        until_s = time.monotonic() + self._timeout_s
        with self._watch.watching(task_id):
            while time.monotonic() < until_s:
                shown = self._watch.rows.get(task_id)
                if shown is not None and holds(shown):
                    return True
                time.sleep(_POLL_S)
        return False


def _config(kind: Kind) -> dict[str, object]:
    infra = {"instance_type": kind.partition, "image_name": "image"}
    reruns = {"rerun_on": ["node_fail", "lost"], "rerun_limit": kind.reruns} if kind.reruns else {}
    return {**SEED, "clusters": {"atena02": {"infra_config": infra}}, **reruns, **kind.extra}


def read_shown(house: ChaosHouse) -> dict[str, Shown]:
    """What users are shown of every task."""
    rows = house.list_rows().items()
    return {task: Shown(row["state"], row["reason"], str(row["job_id"] or "")) for task, row in rows}
