"""Slurm itself, behind agent/slurm/port.py: builds the argv, minds the lanes, runs the program, reads the answer."""

import contextlib
import os
import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, as_completed
from datetime import datetime
from types import MappingProxyType
from typing import Final

import structlog

from agent.settings import SlurmSettings
from agent.slurm import commands, parse
from agent.slurm.errors import ExtraTexts, is_gone, is_rate_limit, read_message
from agent.slurm.rate_limits import Lane, TokenBucket
from agent.slurm.request import SubmitRequest
from agent.slurm.shell import CommandResult, run_command
from agent.slurm.values import (
    Accounting,
    AccountingLine,
    CancelOutcome,
    JobList,
    NoAccounting,
    NotAsked,
    PollFailed,
    SbatchAnswer,
    SlurmFacts,
)
from mltm.contract.ids import JobId
from mltm.runtime.clock import Clock

__all__ = ["Slurm"]

SBATCH_THREADS: Final = 4
MAX_PER_CALL: Final = 100  #: job names or ids in one argv
GUARDED_CANCELS: Final = 3  #: up to here one scancel each, guarded by its name; more are checked against one squeue
_TOO_OFTEN = "Slurm was asked often enough for now (the agent's query_bucket is empty); it will be asked again."
_log = structlog.get_logger("agent.slurm")


