"""Queries of agents and enrolment codes. One agent for each (cluster, owner, spool and its inbox), for ever."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gateway.errors import ConflictError, NotFoundError, UnauthorizedError
from gateway.store.keys import read_spool_key
from gateway.store.models import Agent, EnrolCode, Outbox, Task, parse_timestamp, render_timestamp
from gateway.store.ownership import is_owned_by, read_user_id
from gateway.values import AgentIdentity, InboxKey
from mltm.contract.agent_api import Enrolment, Heartbeat
from mltm.contract.ids import AgentId
from mltm.contract.proofs import is_proof, prove_enrolment
from mltm.contract.states import ACTIVE

__all__ = [
    "EnrolledAgent",
    "NewCode",
    "add_code",
    "count_active",
    "enrol",
    "find_agent",
    "list_agents",
    "list_inbox_keys",
    "list_live",
    "move_agent",
    "require_live",
    "revoke_agent",
    "save_heartbeat",
    "touch",
]  # fmt: skip


@dataclass(frozen=True)
class EnrolledAgent:
    """An agent that has enrolled, and the key of its spool."""

    identity: AgentIdentity
    spool_key: bytes = field(repr=False)


@dataclass(frozen=True)
class NewCode:
    """An enrolment code to store; the code itself is not in it."""

    sha256: str
    cluster: str
    owner: str | None
    inbox: Path | None
    created_at: datetime
    expires_at: datetime


def add_code(new: NewCode) -> str | None:
    """Add a code. Returns its owner's id. Raises NotFoundError (user_not_found)."""
    owner_id = read_user_id(new.owner) if new.owner is not None else None
    EnrolCode.create(
        sha256=new.sha256,
        cluster=new.cluster,
        owner=new.owner,
        owner_id=owner_id,
        inbox=str(new.inbox) if new.inbox else None,
        created_at=render_timestamp(new.created_at),
        expires_at=render_timestamp(new.expires_at),
    )
    return owner_id


def build_identity(row: Agent) -> AgentIdentity:
    """Build the plain value of an agent's row."""
    inbox = Path(row.inbox) if row.inbox else None
    return AgentIdentity(
        AgentId(row.agent_id), row.cluster, row.owner, inbox, row.spool_id, row.unix_user, row.owner_id
    )


def enrol(
    code_sha256: str, asked: Enrolment, agent_id: AgentId, credential_sha256: str, now: datetime
) -> EnrolledAgent:
    """Use up a code and add the agent, or give the same agent a new credential.

    Raises UnauthorizedError (bad_code, code_expired) and ConflictError (agent_exists, spool_taken, spool_not_proved).
    """
    code = _use_code(code_sha256, now)
    found = _find_same(code, asked.spool_id)
    row = found or Agent(agent_id=agent_id, cluster=code.cluster, owner=code.owner, spool_id=asked.spool_id)
    key = read_spool_key(row)
    if row.has_key:
        _check_proof(key, asked)
    row.owner_id, row.revoked_reason = code.owner_id, ""
    row.inbox, row.credential_sha256, row.revoked_at, row.has_key = code.inbox, credential_sha256, None, True
    row.host, row.unix_user, row.version = asked.host[:255], asked.unix_user[:255], asked.version[:255]
    row.enrolled_at = row.seen_at = render_timestamp(now)
    row.save(force_insert=found is None)
    return EnrolledAgent(build_identity(row), key)


def _check_proof(key: bytes, asked: Enrolment) -> None:
    """Refuse a spool's id from somebody who has not got the spool: the key was given to its agent."""
    if is_proof(prove_enrolment(key, asked.spool_id, asked.code.strip()), asked.proof):
        return
    raise ConflictError(
        "This spool is enrolled here, and the request does not prove that it comes from the spool's agent: the key in "
        "its folder (agent/spool_key) is missing or another one.",
        key="spool_not_proved",
        title="Not enrolled",
        next_step="Restore agent/spool_key in the spool from a backup, and enrol again with a new code. Or set `spool` "
        "in the agent's config to a new, empty folder; the old tasks are not run again there.",
    )


