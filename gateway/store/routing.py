"""Which agent a task goes to, and which clusters there are."""

import peewee

from gateway.errors import InvalidError
from gateway.store.agents import list_live
from gateway.store.models import Agent
from gateway.values import AgentIdentity, User
from mltm.contract.problems import FieldProblem

__all__ = ["list_clusters", "list_user_clusters", "route"]


def list_clusters(configured: list[str]) -> list[str]:
    """List all known clusters: the configured ones, and those that ever had an agent."""
    return sorted({*configured, *(row.cluster for row in Agent.select(Agent.cluster).distinct())})


def list_user_clusters(user: User) -> list[str]:
    """List the clusters where this user's tasks can run."""
    return sorted({a.cluster for a in list_live() if a.owner is None or a.owner_id == user.user_id})


def route(user: User, cluster: str, configured: list[str]) -> AgentIdentity:
    """Find the agent for a task: the user's own, else the shared one. Raises InvalidError.

    A task without an agent is refused (docs/decisions/0006). A task with a silent agent is accepted.
    """
    here = [agent for agent in list_live() if agent.cluster == cluster]
    own = [agent for agent in here if agent.owner_id == user.user_id]
    shared = [agent for agent in here if agent.owner is None]
    if own or shared:
        return (own or shared)[0]
    known = list_clusters(configured)
    if cluster in known:
        raise _no_agent(user, cluster, _explain_absence(cluster, has_others=bool(here)))
    raise InvalidError(
        f"runner_location: {cluster!r} is not a known cluster. Known clusters: {', '.join(known) or 'none'}.",
        key="unknown_cluster",
        title="Unknown cluster",
        next_step="Use one of the known clusters, or ask an administrator to enrol an agent there.",
        fields=[FieldProblem(field="runner_location", given=cluster, allowed=f"one of {', '.join(known) or 'none'}")],
    )


def _explain_absence(cluster: str, *, has_others: bool) -> str:
    if has_others:
        return "has agents, but none of them runs your tasks"
    last: str | None = Agent.select(peewee.fn.MAX(Agent.revoked_at)).where(Agent.cluster == cluster).scalar()
    return f"has no agent now; its last agent was revoked at {last}" if last else "never had an agent"


def _no_agent(user: User, cluster: str, why: str) -> InvalidError:
    return InvalidError(
        f"runner_location: cluster {cluster!r} {why}. The task was not accepted.",
        key="no_agent",
        title="No agent runs your tasks there",
        next_step=(
            f"Ask an administrator of the gateway to run `mltm-gateway agent code --cluster {cluster} "
            f"--owner {user.username} --spool FOLDER`, run `mltm-agent enroll` with that code on the cluster, "
            "and submit again."
        ),
        fields=[
            FieldProblem(field="runner_location", given=cluster, allowed="a cluster with an agent that runs your tasks")
        ],
    )
