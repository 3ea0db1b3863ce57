"""Plain jobs of the same user that are none of our business, beside a trial on a real Slurm: a ledger of their own.

They show what Slurm does to anybody's jobs, and that the agent leaves them alone while their ids and ours are mixed up.
"""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.ledger import Shown, Start
from chaos.real_slurm.slurm_log import LogLine, read_controller_log
from lab.slurm.daemons import run_client
from lab.slurm.layout import Lab

__all__ = ["Foreign", "ForeignJob", "find_adopted", "find_cancelled", "leave_out_foreign", "running_foreign"]

_CLIENTS = 2
_SECONDS = (0, 1, 4, 8)
_DECOY = "other-decoy"
_MAX_WAITING, _WAITING_S = 6, 20.0  #: so many that were submitted so lately and wait: no more meanwhile
_LOG_DELAY_S = 0.5  #: between what slurmctld did and its log's line about it, at most


@dataclass(frozen=True)
class ForeignJob:
    """A job that sbatch gave an id to, between two moments (seconds since 1970)."""

    name: str
    job_id: str
    asked_s: float
    answered_s: float


@dataclass
class Foreign:
    """The stream of them."""

    lab: Lab
    ledger: Path
    seed: int
    jobs: list[ForeignJob] = field(default_factory=list)
    unanswered: dict[str, tuple[float, float]] = field(default_factory=dict)  #: asked and gave up, by name; no id
    stopping: threading.Event = field(default_factory=threading.Event)

    def submit(self, name: str, seconds: int) -> ForeignJob | None:
        """Submit one as anybody would; None if slurmctld gave no id."""
        said = f"echo {name} >>'{self.ledger}'"
        argv = ["sbatch", "--parsable", f"--job-name={name}", "--output=/dev/null", "--no-requeue"]
        asked_s = time.time()
        self.unanswered[name] = (asked_s, math.inf)
        done = run_client(self.lab, [*argv, "--wrap", f"{said}; sleep {seconds}"])
        job_id = done.stdout.strip()
        if done.returncode or not job_id.isdecimal():
            self.unanswered[name] = (asked_s, time.time())
            return None
        self.jobs.append(job := ForeignJob(name, job_id, asked_s, time.time()))
        del self.unanswered[name]
        return job

    def find_ours(self, log: Sequence[LogLine]) -> list[LogLine]:
        """What slurmctld accepted that can only have been ours."""
        return leave_out_foreign(log, list(self.jobs), list(self.unanswered.values()))

    def _read_starts(self) -> Counter[str]:
        return Counter(self.ledger.read_text(encoding="ascii").split()) if self.ledger.exists() else Counter()

    def _count_waiting(self) -> int:
        """Slurm has more of them than it starts; of those that a crash made it forget, nobody hears again."""
        starts, since_s = self._read_starts(), time.time() - _WAITING_S
        return sum(1 for job in self.jobs if job.asked_s > since_s and not starts[job.name])

    def count(self) -> Counter[str]:
        """What became of them: a Slurm that is crashed loses some and starts some twice, and nobody is told."""
        starts = self._read_starts()
        names = {job.name for job in self.jobs if job.name != _DECOY}
        return Counter({
            "foreign jobs": len(names),
            "foreign lost": len(names - set(starts)),
            "foreign started twice": sum(1 for name in names if starts[name] > 1),
        })  # fmt: skip

    def find_harm(self, shown: Mapping[str, Shown], starts: Sequence[Start]) -> list[str]:
        """What we did to them that we must not do. The decoy, which we cancelled on purpose, has to be seen."""
        log = read_controller_log(self.lab)
        cancelled = find_cancelled(self.jobs, log)
        if _DECOY not in cancelled:
            return [f"a cancelled job was not seen in {self.lab.log_of('slurmctld')}: nothing is known"]
        harm = [f"{name}: a foreign job, and it was cancelled" for name in cancelled if name != _DECOY]
        return harm + find_adopted(shown, starts, self.jobs, log)

    def cancel_decoy(self) -> None:
        """Cancel one ourselves, so that it is known that a cancel would be seen."""
        if (decoy := self.submit(_DECOY, 60)) is not None:
            run_client(self.lab, ["scancel", decoy.job_id])

    def run(self, number: int) -> None:
        """One client: submits until it is told to stop."""
        rng = random.Random(f"foreign:{self.seed}:{number}")  # noqa: S311 - a stream that can be replayed
        count = 0
        while not self.stopping.wait(rng.uniform(0.3, 1.5)):
            if self._count_waiting() >= _MAX_WAITING:
                continue
            count += 1
            self.submit(f"other-{number}-{count}", rng.choice(_SECONDS))