def _use_code(code_sha256: str, now: datetime) -> EnrolCode:
    step = "Get a new code (`mltm-gateway agent code`) and enrol again."
    code: EnrolCode | None = EnrolCode.get_or_none(EnrolCode.sha256 == code_sha256, EnrolCode.used_at.is_null())
    if code is None:
        raise UnauthorizedError(
            "This enrolment code is not known, or it was used before.",
            key="bad_code",
            title="Not enrolled",
            next_step=step,
        )
    if parse_timestamp(code.expires_at) <= now:
        raise UnauthorizedError(
            f"This enrolment code expired at {code.expires_at}.",
            key="code_expired",
            title="Not enrolled",
            next_step=step,
        )
    code.used_at = render_timestamp(now)
    code.save()
    return code


def _find_same(code: EnrolCode, spool_id: str) -> Agent | None:
    """Find the agent that is enrolled again: it continues its tasks. Raises ConflictError.

    A spool's id proves nothing: whoever saw it can send it. This code and the agent's first code have to be for the
    same cluster, owner and inbox; an agent that was given its spool's key has to prove that it has it, too.
    """
    row: Agent | None = Agent.get_or_none(
        Agent.cluster == code.cluster,
        is_owned_by(Agent.owner_id, code.owner_id),
        Agent.spool_id == spool_id,
        _is_inbox(code.inbox),
    )
    if row is None:
        _check_spool(code, spool_id)
    _check_alone(code, spool_id)
    return row


def _is_inbox(inbox: str | None) -> object:
    return Agent.inbox.is_null() if inbox is None else Agent.inbox == inbox


def _check_spool(code: EnrolCode, spool_id: str) -> None:
    """Refuse a spool that was another owner's, or is known at another path.

    A path counts too: bundles for a former agent are still published there. The message names neither the other owner
    nor the other path: whoever asks may know the id alone.
    """
    for other in Agent.select().where((Agent.spool_id == spool_id) | (Agent.inbox == (code.inbox or ""))):
        if other.owner_id != code.owner_id:
            raise ConflictError(
                "This spool belongs to an agent with another owner, revoked or not (an agent for all users counts as "
                "another owner). Another agent does not get its tasks and files.",
                key="spool_taken",
                title="Not enrolled",
                next_step="Set `spool` in the agent's config to a folder that no agent has used: give it a new, empty "
                "folder. Get a code for it with `mltm-gateway agent code`, and enrol again. "
                "`mltm-gateway agent list` shows whose spool it is.",
            )
        if other.spool_id == spool_id and other.inbox != code.inbox:
            raise ConflictError(
                "This spool was enrolled before, and the code was made for another inbox than it had then.",
                key="spool_taken",
                title="Not enrolled",
                next_step="Get a code for the inbox that `mltm-gateway agent list` shows. If the folder was moved, run "
                "`mltm-gateway agent move` first. Or set `spool` in the agent's config to a new, empty folder; the old "
                "tasks are not run again there.",
            )


def _check_alone(code: EnrolCode, spool_id: str) -> None:
    """Refuse a second live agent for the same users on one cluster."""
    other: Agent | None = Agent.get_or_none(
        Agent.cluster == code.cluster,
        is_owned_by(Agent.owner_id, code.owner_id),
        Agent.revoked_at.is_null(),
        Agent.spool_id != spool_id,
    )
    if other is not None:
        raise ConflictError(
            f"Cluster {code.cluster} already has an agent for {code.owner or 'all users'}, with another spool "
            f"(inbox {other.inbox}).",
            key="agent_exists",
            next_step=f"Revoke that agent first: `mltm-gateway agent revoke {other.agent_id}`.",
        )


def find_agent(credential_sha256: str) -> AgentIdentity:
    """Find the agent of this credential. Raises UnauthorizedError (bad_credential, credential_revoked)."""
    return _check_live(Agent.get_or_none(Agent.credential_sha256 == credential_sha256))


def require_live(agent_id: AgentId) -> None:
    """Refuse an agent that was revoked since its request began. Raises UnauthorizedError."""
    _check_live(Agent.get_or_none(Agent.agent_id == agent_id))


