"""What sbatch is asked for, as a value. agent/slurm/commands.py builds the argv."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["SubmitRequest"]


@dataclass(frozen=True)
class SubmitRequest:
    """One sbatch call. None: the site's default. job_name: the key by which the job is found again.

    It holds no user text that the policy has not checked. script: the constant wrapper.
    """

    job_name: str
    chdir: Path
    output: Path
    script: Path
    args: tuple[str, ...] = ()
    comment: str | None = None  #: None: the job name; a second witness only
    partition: str | None = None
    account: str | None = None
    nodes: int | None = None
    cpus: int | None = None  #: per task (--cpus-per-task)
    gpus: int | None = None  #: per node (--gres=gpu:n)
    memory: str | None = None  #: per node, as Slurm spells it: 4G
    time_limit: str | None = None  #: as Slurm spells it: minutes, or 1-02:03:04
    qos: str | None = None
    constraint: str | None = None
    warn_before_end_s: int | None = None  #: USR1 to the wrapper so long before the time limit
    dependency: str | None = None
    begin: str | None = None
