"""What one task shows now: its log, read and made durable, and what was seen of it over time. Decides nothing."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agent.errors import SpoolError
from agent.protocol.decide import Seen
from agent.protocol.journal import TaskLog
from agent.protocol.observation import Look, apply_accounting, look
from agent.protocol.verdict import is_over_memory
from agent.slurm.values import JobLine
from agent.spool.records import name_deciding, read_task_log, sync_found
from agent.tasks.memory import Memory, Polls, carry_told, load_observation
from agent.tasks.perform import Hands
from mltm.contract.base_models import render_canonical
from mltm.contract.ids import TaskId, render_job_name
from mltm.contract.parse_config import ConfigError, parse_config
from mltm.runtime import files

__all__ = ["find_lines", "list_records", "look_at_job", "read_log", "sum_up"]


def list_records(task_id: TaskId, hands: Hands) -> tuple[str, ...]:
    """The names in a task's control folder. Raises OSError."""
    return tuple(files.list_names(hands.spool.task(task_id).control))


def read_log(task_id: TaskId, names: Sequence[str], memory: Memory, hands: Hands, boot_id: str) -> TaskLog:
    """Read a task's log and bring its memory up to it; what is new is durable when this returns.

    Raises OSError, SpoolError.
    """
    spool = hands.spool
    log = read_task_log(spool, task_id, names)
    if (deciding := name_deciding(log)) != memory.synced:
        sync_found(spool, log, is_first=not memory.synced)
        memory.synced = deciding
    number = log.last.number if log.last else 0
    if memory.observation is None or memory.observation.attempt != number:
        kept = memory.observation
        memory.observation = load_observation(spool, boot_id, task_id, number, hands.clock.boot_s())
        if kept is not None:
            memory.observation = carry_told(kept, memory.observation)
    if memory.config is None and memory.refusal is None and log.manifest is not None:
        _read_config(log, memory)
    is_open = log.last is not None and log.closed is None and log.last.fence is None
    memory.is_submitted = is_open  # behind a fence Slurm has nothing to say; leftovers ask for themselves
    memory.is_unclaimed = is_open and log.last is not None and log.last.owner is None
    return log


def _read_config(log: TaskLog, memory: Memory) -> None:
    manifest = log.manifest
    if manifest is not None and manifest.fault:
        memory.refusal = manifest.fault
        return
    try:
        memory.config = parse_config(render_canonical(manifest.config)) if manifest else None
    except ConfigError as error:
        memory.refusal = f"The config cannot be used: {error}"


def look_at_job(
    log: TaskLog, memory: Memory, polls: Polls, hands: Hands, *, is_fresh: bool, min_job_age_s: float
) -> None:
    """Add a look at the last attempt's job and beat to what was seen of it."""
    last, before = log.last, memory.observation
    if last is None or before is None or log.closed is not None:
        return
    name = render_job_name(log.task_id, last.number)
    # A poll that began before this attempt was first looked at says nothing about it.
    counts = is_fresh and before.since_s < polls.last_s
    lines = polls.lines.get(name, ()) if counts else None
    beat_ns = _read_mtime(hands.spool.task(log.task_id).attempt(last.number).beat)
    shown = Look(lines, beat_ns, hands.clock.boot_s())
    after = look(before, last, shown, hands.settings.waits, min_job_age_s)
    memory.observation = apply_accounting(after, last, polls.ended.get(name, ()))


def find_lines(log: TaskLog, polls: Polls) -> tuple[JobLine, ...]:
    """What the last good poll lists under the last attempt's name."""
    return polls.lines.get(render_job_name(log.task_id, log.last.number), ()) if log.last else ()


def sum_up(log: TaskLog, memory: Memory, polls: Polls, hands: Hands) -> Seen:
    """Everything but the log that a decision rests on."""
    if memory.observation is None:
        raise SpoolError(f"Task {log.task_id} was decided on before it was looked at.")
    number = log.last.number if log.last else 0
    return Seen(
        observation=memory.observation,
        now_s=hands.clock.boot_s(),
        lines=find_lines(log, polls),
        may_submit=number > 0 and memory.may_submit == number,
        refusal=memory.refusal,
        config=memory.config,
        is_over_memory=memory.observation.over_since_s is not None and _was_over_memory(log, hands),
    )


def _was_over_memory(log: TaskLog, hands: Hands) -> bool:
    """Advice: what cannot be read says nothing."""
    text = None
    with suppress(OSError):
        if log.last is not None:
            text = files.read_bytes(hands.spool.task(log.task_id).attempt(log.last.number).slurm_output)
    return is_over_memory((text or b"").decode(errors="replace"))


def _read_mtime(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