def _check_live(row: Agent | None) -> AgentIdentity:
    if row is None or row.revoked_at is not None:
        what = "is not known" if row is None else f"was revoked at {row.revoked_at}"
        if row is not None and row.revoked_reason:
            what += f": {row.revoked_reason}"
        raise UnauthorizedError(
            f"This agent credential {what}.",
            key="bad_credential" if row is None else "credential_revoked",
            title="Not enrolled",
            evidence={"agent_id": row.agent_id, "reason": row.revoked_reason} if row else None,
            next_step="Enrol again: `mltm-gateway agent code` on the gateway, then `mltm-agent enroll`.",
        )
    return build_identity(row)


def save_heartbeat(agent_id: AgentId, heartbeat: Heartbeat, now: datetime) -> None:
    """Store the last heartbeat."""
    query = Agent.update(
        heartbeat=heartbeat.model_dump_json(), seen_at=render_timestamp(now), version=heartbeat.version[:255]
    )
    query.where(Agent.agent_id == agent_id).execute()


def touch(agent_id: AgentId, now: datetime) -> None:
    """Note that the agent was heard."""
    Agent.update(seen_at=render_timestamp(now)).where(Agent.agent_id == agent_id).execute()


def list_live() -> list[AgentIdentity]:
    """List the agents that are not revoked."""
    return [build_identity(row) for row in Agent.select().where(Agent.revoked_at.is_null())]


def list_agents() -> list[dict[str, object]]:
    """List all agents as rows to print, with the number of their tasks that have not ended."""
    columns = ("agent_id", "cluster", "owner", "inbox", "host", "unix_user", "version", "enrolled_at", "seen_at")
    rows = Agent.select().order_by(Agent.cluster, Agent.enrolled_at)
    return [
        {
            **{name: getattr(row, name) for name in columns},
            "revoked_at": row.revoked_at,
            "revoked_reason": row.revoked_reason,
            "active_tasks": count_active(row.agent_id),
        }
        for row in rows
    ]


def count_active(agent_id: str) -> int:
    """Count the tasks of an agent that have not ended."""
    return int(Task.select().where(Task.agent_id == agent_id, Task.state.in_([s.value for s in ACTIVE])).count())


def list_inbox_keys() -> list[InboxKey]:
    """List the inboxes of the agents that are not revoked, with their keys."""
    rows = Agent.select().where(Agent.revoked_at.is_null()).order_by(Agent.inbox)
    return [InboxKey(Path(row.inbox), row.spool_id, read_spool_key(row)) for row in rows if row.inbox]


def move_agent(agent_id: str, inbox: Path) -> InboxKey:
    """Give an agent another inbox; what waits for it is published there. Raises NotFoundError, ConflictError."""
    row: Agent | None = Agent.get_or_none(Agent.agent_id == agent_id)
    if row is None:
        raise _no_agent(agent_id)
    other: Agent | None = Agent.get_or_none(Agent.inbox == str(inbox), Agent.agent_id != agent_id)
    if other is not None:
        raise ConflictError(
            f"{inbox} is, or was, the inbox of another agent ({other.agent_id}).",
            key="inbox_taken",
            next_step="Make another folder with `mltm-gateway spool make`.",
        )
    row.inbox = str(inbox)
    row.save()
    Outbox.update(step="waiting").where(Outbox.agent_id == agent_id, Outbox.step == "published").execute()
    return InboxKey(inbox, row.spool_id, read_spool_key(row))


def _no_agent(agent_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no agent {agent_id[:80]!r}, or it is revoked.",
        key="agent_not_found",
        next_step="List them with `mltm-gateway agent list`.",
    )


def revoke_agent(agent_id: str, now: datetime) -> int:
    """Revoke an agent's credential. Returns how many tasks wait until it is enrolled again. Raises NotFoundError."""
    update = Agent.update(revoked_at=render_timestamp(now), revoked_reason="an administrator revoked it")
    if not update.where(Agent.agent_id == agent_id, Agent.revoked_at.is_null()).execute():
        raise _no_agent(agent_id)
    return count_active(agent_id)
