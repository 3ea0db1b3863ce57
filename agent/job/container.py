"""The command line of Apptainer or Singularity. Pure. Paths inside are those of the host (docs/decisions)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.job.environment import params_path
from agent.job.refusal import Refusal
from agent.settings import AgentSettings
from mltm.contract.names import TaskFolder

__all__ = ["build_container_argv", "check_bind_paths", "prefix_environment", "started_folder"]

# The image's first act: without this file the image did not start, whatever the exit code. Constant; the user's
# arguments stay arguments of their own.
_MARK = ': >"$1"; shift; exec "$@"'


def started_folder(folder: TaskFolder, attempt: int) -> Path:
    """`control/started.<NN>/`: bound writable by itself; the wrapper looks for `image` in it."""
    return folder.control / f"started.{attempt:02d}"


def build_container_argv(
    settings: AgentSettings,
    folder: TaskFolder,
    attempt: int,
    *,
    image: Path,
    dataset: Path | None,
    command: Sequence[str],
    with_gpus: bool,
) -> list[str]:
    """Build the whole command: what is bound is the task's own folders, its dataset and its parameters, no records."""
    started = started_folder(folder, attempt)
    binds = [f"{folder.input}:{folder.input}:ro", f"{params_path(folder, attempt)}:{params_path(folder, attempt)}:ro"]
    binds += [f"{path}:{path}" for path in (folder.outputs, folder.checkpoint, started)]
    binds += [f"{dataset}:{dataset}:ro"] if dataset is not None else []
    options = ["--nv"] if with_gpus and settings.gpu_flag else []
    # --contain: neither the real home nor the host's /tmp; --home: HOME is the work folder, bound by this.
    options += ["--contain", "--home", f"{folder.work}:{folder.work}", "--pwd", str(folder.work)]
    for bind in [*binds, *settings.binds]:
        options += ["--bind", bind]
    marked = ["/bin/sh", "-c", _MARK, "mltm", str(started / "image"), *command]
    return [settings.runtime, "exec", *options, str(image), *marked]


def prefix_environment(variables: Mapping[str, str], runtime: str) -> dict[str, str]:
    """Prefix the names so that the image's own defaults do not win over them; each runtime knows its own prefix.

    No --cleanenv: what Slurm sets (CUDA_VISIBLE_DEVICES, SLURM_*) has to come through.
    """
    return {f"{runtime.upper()}ENV_{name}": value for name, value in variables.items()}


def check_bind_paths(paths: Sequence[Path]) -> Refusal | None:
    """A colon or comma in a path would be read as a bind option: refuse it, and say which."""
    for path in paths:
        if any(mark in str(path) for mark in ':,"\\\n'):
            words = f'The path {str(path)!r} cannot be bound into a container: it holds one of : , " \\ or a line feed.'
            return Refusal(
                f"{words} The site's administrator has to choose another.", "runner_location", permanent=True
            )
    return None
