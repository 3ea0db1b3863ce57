"""What a task requests from Slurm, and whether the site's policy allows it. Pure."""

import re
from dataclasses import dataclass

from agent.settings import AgentSettings, InstanceType, Policy
from mltm.contract.task_config import Resources, TaskConfig

__all__ = ["Refusal", "Requested", "check_policy", "parse_time_limit_min", "plan_request"]

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class Refusal:
    """Why a task cannot be launched here. message: for its owner. field: which one of the task's config is wrong.

    permanent: trying again later cannot help.
    """

    message: str
    field: str
    permanent: bool


@dataclass(frozen=True)
class Requested:
    """What sbatch will be asked for. None: Slurm's own default."""

    partition: str
    account: str | None
    nodes: int | None
    cpus: int | None
    gpus: int | None
    memory: str | None
    time_limit: str | None
    qos: str | None
    constraint: str | None


def plan_request(config: TaskConfig, settings: AgentSettings) -> Requested:
    """Combine the task's resources with the site's instance type. The task's own override the site's."""
    infra = config.infra
    site = settings.instance_types.get(infra.instance_type, InstanceType(partition=infra.instance_type))
    own = config.resources or Resources()
    return Requested(
        partition=site.partition,
        account=infra.account,
        nodes=own.nodes if own.nodes is not None else site.nodes,
        cpus=own.cpus if own.cpus is not None else site.cpus,
        gpus=own.gpus if own.gpus is not None else site.gpus,
        memory=own.memory or site.memory,
        time_limit=own.time_limit or site.time_limit,
        qos=own.qos or site.qos,
        constraint=own.constraint or site.constraint,
    )


def check_policy(config: TaskConfig, requested: Requested, policy: Policy) -> Refusal | None:
    """Compare the request with the policy. Returns the first thing that the policy forbids, or None."""
    infra = config.infra
    section = f"clusters.{config.runner_location}.infra_config"
    named = (
        (f"{section}.account", "account", infra.account, policy.accounts),
        (f"{section}.instance_type", "partition", requested.partition, policy.partitions),
        (f"{section}.image_name", "image", infra.image_name, policy.images),
        ("dataset_name", "dataset", config.dataset_name, policy.datasets),
        ("resources.qos", "qos", requested.qos, policy.qos),
    )
    for field, what, given, allowed in named:
        if allowed is not None and given not in allowed and not (given is None and what in {"dataset", "qos"}):
            return _refuse_name(field, what, given, allowed)
    return _check_limits(requested, policy)


def _refuse_name(field: str, what: str, given: str | None, allowed: list[str]) -> Refusal:
    known = ", ".join(sorted(allowed)) or "none"
    subject = f"The {what} {given!r} is" if given is not None else f"A task without {what} is"
    return Refusal(f"{subject} not allowed at this site. Allowed: {known}.", field, permanent=True)


def _check_limits(requested: Requested, policy: Policy) -> Refusal | None:
    limits = (
        ("nodes", requested.nodes, policy.max_nodes),
        ("cpus", requested.cpus, policy.max_cpus),
        ("gpus", requested.gpus, policy.max_gpus),
        ("time_limit", parse_time_limit_min(requested.time_limit), policy.max_time_limit_min),
    )
    for field, given, limit in limits:
        if given is not None and limit is not None and given > limit:
            unit = " minutes" if field == "time_limit" else ""
            message = f"{field} is {given:g}{unit}. This site allows at most {limit}{unit}."
            return Refusal(message, f"resources.{field}", permanent=True)
    if policy.max_time_limit_min is not None and requested.time_limit is None:
        message = f"This site limits tasks to {policy.max_time_limit_min} minutes. Set a time_limit in resources."
        return Refusal(message, "resources.time_limit", permanent=True)
    return None


def parse_time_limit_min(text: str | None) -> float | None:
    """Read Slurm's time notations as minutes: m, m:s, h:m:s, d-h, d-h:m, d-h:m:s. 0 means no limit.

    Returns None if there is no limit in the text.
    """
    found = _TIME.fullmatch(text or "")
    if found is None:
        return None
    parts = [int(part) for part in found["rest"].split(":")]
    if found["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        total = int(found["days"]) * 1440 + hours * 60 + minutes + seconds / 60
    elif len(parts) == 3:
        total = parts[0] * 60 + parts[1] + parts[2] / 60
    else:
        total = parts[0] + (parts[1] / 60 if len(parts) == 2 else 0)
    return total or float("inf")
