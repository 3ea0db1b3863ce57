"""Builds what users get out of rows."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from gateway.store.damaged import read_attempt, read_event, read_report, read_state, render_damaged
from gateway.store.models import Agent, Attempt, Event, StoredReport, Task, parse_timestamp
from mltm.contract import user_api
from mltm.contract.base_models import JsonObject
from mltm.contract.reports import StatusNote
from mltm.contract.states import State, is_final
from mltm.contract.task_config import check_text

__all__ = [
    "MAX_LISTED_ATTEMPTS", "MAX_SHOWN_ATTEMPTS", "MAX_SHOWN_REPORTS", "SUMMARY_KEYS", "build_answers", "build_history",
    "build_summary",
]  # fmt: skip

MAX_LISTED_ATTEMPTS = 20
"""Of each task of a list; of one task, a user sees more."""
MAX_SHOWN_ATTEMPTS = 200
MAX_SHOWN_REPORTS = 1000

SUMMARY_KEYS = ("script_path", "dataset_name", "experiment_name", "project_path")
_INFRA_KEYS = ("instance_type", "image_name", "account")
_NUMBER_DIGITS = 18


def build_summary(config: JsonObject, cluster: str) -> dict[str, str]:
    """Pick what the predecessor's rows show. What has a wrong type is left out: a dropped config may be wrong."""
    clusters = config.get("clusters")
    section = clusters.get(cluster) if isinstance(clusters, dict) else None
    infra = section.get("infra_config") if isinstance(section, dict) else None
    named = {
        **{k: config.get(k) for k in SUMMARY_KEYS},
        "script_path": config.get("script_path") or config.get("script_name"),
    }
    named |= {k: infra.get(k) for k in _INFRA_KEYS} if isinstance(infra, dict) else {}
    return {k: v for k, v in named.items() if isinstance(v, str) and _is_text(v)}


def _is_text(value: str) -> bool:
    try:
        check_text(value)
    except ValueError:
        return False
    return True


def build_answers(
    rows: Sequence[Task], now: datetime, *, max_attempts: int = MAX_LISTED_ATTEMPTS
) -> list[user_api.TaskAnswer]:
    """Build the answers for rows, each with its newest attempts, without history and config."""
    agents = {agent.agent_id: agent for agent in Agent.select()}
    return [_build_any(row, _read_newest(row, max_attempts), agents.get(row.agent_id), now) for row in rows]


def _read_newest(row: Task, max_attempts: int) -> list[user_api.AttemptAnswer]:
    query = Attempt.select().where(Attempt.task_id == row.task_id).order_by(Attempt.attempt.desc()).limit(max_attempts)
    state = read_state(row.state)
    return [read_attempt(found, state) for found in query][::-1]


def _build_any(
    row: Task, attempts: list[user_api.AttemptAnswer], agent: Agent | None, now: datetime
) -> user_api.TaskAnswer:
    try:
        return _build(row, attempts, agent, now)
    except (TypeError, ValueError) as error:  # a wrong time, state, JSON or shape
        return render_damaged(row, attempts, error)


def _build(
    row: Task, attempts: list[user_api.AttemptAnswer], agent: Agent | None, now: datetime
) -> user_api.TaskAnswer:
    state, seen_at = State(row.state), agent.seen_at if agent else None
    last = attempts[-1].job_id if attempts else None
    return user_api.TaskAnswer(
        task_id=row.task_id,
        id=row.task_id,
        state=state,
        final=is_final(state),
        reason=row.reason,
        note=_note_of_agent(agent, state) or StatusNote.model_validate_json(row.note),
        owner=row.owner,
        cluster=row.cluster,
        runner_location=row.cluster,
        submitted_at=parse_timestamp(row.submitted_at),
        updated_at=parse_timestamp(row.updated_at),
        attempts=attempts,
        cancel_requested=row.cancel_requested,
        agent_silent_s=max(0.0, (now - parse_timestamp(seen_at)).total_seconds()) if seen_at else None,
        job_id=render_job_id(last),
        **json.loads(row.summary),
    )


def render_job_id(text: str | None) -> int | str | None:
    """The predecessor's clients compare job ids as numbers. What is not a plain number of 64 bits stays text."""
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS
    return int(text) if text is not None and is_number else text


def _note_of_agent(agent: Agent | None, state: State) -> StatusNote | None:
    if agent is None or agent.revoked_at is None or is_final(state):
        return None
    message = (
        f"The agent of this task was revoked at {agent.revoked_at}. The task continues when the agent is enrolled "
        f"again, for the same owner and on the same spool (inbox {agent.inbox or agent.spool_id}). An agent with "
        "another spool does not run it."
    )
    return StatusNote(kind="attention", message=message)


def build_history(events: Iterable[Event], reports: Iterable[StoredReport]) -> list[user_api.Event]:
    """Merge the gateway's lines and the reports, oldest first, without repeated lines."""
    lines = [(line, (0, 0)) for event in events if (line := read_event(event)) is not None]
    for stored in reports:
        report = read_report(stored)
        if report is None:
            continue
        event = user_api.Event(at=report.at, state=report.state, attempt=report.attempt, message=report.message)
        lines.append((event, (report.epoch, report.seq)))
    history: list[user_api.Event] = []
    for event, _ in sorted(lines, key=lambda line: (line[0].at, line[1])):
        if not history or _content(history[-1]) != _content(event):
            history.append(event)
    return history


def _content(event: user_api.Event) -> tuple[object, ...]:
    return (event.state, event.attempt, event.message, event.source)
