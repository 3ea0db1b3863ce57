"""`mltm-agent check`: checks everything that the agent needs, and says for each whether it is right."""

import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Mapping

from agent.check.finding import Finding
from agent.check.folder import FolderTestOptions, check_on_this_host, check_with_node, summarise
from agent.errors import AgentError
from agent.job.isolation import NO_CONTAINER, find_ways_out
from agent.settings import AgentSettings
from agent.slurm.client import Slurm
from agent.slurm.values import KILL_WAIT_MESSAGE, PollFailed, SlurmFacts
from agent.spool.gateway_binding import check_gateway
from agent.spool.os_errors import explain_os_error
from agent.spool.setup import prepare_spool
from agent.spool.spool_key import read_spool_key
from agent.uplink.address import build_tls
from agent.uplink.client import GatewayClient, open_session
from agent.uplink.credential import read_credential
from agent.uplink.enrolment import read_unix_user
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from mltm.runtime.folder_trust import read_group

__all__ = ["judge_isolation", "run_checks"]


async def run_checks(
    settings: AgentSettings, environment: Mapping[str, str], options: FolderTestOptions
) -> list[Finding]:
    """Check everything: a check that fails stops no other. Forks: call it when no other thread runs."""
    findings = [_try("spool", lambda: _check_spool(settings)), _try("proofs", lambda: _check_proofs(settings))]
    findings += _check_folder(settings, environment, options)
    findings += _check_programs(settings, environment)
    findings.append(_try("slurm", lambda: _check_slurm(settings, environment)))
    findings += _check_catalogue(settings)
    findings += judge_isolation(settings, environment)
    findings.append(await _try_async("gateway", lambda: _check_gateway(settings)))
    return findings


def _try(what: str, step: Callable[[], Finding]) -> Finding:
    try:
        return step()
    except (AgentError, OSError) as error:
        return Finding("FAIL", what, str(error))


async def _try_async(what: str, step: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await step()
    except (AgentError, OSError) as error:
        return Finding("FAIL", what, str(error))


def _check_spool(settings: AgentSettings) -> Finding:
    identity = prepare_spool(settings, Clock())
    check_gateway(identity.spool, read_credential(settings.credential_file))
    free = shutil.disk_usage(settings.spool).free
    if free < 1024**3:
        return Finding("warn", "spool", f"Only {free // 1024**2} MiB are free in {settings.spool}. Free some space.")
    return Finding("ok", "spool", str(settings.spool))


def _check_proofs(settings: AgentSettings) -> Finding:
    """What the agent takes for the gateway's, and who can read what it takes."""
    spool, folder = Spool(settings.spool), settings.inbox_folder.new
    seen = folder.stat()
    if read_spool_key(spool) is None:
        return Finding(
            "warn", "proofs", "This spool has no key from its gateway, so only the owner of a bundle says whose it is. "
            "Enrol the agent again: the gateway's version 0.2 gives a key.",
        )  # fmt: skip
    group = read_group(seen.st_gid)
    others = sorted(group.members - {"root", read_unix_user()})
    if seen.st_mode & stat.S_IRGRP and len(others) > 1:
        return Finding(
            "warn", "proofs", f"The group {group.name} can read {folder}, and {len(others)} other accounts are in it "
            f"({', '.join(others[:5])}): they can read scripts and `env` of tasks. Only the gateway's should be.",
        )  # fmt: skip
    if seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Finding(
            "warn", "proofs", f"A group may write to {folder}. What it puts there is ignored, but it can remove tasks. "
            "docs/security.md says how to move to an inbox of the gateway's own.",
        )  # fmt: skip
    return Finding("ok", "proofs", f"only what the gateway proved is taken from {folder}")


def _check_folder(settings: AgentSettings, environment: Mapping[str, str], options: FolderTestOptions) -> list[Finding]:
    """Test the spool's folder; the last finding is the summary."""
    try:
        found = check_on_this_host(settings, options)
    except OSError as error:
        return [Finding("FAIL", "folder", str(explain_os_error(error, settings.spool)))]
    if options.with_job:
        slurm = Slurm(settings.slurm, environment, Clock())
        try:
            found += check_with_node(settings, slurm, options)
        except (AgentError, OSError) as error:
            found.append(Finding("FAIL", "node", str(error)))
        finally:
            slurm.close()
    return [*found, summarise(settings.spool, found, with_job=options.with_job)]


def _check_programs(settings: AgentSettings, environment: Mapping[str, str]) -> list[Finding]:
    path = ":".join(part for part in (settings.slurm.path, environment.get("PATH")) if part)
    names = ["sbatch", "squeue", "scancel", "scontrol"]
    names += [] if settings.runtime == "none" else [settings.runtime]
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        message = f"Cannot find {', '.join(missing)} in PATH. Load the site's module, or set slurm.path in the config."
        return [Finding("FAIL", "programs", message)]
    return [Finding("ok", "programs", ", ".join(names))]


def _check_slurm(settings: AgentSettings, environment: Mapping[str, str]) -> Finding:
    slurm = Slurm(settings.slurm, environment, Clock())
    try:
        facts, jobs = slurm.describe(), slurm.list_jobs()
    finally:
        slurm.close()
    for answer in (facts, jobs):
        if isinstance(answer, PollFailed):
            return Finding("FAIL", "slurm", f"{answer.message} Ask the site whether slurmctld is up.")
        if isinstance(answer, SlurmFacts) and answer.kill_wait_s < settings.slurm.kill_wait_s:
            message = (
                f"KillWait {answer.kill_wait_s} s, kill_wait_s {settings.slurm.kill_wait_s:g} s. {KILL_WAIT_MESSAGE}"
            )
            return Finding("ok", "slurm", f"Slurm {answer.version}, {message}")
    return Finding("ok", "slurm", f"Slurm {facts.version}" if isinstance(facts, SlurmFacts) else "")


def _check_catalogue(settings: AgentSettings) -> list[Finding]:
    findings = []
    for what, folder in (("images", settings.images_dir), ("datasets", settings.datasets_dir)):
        if folder is None:
            continue
        is_there = folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
        message = str(folder) if is_there else f"Cannot read {folder}. Correct {what}_dir in the config."
        findings.append(Finding("ok" if is_there else "FAIL", what, message))
    for key, place in settings.images.items():
        if not place.exists():
            findings.append(Finding("FAIL", f"image {key}", f"{place} does not exist. Correct [images] in the config."))
    return findings


def judge_isolation(settings: AgentSettings, environment: Mapping[str, str]) -> list[Finding]:
    """Name what would let user code out of its container; the agent refuses to run with it."""
    try:
        is_shared = not read_credential(settings.credential_file).owner
    except AgentError:  # another line says it
        is_shared = False
    if found := find_ways_out(settings, environment, is_shared=is_shared):
        return [Finding("FAIL", "isolation", message) for message in found]
    if settings.runtime == "none":
        whose = "This agent runs the tasks of all users. " if is_shared else ""
        return [Finding("warn", "isolation", f"{whose}{NO_CONTAINER}")]
    return [Finding("ok", "isolation", f"user code stays in {settings.runtime}")]


async def _check_gateway(settings: AgentSettings) -> Finding:
    async with open_session() as session:
        client = GatewayClient(session, settings, tls=build_tls(settings.ca_file))
        await client.poll_commands(0)
    return Finding("ok", "gateway", "it answers and knows this agent")