@contextmanager
def running_foreign(lab: Lab, folder: Path, seed: int) -> Iterator[Foreign]:
    """Keep a stream of foreign jobs going for a `with` block."""
    foreign = Foreign(lab, folder / "foreign-ledger", seed)
    foreign.cancel_decoy()
    clients = [threading.Thread(target=foreign.run, args=(number,)) for number in range(_CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield foreign
    finally:
        foreign.stopping.set()
        for client in clients:
            client.join()


def leave_out_foreign(
    log: Sequence[LogLine], jobs: Sequence[ForeignJob], unanswered: Sequence[tuple[float, float]]
) -> list[LogLine]:
    """The accepted jobs whose id no foreign job was given, and that came while none waited in vain for one."""
    return [
        line
        for line in log
        if line.what == "accepted"
        and not any(_is_answer(job, line) for job in jobs)
        and not any(asked_s <= line.at_s <= gave_up_s for asked_s, gave_up_s in unanswered)
    ]


def find_cancelled(jobs: Sequence[ForeignJob], log: Sequence[LogLine]) -> list[str]:
    """The foreign jobs for which slurmctld was asked to cancel the id while it was theirs."""
    found = []
    for job in jobs:
        mine = [index for index in _list_accepted(log, job.job_id) if _is_answer(job, log[index])]
        if not mine:
            continue
        later = [line.what for line in log[mine[-1] + 1 :] if line.job_id == job.job_id]
        until = later.index("accepted") if "accepted" in later else len(later)
        if "cancelled" in later[:until]:
            found.append(job.name)
    return found


def find_adopted(
    shown: Mapping[str, Shown], starts: Sequence[Start], jobs: Sequence[ForeignJob], log: Sequence[LogLine]
) -> list[str]:
    """The tasks that are shown with a job in which they did not run, or with one that was only ever foreign."""
    ran: dict[str, set[str]] = {}
    for start in starts:
        ran.setdefault(start.task_id, set()).add(start.job_id)
    found = []
    for task_id, row in shown.items():
        if row.job_id and task_id in ran and row.job_id not in ran[task_id]:
            found.append(f"{task_id}: shown with job {row.job_id}, and it ran in {' and '.join(sorted(ran[task_id]))}")
        elif row.job_id and task_id not in ran and not _has_been_ours(row.job_id, jobs, log):
            found.append(f"{task_id}: shown with job {row.job_id}, which was never ours")
    return found


def _has_been_ours(job_id: str, jobs: Sequence[ForeignJob], log: Sequence[LogLine]) -> bool:
    accepted = [log[index] for index in _list_accepted(log, job_id)]
    return any(not any(_is_answer(job, line) for job in jobs) for line in accepted)


def _list_accepted(log: Sequence[LogLine], job_id: str) -> list[int]:
    return [index for index, line in enumerate(log) if (line.what, line.job_id) == ("accepted", job_id)]


def _is_answer(job: ForeignJob, line: LogLine) -> bool:
    return line.job_id == job.job_id and job.asked_s - 0.001 <= line.at_s <= job.answered_s + _LOG_DELAY_S
