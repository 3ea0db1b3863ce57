"""Builds the command line of Apptainer or Singularity. Pure. Paths inside are those of the host (docs/decisions)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agent.job.environment import params_path
from agent.job.policy import Refusal
from agent.settings import AgentSettings
from mltm.contract.spool_layout import TaskFolder

__all__ = ["build_container_argv", "check_bind_paths", "rename_variables", "started_folder"]

# What runs first in the image. The marker: without this file the image did not start, whatever the exit code. Then the
# task's variables get their own names, after the image's defaults. Constant: only names, which are checked, are
# evaluated; values and arguments stay what they are. `command`: a name that this shell reserves (UID) is no error.
_START = (
    ': >"$1"; shift; '
    'while [ "$1" != -- ]; do eval "command export \\"$1=\\$MLTMENV_$1\\"; unset -v MLTMENV_$1"; shift; done; '
    'shift; exec "$@"'
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def started_folder(folder: TaskFolder, attempt: int) -> Path:
    """`control/started.<NN>/`: bound writable by itself. The wrapper checks for the file `image` in it."""
    return folder.control / f"started.{attempt:02d}"


def build_container_argv(
    settings: AgentSettings,
    folder: TaskFolder,
    attempt: int,
    *,
    image: Path,
    dataset: Path | None,
    command: Sequence[str],
    names: Iterable[str],
    with_gpus: bool,
) -> list[str]:
    """Build the whole command. It binds the task's own folders, its dataset and its parameters, and no records.

    names: the task's variables; `rename_variables` gives their values. Raises ValueError for a name that is not valid.
    """
    started = started_folder(folder, attempt)
    binds = [f"{folder.input}:{folder.input}:ro", f"{params_path(folder, attempt)}:{params_path(folder, attempt)}:ro"]
    binds += [f"{path}:{path}" for path in (folder.outputs, folder.checkpoint, started)]
    binds += [f"{dataset}:{dataset}:ro"] if dataset is not None else []
    options = ["--nv"] if with_gpus and settings.gpu_flag else []
    # --contain: neither the real home nor the host's /tmp; --pid: /proc shows no process from which a record can be
    # reached or that can be killed; --ipc: no System V memory of other tasks; --home: HOME is the work folder, bound by
    # this; --workdir: /tmp and /var/tmp are `tmp` and `var_tmp` in it, because Apptainer's own of 64 MB are soon full.
    # Apptainer follows links on the host's side of a bind, so no source may lie below a folder that any attempt can
    # write: the work folder, for one. isolation.py holds the site's own binds to that.
    options += ["--contain", "--pid", "--ipc", "--home", f"{folder.work}:{folder.work}", "--pwd", str(folder.work)]
    options += ["--workdir", str(folder.attempt_tmp(attempt))]
    for bind in [*binds, *settings.binds]:
        options += ["--bind", bind]
    started_by = ["/bin/sh", "-c", _START, "mltm", str(started / "image"), *map(_check_name, names), "--", *command]
    return [settings.runtime, "exec", *options, str(image), *started_by]


def _check_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a variable")
    return name


def rename_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Give the variables the names under which they travel into the image.

    Not APPTAINERENV_: Apptainer 1.4.5 evaluates such values in a shell, and one odd quote loses all of them (docs/
    decisions). No --cleanenv: what Slurm sets (CUDA_VISIBLE_DEVICES, SLURM_*) has to come through.
    """
    return {f"MLTMENV_{name}": value for name, value in variables.items()}


def check_bind_paths(paths: Sequence[Path]) -> Refusal | None:
    """Refuse a path with a colon or comma, which would be read as a bind option; None if all can be bound."""
    for path in paths:
        if any(mark in str(path) for mark in ':,"\\\n'):
            message = (
                f'The path {str(path)!r} cannot be bound into a container: it contains one of : , " \\ or a line feed.'
            )
            return Refusal(
                f"{message} Ask the site's administrator to choose another.", "runner_location", permanent=True
            )
    return None
