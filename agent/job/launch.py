"""Plans an attempt from a task's config: what the wrapper runs, and what sbatch is asked for. Writes those files.

Planning reads the catalogue folders and nothing else, and it changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.job.catalogue import Catalogue, read_catalogue
from agent.job.container import build_container_argv, check_bind_paths, rename_variables, started_folder
from agent.job.environment import build_environment, build_script_argv, params_path, render_params
from agent.job.policy import Refusal, Requested, check_policy, plan_request
from agent.job.wrapper import WRAPPER, WrapperSettings, build_wrapper_args
from agent.settings import AgentSettings
from agent.slurm.request import SubmitRequest
from mltm.contract.ids import render_job_name
from mltm.contract.spool_layout import ENTRYPOINT, TaskFolder
from mltm.contract.task_config import TaskConfig
from mltm.runtime import files

__all__ = ["Launch", "Refusal", "plan_launch", "write_launch"]


@dataclass(frozen=True)
class Launch:
    """argv, env, checks, params: written to files beside the records. request: for Slurm. folders: made for it."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    checks: tuple[Path, ...]
    folders: tuple[Path, ...]
    params: bytes
    request: SubmitRequest


def plan_launch(config: TaskConfig, folder: TaskFolder, attempt: int, settings: AgentSettings) -> Launch | Refusal:
    """Plan one attempt, or say why this site refuses it."""
    requested = plan_request(config, settings)
    found = check_policy(config, requested, settings.policy) or read_catalogue(config, settings)
    if isinstance(found, Refusal):
        return found
    needed = [found.image, *([found.dataset] if found.dataset else [])]
    if settings.runtime != "none" and (refusal := check_bind_paths([folder.path, *needed])) is not None:
        return refusal
    return _plan(config, folder, attempt, settings, requested, found)


def _plan(
    config: TaskConfig,
    folder: TaskFolder,
    attempt: int,
    settings: AgentSettings,
    requested: Requested,
    found: Catalogue,
) -> Launch:
    image, dataset = found.image, found.dataset
    variables = build_environment(config, folder, attempt, dataset)
    command = build_script_argv(config, folder, dataset)
    argv, folders = [str(image), *command], list[Path]()
    if settings.runtime != "none":
        argv = build_container_argv(
            settings, folder, attempt, image=image, dataset=dataset, command=["python3", *command],
            names=variables, with_gpus=bool(requested.gpus),
        )  # fmt: skip
        variables = rename_variables(variables)
        folders += [started_folder(folder, attempt), folder.attempt_tmp(attempt)]
    argv = [*_leave_out(settings.slurm.keep_variables, variables), *argv]
    needed = [folder.input / ENTRYPOINT, params_path(folder, attempt), image, *([dataset] if dataset else [])]
    return Launch(
        argv=tuple(argv),
        env=tuple(f"{name}={value}" for name, value in variables.items()),
        checks=(*needed, *folders),
        folders=tuple(folders),
        params=render_params(config.model_params),
        request=_build_request(config, folder, attempt, settings, requested),
    )


def _leave_out(names: Sequence[str], own: Mapping[str, str]) -> list[str]:
    """What keeps from the task what is kept for sbatch, which gives all its variables to the job. own: the task's."""
    kept = [name for name in names if name not in own]
    return ["env", *(f"--unset={name}" for name in kept)] if kept else []


def _build_request(
    config: TaskConfig, folder: TaskFolder, attempt: int, settings: AgentSettings, requested: Requested
) -> SubmitRequest:
    wrapper = WrapperSettings(
        has_image=settings.runtime != "none",
        warns=config.warn_before_end_s is not None,
        log_head_bytes=settings.log_head_bytes,
        log_tail_bytes=settings.log_tail_bytes,
        beat_every_s=settings.waits.beat_every_s,
        beat_stop_s=settings.waits.beat_stop_s,
        kill_wait_s=settings.slurm.kill_wait_s,
    )
    return SubmitRequest(
        job_name=render_job_name(folder.task_id, attempt),
        chdir=folder.path,
        output=folder.attempt(attempt).slurm_output,
        script=WRAPPER,
        args=build_wrapper_args(settings.spool, folder.task_id, attempt, wrapper),
        partition=requested.partition,
        account=requested.account,
        nodes=requested.nodes,
        cpus=requested.cpus,
        gpus=requested.gpus or None,
        memory=requested.memory,
        time_limit=requested.time_limit,
        qos=requested.qos,
        constraint=requested.constraint,
        warn_before_end_s=config.warn_before_end_s,
    )


def write_launch(launch: Launch, folder: TaskFolder, attempt: int, nonce: str) -> None:
    """Write what the wrapper reads, durably and for this uid only. To repeat it is harmless. Raises OSError."""
    names = folder.attempt(attempt)
    for own in launch.folders:
        files.make_own_folder(own)
    files.replace(params_path(folder, attempt), launch.params, nonce, mode=0o600)
    files.replace(names.argv, _join(launch.argv), nonce, mode=0o600)
    files.replace(names.env, _join(launch.env), nonce, mode=0o600)
    files.replace(names.checks, _join([str(path) for path in launch.checks]), nonce, mode=0o600)


def _join(items: tuple[str, ...] | list[str]) -> bytes:
    return b"".join(item.encode("utf-8", "surrogateescape") + b"\0" for item in items)