class Slurm:
    """The real one. `outer` is the agent's own environment, of which only a few names reach Slurm."""

    def __init__(self, settings: SlurmSettings, outer: Mapping[str, str], clock: Clock) -> None:
        self._settings = settings
        self._extra = ExtraTexts(settings.extra_transient, settings.extra_limit, settings.extra_permanent)
        self._environments = {
            is_submission: commands.build_environment(
                outer, path=settings.path, conf=settings.conf, keep=settings.keep_variables, is_submission=is_submission
            )
            for is_submission in (True, False)
        }
        for name in settings.keep_variables:
            if name not in outer:
                _log.warning("kept_variable_not_set", name=name, message="Set it where the agent is started.")
        self._sbatch_calls = Lane("sbatch", TokenBucket(settings.sbatch_bucket, clock.boot_s), SBATCH_THREADS)
        self._queries = Lane("query", TokenBucket(settings.query_bucket, clock.boot_s), 1)
        self._stop = threading.Event()
        self._under_way: dict[str, Future[SbatchAnswer]] = {}
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each command was called since the start."""
        with self._lock:
            return MappingProxyType(dict(self._calls))

    def submit(self, request: SubmitRequest) -> SbatchAnswer:
        """Submit one job; `deferred` where the bucket is empty. Blocks until sbatch ends, 300 s at most by default."""
        return dict(self.submit_many([request], wait_s=self._settings.sbatch_timeout_s + 30))[request.job_name]

    def submit_many(
        self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0
    ) -> Iterator[tuple[str, SbatchAnswer]]:
        """Submit, several at a time; give each answer with its job's name, as soon as it is there.

        `deferred`: the bucket is empty, or sbatch still runs after `wait_s`. Then pass the request again: a call that
        is under way is waited for and not started twice.
        """
        for request in requests:
            self._start(request)
        waiting = {request.job_name: self._under_way.get(request.job_name) for request in requests}
        names = {future: name for name, future in waiting.items() if future is not None}
        with contextlib.suppress(TimeoutError):
            for future in as_completed(names, timeout=wait_s):
                del waiting[names[future]]
                yield names[future], self._collect(names[future], future)
        for name, under_way in waiting.items():
            yield name, self._collect(name, under_way)

    def _start(self, request: SubmitRequest) -> None:
        if request.job_name in self._under_way:
            return
        future = self._sbatch_calls.start(lambda: self._submit_now(request))
        if future is not None:
            self._under_way[request.job_name] = future

    def _collect(self, job_name: str, future: "Future[SbatchAnswer] | None") -> SbatchAnswer:
        if future is None:
            return SbatchAnswer("deferred", message="Waiting for its turn: the agent's sbatch_bucket is empty.")
        if not future.done():
            return SbatchAnswer("deferred", message="sbatch has not answered yet.")
        self._under_way.pop(job_name, None)
        try:
            return future.result()
        except CancelledError:
            return SbatchAnswer("deferred", message="The agent is stopping.")

    def _submit_now(self, request: SubmitRequest) -> SbatchAnswer:
        result = self._run(commands.build_submit_argv(request), is_submission=True)
        answer = parse.parse_submission(result, self._extra)
        _log.info("sbatch_answered", job_name=request.job_name, job_id=answer.job_id, outcome=answer.outcome)
        return answer

    def list_jobs(self, *, spare: int = 0) -> JobList | PollFailed | NotAsked:
        """Ask squeue once for every job of this user; only where the bucket then has `spare` calls left."""
        end = f"{commands.LIST_END}-{secrets.token_hex(4)}"
        result = self._ask(commands.build_list_argv(end), spare=spare)
        return parse.parse_list(result, end) if result else NotAsked()

    def account(
        self, job_names: Sequence[str], *, since: datetime
    ) -> Accounting | NoAccounting | PollFailed | NotAsked:
        """Ask sacct for the jobs of these names, alive since then (aware); a hundred names a call."""
        found: list[AccountingLine] = []
        for first in range(0, len(job_names), MAX_PER_CALL):
            names = job_names[first : first + MAX_PER_CALL]
            result = self._ask(commands.build_account_argv(names, user=str(os.getuid()), since=since))
            answer = parse.parse_accounting(result) if result else NotAsked()
            if not isinstance(answer, Accounting):
                return answer
            found += answer.jobs
        return Accounting(tuple(found))

    def cancel(
        self, jobs: Sequence[tuple[JobId, str]], *, signal: str | None = None, listed: JobList | None = None
    ) -> CancelOutcome:
        """Cancel (or signal) jobs by id and name; a job of that id under another name is left alone."""
        if len(jobs) <= GUARDED_CANCELS:
            calls = [commands.build_cancel_argv([job_id], job_name=name, signal=signal) for job_id, name in jobs]
            return self._cancel_all(calls)
        answer = listed or self.list_jobs(spare=1)
        if isinstance(answer, NotAsked):
            return CancelOutcome("deferred", _TOO_OFTEN)
        if isinstance(answer, PollFailed):
            return CancelOutcome("failed", answer.message)
        there = {(job.job_id, job.name) for job in answer.jobs}
        ids = [job_id for job_id, name in jobs if (job_id, name) in there]
        parts = [ids[first : first + MAX_PER_CALL] for first in range(0, len(ids), MAX_PER_CALL)]
        return self._cancel_all([commands.build_cancel_argv(part, signal=signal) for part in parts])

    def _cancel_all(self, calls: Sequence[Sequence[str]]) -> CancelOutcome:
        messages: list[str] = []
        for argv in calls:
            result = self._ask(argv)
            if result is None:
                return CancelOutcome("deferred", _TOO_OFTEN)
            if result.exit_code != 0 and not is_gone(result.stderr):
                return CancelOutcome("failed", result.not_started or read_message(result.stderr) or "scancel failed")
            messages.append(read_message(result.stderr))
        return CancelOutcome("sent", "; ".join(part for part in messages if part))

    def describe(self) -> SlurmFacts | PollFailed | NotAsked:
        """Ask scontrol for the version and the settings that the waits depend on."""
        result = self._ask(commands.build_describe_argv())
        return parse.parse_facts(result) if result else NotAsked()

    def close(self) -> None:
        """End what still runs, in seconds; a submission that is cut off here is ambiguous."""
        self._stop.set()
        self._sbatch_calls.close()
        self._queries.close()

    def _ask(self, argv: Sequence[str], *, spare: int = 0) -> CommandResult | None:
        """Run a query in its lane; None where the bucket is empty, or would be with `spare` more."""
        future = self._queries.start(lambda: self._run(argv, is_submission=False), spare=spare)
        return future.result() if future else None

    def _run(self, argv: Sequence[str], *, is_submission: bool) -> CommandResult:
        with self._lock:
            self._calls[argv[0]] += 1
        limit_s = self._settings.sbatch_timeout_s if is_submission else self._settings.query_timeout_s
        try:
            result = run_command(argv, timeout_s=limit_s, env=self._environments[is_submission], stop=self._stop)
        except Exception as error:  # noqa: BLE001 - what nobody expected of one call is that call's alone
            _log.exception("slurm_command_broken", command=argv[0])
            result = CommandResult(
                tuple(argv), None, stderr=f"{argv[0]} could not be waited for ({error}); it may have been heard"
            )
        if is_rate_limit(result.stderr):
            _log.warning("slurm_rate_limit_met", command=argv[0])
            self._sbatch_calls.bucket.slow_down()
            self._queries.bucket.slow_down()
        if result.exit_code != 0:
            _log.warning(
                "slurm_command_failed",
                command=argv[0],
                exit_code=result.exit_code,
                timed_out=result.timed_out,
                message=result.not_started or read_message(result.stderr),
            )
        return result
