"""Whether the spool's folder can be trusted: judges what `measurements` measured, in words with a way out."""

from dataclasses import dataclass
from pathlib import Path

from agent.check.finding import Finding
from agent.check.measurements import Race, open_trial_folder, race_claims, time_visibility
from agent.check.node_race import NodeRace, race_node
from agent.daemon.watcher import hears_inotify, uses_inotify
from agent.settings import AgentSettings
from agent.slurm.client import Slurm
from mltm.contract.spool_layout import Spool
from mltm.runtime.mounts import read_file_system

__all__ = ["Trial", "check_ground", "check_node", "conclude"]

_RACE_S = 5.0
_FEW_CLAIMS = 20
_ELSEWHERE = "Name a spool on another file system in the config; a local disk, NFS and Lustre have an atomic link(2)."


@dataclass(frozen=True)
class Trial:
    """How hard the folder is tried."""

    processes: int = 64
    claims: int = 100
    with_job: bool = False  #: race a compute node too, by a job in this partition and account
    partition: str | None = None
    account: str | None = None


def check_ground(settings: AgentSettings, trial: Trial) -> list[Finding]:
    """Try the folder on this host. Forks: no other thread may run. Raises OSError."""
    with open_trial_folder(Spool(settings.spool).agent) as folder:
        race = race_claims(folder, trial.processes, trial.claims, _RACE_S)
        delay_s = time_visibility(folder)
        hears = hears_inotify(folder)
    return [
        judge_race(race),
        judge_visibility(delay_s, settings.waits.look_again_s),
        judge_news(read_file_system(settings.spool), hears=hears, is_used=uses_inotify(settings)),
    ]


def check_node(settings: AgentSettings, slurm: Slurm, trial: Trial) -> list[Finding]:
    """Try the folder between this host and a compute node. Raises NodeRaceError, OSError."""
    with open_trial_folder(Spool(settings.spool).agent) as folder:
        race = race_node(folder, slurm, partition=trial.partition, account=trial.account)
    return judge_node(race, settings.waits.look_again_s)


def judge_race(race: Race) -> Finding:
    """Exactly one winner for each claim is what the whole protocol rests on."""
    said = f"{race.claims} claims raced by {race.processes} processes"
    if race.torn:
        message = f"{race.torn} of {said} had not exactly one winner: a task could start twice. {_ELSEWHERE}"
        return Finding("FAIL", "claims", message)
    if race.error:
        return Finding("FAIL", "claims", f"a claim could not be made with link(2): {race.error}. {_ELSEWHERE}")
    if race.claims < _FEW_CLAIMS:
        return Finding("warn", "claims", f"only {said} in {_RACE_S:g} s: the folder is slow, or this machine is busy")
    return Finding("ok", "claims", f"{said}, exactly one winner each")


def judge_visibility(delay_s: float | None, look_again_s: float) -> Finding:
    """A job's exit record must be seen within half of `look_again_s` (protocol, rule 5)."""
    if delay_s is None:
        return Finding("FAIL", "visibility", f"another process's new file was not listed within seconds. {_ELSEWHERE}")
    said = f"another process's new file is listed within {delay_s * 1000:.0f} ms"
    if 2 * delay_s > look_again_s:
        message = f"{said}. Set waits.look_again_s in the config to {2 * delay_s:.0f} or more."
        return Finding("FAIL", "visibility", message)
    return Finding("ok", "visibility", said)


def judge_news(file_system: str, *, hears: bool, is_used: bool) -> Finding:
    """Inotify only wakes; but where it is deaf, everything waits for the next rescan."""
    kind = file_system or "an unknown file system"
    if is_used and not hears:
        return Finding("warn", "news", f'inotify hears nothing on {kind}. Set observer = "polling" in the config.')
    how = "inotify" if is_used else "a look every second, as other hosts may write there"
    return Finding("ok", "news", f"noticed by {how} ({kind}; inotify {'works' if hears else 'does not work'} here)")


def judge_node(race: NodeRace, look_again_s: float) -> list[Finding]:
    """Both sides must agree on each claim; the way there and back is the longest that one way can be."""
    said = f"{race.claims} claims raced with a compute node ({race.won} won here)"
    if race.torn:
        message = f"the two do not agree on {race.torn} of {said}: a task could start twice. {_ELSEWHERE}"
        return [Finding("FAIL", "node claims", message)]
    seen = judge_visibility(race.round_trip_s, look_again_s)
    message = seen.message.replace("another process's new file is listed", "a change is seen there and its answer here")
    return [
        Finding("ok", "node claims", f"{said}, and both agree on each"),
        Finding(seen.grade, "node visibility", message),
    ]


def conclude(spool: Path, findings: list[Finding], *, with_job: bool) -> Finding:
    """The sentence at the end."""
    wrong = [finding.what for finding in findings if finding.grade == "FAIL"]
    if wrong:
        return Finding("FAIL", "folder", f"{spool} cannot be trusted: see {' and '.join(wrong)} above.")
    how = "by this host and its compute nodes" if with_job else "on this host; --with-job tries a compute node too"
    return Finding("ok", "folder", f"{spool} can be trusted {how}")
