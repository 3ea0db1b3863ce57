"""Tests whether the spool's folder can be trusted: judges what `measurements` and `node_race` measured."""

from dataclasses import dataclass
from pathlib import Path

from agent.check.finding import Finding
from agent.check.measurements import Race, open_test_folder, race_claims, time_visibility
from agent.check.node_race import NodeRace, race_node
from agent.daemon.watcher import hears_inotify, uses_inotify
from agent.settings import AgentSettings
from agent.slurm.client import Slurm
from mltm.contract.spool_layout import Spool
from mltm.runtime.mounts import read_file_system

__all__ = ["FolderTestOptions", "check_on_this_host", "check_with_node", "summarise"]

_RACE_S = 5.0
_FEW_CLAIMS = 20
_ELSEWHERE = "Set a spool on another file system in the config. A local disk, NFS and Lustre have an atomic link(2)."


@dataclass(frozen=True)
class FolderTestOptions:
    """How hard the folder is tested."""

    processes: int = 64
    claims: int = 100
    with_job: bool = False  #: race a compute node too, by a job in this partition and account
    partition: str | None = None
    account: str | None = None


def check_on_this_host(settings: AgentSettings, options: FolderTestOptions) -> list[Finding]:
    """Test the folder on this host. Forks: no other thread may run. Raises OSError."""
    with open_test_folder(Spool(settings.spool).agent) as folder:
        race = race_claims(folder, options.processes, options.claims, _RACE_S)
        delay_s = time_visibility(folder)
        hears = hears_inotify(folder)
    return [
        judge_race(race),
        judge_visibility(delay_s, settings.waits.look_again_s),
        judge_watching(read_file_system(settings.spool), hears=hears, is_used=uses_inotify(settings, settings.spool)),
    ]


def check_with_node(settings: AgentSettings, slurm: Slurm, options: FolderTestOptions) -> list[Finding]:
    """Test the folder between this host and a compute node. Raises NodeRaceError, OSError."""
    with open_test_folder(Spool(settings.spool).agent) as folder:
        race = race_node(folder, slurm, partition=options.partition, account=options.account)
    return judge_node(race, settings.waits.look_again_s)


def judge_race(race: Race) -> Finding:
    """Judge the race on this host: the whole protocol depends on exactly one winner for each claim."""
    measured = f"{race.claims} claims raced by {race.processes} processes"
    if race.torn:
        message = f"{race.torn} of {measured} did not have exactly one winner: a task could start twice. {_ELSEWHERE}"
        return Finding("FAIL", "claims", message)
    if race.error:
        return Finding("FAIL", "claims", f"Cannot make a claim with link(2): {race.error}. {_ELSEWHERE}")
    if race.claims < _FEW_CLAIMS:
        return Finding("warn", "claims", f"only {measured} in {_RACE_S:g} s: a slow folder, or a busy machine")
    return Finding("ok", "claims", f"{measured}, exactly one winner each")


def judge_visibility(delay_s: float | None, look_again_s: float) -> Finding:
    """Judge a delay: a job's exit record must be seen within half of `look_again_s` (protocol, rule 5)."""
    if delay_s is None:
        return Finding("FAIL", "visibility", f"Another process's new file was not listed within seconds. {_ELSEWHERE}")
    measured = f"another process's new file is listed within {delay_s * 1000:.0f} ms"
    if 2 * delay_s > look_again_s:
        message = f"{measured}. Set waits.look_again_s in the config to {2 * delay_s:.0f} or more."
        return Finding("FAIL", "visibility", message)
    return Finding("ok", "visibility", measured)


def judge_watching(file_system: str, *, hears: bool, is_used: bool) -> Finding:
    """Judge the watching. Inotify only wakes the agent, but without it everything waits for the next rescan."""
    kind = file_system or "an unknown file system"
    if is_used and not hears:
        return Finding("warn", "watching", f'inotify does not work on {kind}. Set observer = "polling" in the config.')
    how = "inotify" if is_used else "a scan every second, as other hosts may write there"
    works = "works" if hears else "does not work"
    return Finding("ok", "watching", f"changes are found by {how} ({kind}; inotify {works} here)")


def judge_node(race: NodeRace, look_again_s: float) -> list[Finding]:
    """Judge the race with a node. Both sides must agree on each claim; one way takes at most as long as both ways."""
    measured = f"{race.claims} claims raced with a compute node ({race.won} won here)"
    if race.torn:
        message = f"Both hosts disagree on {race.torn} of {measured}: a task could start twice. {_ELSEWHERE}"
        return [Finding("FAIL", "node claims", message)]
    seen = judge_visibility(race.round_trip_s, look_again_s)
    message = seen.message.replace("another process's new file is listed", "a change is seen there and its answer here")
    return [
        Finding("ok", "node claims", f"{measured}, and both hosts agree on each"),
        Finding(seen.grade, "node visibility", message),
    ]


def summarise(spool: Path, findings: list[Finding], *, with_job: bool) -> Finding:
    """Sum the findings up."""
    wrong = [finding.what for finding in findings if finding.grade == "FAIL"]
    if wrong:
        return Finding("FAIL", "folder", f"{spool} cannot be trusted: see {' and '.join(wrong)} above.")
    how = "by this host and its compute nodes" if with_job else "on this host; --with-job tests a compute node too"
    return Finding("ok", "folder", f"{spool} can be trusted {how}")
