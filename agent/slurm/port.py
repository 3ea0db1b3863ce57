"""The port between the agent's decisions and Slurm. All calls block, but never longer than their time limit."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agent.slurm.request import SubmitRequest
from agent.slurm.values import (
    Accounting,
    CancelOutcome,
    JobList,
    NoAccounting,
    NotAsked,
    PollFailed,
    SbatchAnswer,
    SlurmFacts,
)
from mltm.contract.ids import JobId

__all__ = ["SlurmPort"]


class SlurmPort(Protocol):
    """Slurm as the agent sees it."""

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each command was called since the start."""
        ...

    def submit_many(
        self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0
    ) -> Iterator[tuple[str, SbatchAnswer]]:
        """Submit, and yield each answer with its job's name; `deferred` if the bucket or `wait_s` does not allow it.

        An answer is yielded as soon as Slurm has given it, whatever happens to the others.
        """
        ...

    def list_jobs(self, *, spare: int = 0) -> JobList | PollFailed | NotAsked:
        """Ask squeue once for every job of this user; only if the bucket then has `spare` calls left."""
        ...

    def account(
        self, job_names: Sequence[str], *, since: datetime
    ) -> Accounting | NoAccounting | PollFailed | NotAsked:
        """Ask sacct for the jobs of these names submitted or alive since then (aware)."""
        ...

    def cancel(
        self, jobs: Sequence[tuple[JobId, str]], *, signal: str | None = None, listed: JobList | None = None
    ) -> CancelOutcome:
        """Cancel (or signal) jobs by id and name; a job of that id with another name is not touched.

        listed: a good poll of this moment, if the caller has one; otherwise many jobs cost one more squeue.
        """
        ...

    def describe(self) -> SlurmFacts | PollFailed | NotAsked:
        """Ask scontrol for the version and the settings that the waits depend on."""
        ...

    def close(self) -> None:
        """End what still runs. A submission that is cut off here counts as ambiguous after a restart."""
        ...
