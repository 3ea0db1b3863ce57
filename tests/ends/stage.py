"""All cases of one lab at once: tasks through the real gateway and agent, and what is done to each while it is shown.

Each case is a generator that yields what it waits for; one loop goes round and writes down what a user is shown.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.slurm.layout import Lab
from tests.e2e.house import SEED, WAITS, House
from tests.lab.calls import call

__all__ = ["BEAT_STILL_S", "Case", "Condition", "EndsHouse", "Play", "Stage", "Task", "lasting", "perform"]

BEAT_STILL_S = 20
MEMORY = "200M"  # so that many jobs fit on a node of the lab
_ROUND_S = 0.4
_SCRIPT = """
import os, signal, sys, time
_folder = {folder!r}
def mark(word):
    line = os.open(_folder + "/" + os.environ["MLTM_TASK_ID"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(line, (word + "\\n").encode())
    os.close(line)
def told_to_go(): return os.path.exists(_folder + "/" + os.environ["MLTM_TASK_ID"] + ".go")
open(_folder + "/" + os.environ["MLTM_TASK_ID"] + ".pid", "w").write(str(os.getpid()))
mark("start")
{code}
"""


class EndsHouse(House):
    """A House that tries again soon what Slurm refused."""

    waits = WAITS + "retry_max_s = 2\nlimit_retry_s = 2\n"


Condition = Callable[[], object]
Play = Callable[["Stage"], Iterator[Condition]]


@dataclass(frozen=True)
class Case:
    """An end of a job. `play`: what is done to it; `marks`: what its code has written, and how often.

    `state`: a regular expression of all of it, for where Slurm itself ends the job in one way or another.
    `reason` and `told`: words that a user is shown at the end and before it (regular expressions by `re.search`).
    """

    name: str
    code: str
    state: str
    reason: str
    marks: str
    play: Play
    told: tuple[str, ...] = ()
    partition: str = "calm"
    resources: dict[str, Any] = field(default_factory=dict)
    account: str | None = None


@dataclass
class Task:
    """A task under way and everything that users were shown of it."""

    task_id: str
    row: dict[str, Any] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    def see(self, row: dict[str, Any]) -> None:
        note = row["note"]
        line = f"{row['state']} {note['kind']}: {note['message']} | {row['reason']}"
        self.row = row
        if self.shown[-1:] != [line]:
            self.shown.append(line)


@dataclass
class Stage:
    """What a play may do with its case's task, and with Slurm."""

    house: House
    lab: Lab
    case: Case
    folder: Path
    among: Mapping[str, "Stage"]
    tasks: list[Task] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  #: what a play met that must not be
    is_played: bool = False

    @property
    def task(self) -> Task:
        """The task that the case is about; a play may have handed in others before it."""
        return self.tasks[-1]

    def hand_in(self) -> Task:
        infra = {"instance_type": self.case.partition, "image_name": "image", "account": self.case.account}
        infra = {name: value for name, value in infra.items() if value is not None}
        config: dict[str, object] = {
            **SEED,
            "clusters": {"atena02": {"infra_config": infra}},
            "resources": {"memory": MEMORY, **self.case.resources},
        }
        script = _SCRIPT.format(folder=str(self.folder), code=self.case.code)
        self.tasks.append(Task(self.house.submit(script, config=config)))
        return self.task

    def read_marks(self, task: Task | None = None) -> str:
        path = self.folder / (task or self.task).task_id
        return " ".join(path.read_text().split()) if path.exists() else ""

    def has_started(self, task: Task | None = None) -> Condition:
        return lambda: self.read_marks(task)

    def has_ended(self, task: Task | None = None) -> Condition:
        chosen = task or self.task
        return lambda: chosen.row.get("final")

    def is_over(self) -> bool:
        return self.is_played and all(task.row.get("final") for task in self.tasks)

    def is_told(self, message: str, task: Task | None = None) -> Condition:
        chosen = task or self.task
        return lambda: chosen.shown and message in chosen.shown[-1]

    def is_in_slurm(self, *states: str) -> Condition:
        """True while Slurm shows the task's job in one of these states, and the agent knows its id."""
        return lambda: self.job_id and self.read_slurm("%T") in states

    def read_slurm(self, column: str) -> str:
        return call(self.lab, "squeue", "-h", "-t", "all", "-j", self.job_id, "-o", column).stdout.strip()

    def list_jobs(self) -> list[str]:
        """The jobs of this task that Slurm still has to start or runs."""
        listed = call(self.lab, "squeue", "-h", "-o", "%i", f"--name=mltm-{self.task.task_id}-a01")
        assert listed.returncode == 0, listed.stderr
        return listed.stdout.split()

    @property
    def job_id(self) -> str:
        return str(next((each["job_id"] for each in self.task.row.get("attempts", []) if each["job_id"]), ""))

    @property
    def control(self) -> Path:
        return self.house.spool / "tasks" / self.task.task_id / "control"

    def go(self, task: Task | None = None) -> None:
        """Let code that waits for it go on."""
        (self.folder / f"{(task or self.task).task_id}.go").touch()

    def signal_code(self, number: int) -> None:
        """Signal the code's own process from outside."""
        os.kill(int((self.folder / f"{self.task.task_id}.pid").read_text()), number)

    def ask(self, word: str) -> None:
        """Cancel, hold or release as its user does."""
        answer = self.house.ask("POST", f"/v1/tasks/{self.task.task_id}/{word}")
        assert answer.status_code in {200, 202}, answer.text

    def slurm(self, *argv: str, may_fail: bool = False) -> str:
        """Run a command of Slurm's as an admin does."""
        done = call(self.lab, *argv)
        assert may_fail or done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout + done.stderr

    def set_partition(self, state: str) -> None:
        self.slurm("scontrol", "update", f"partitionname={self.case.partition}", f"state={state}")


def lasting(seconds: float) -> Condition:
    """True once it has been waited for so long: for what must not happen in the meantime."""
    until_s = time.monotonic() + seconds
    return lambda: time.monotonic() >= until_s


def perform(stages: Sequence[Stage], house: House, *, deadline_s: float) -> None:
    """Play all cases at once, until each has been played and all tasks have ended, or the time is up."""
    plays = {stage.case.name: stage.case.play(stage) for stage in stages}
    waits: dict[str, Condition] = dict.fromkeys(plays, lambda: True)
    until_s = time.monotonic() + deadline_s
    while not all(stage.is_over() for stage in stages):
        if time.monotonic() >= until_s:
            return
        time.sleep(_ROUND_S)
        rows = house.list_rows()
        for task in [task for stage in stages for task in stage.tasks if task.task_id in rows]:
            task.see(rows[task.task_id])
        for stage in stages:
            if not stage.is_played and waits[stage.case.name]():
                waits[stage.case.name] = _go_on(stage, plays[stage.case.name])


def _go_on(stage: Stage, play: Iterator[Condition]) -> Condition:
    try:
        coming = next(play, None)
    except AssertionError as error:  # one wrong case leaves the others to be looked at
        stage.wrong.append(str(error))
        coming = None
    stage.is_played = coming is None
    return coming or (lambda: True)
