"""The agent's config file (TOML): paths, the site's policy, and how often Slurm is asked.

The agent obeys the policy here, whatever the gateway says. Read once, by the command line, and passed down.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from agent.errors import SettingsError
from mltm.contract.base_models import Strict
from mltm.contract.spool_layout import Inbox, Spool
from mltm.runtime.explain_settings import explain_settings

__all__ = ["AgentSettings", "Bucket", "InstanceType", "Policy", "SlurmSettings", "Waits", "read_settings"]

Seconds = Annotated[float, Field(ge=0)]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# They would change what Slurm is asked for, how its answers look, or what the agent sets itself.
_NOT_KEPT = re.compile(
    r"(?:SBATCH|SQUEUE|SACCT|SCANCEL|SCONTROL|SALLOC|SRUN)_.*|SLURM_(?!JWT$).*|LD_.*|BASH.*|ENV|PATH|HOME|USER|LOGNAME"
    r"|LANG|LANGUAGE|LC_.*|TZ"
)


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not the name of a variable")
    if _NOT_KEPT.fullmatch(name):
        raise ValueError(f"{name} would change what Slurm is asked for, or how it answers. Leave it out")
    return name


VariableName = Annotated[str, AfterValidator(_check_variable)]


class InstanceType(Strict):
    """A site's instance type, as Slurm's options. A task's own `resources` override these."""

    partition: str
    nodes: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    memory: str | None = None
    time_limit: str | None = None
    qos: str | None = None
    constraint: str | None = None


class Policy(Strict):
    """What this site allows. None: no rule; Slurm and the catalogue folders still decide."""

    accounts: list[str] | None = None
    partitions: list[str] | None = None
    images: list[str] | None = None
    datasets: list[str] | None = None
    qos: list[str] | None = None
    max_nodes: int | None = None
    max_cpus: int | None = None
    max_gpus: int | None = None
    max_time_limit_min: int | None = None


class Bucket(Strict):
    """A rate limit: at most `burst` calls at once, and `per_second` on average."""

    burst: int = Field(ge=1)
    per_second: float = Field(gt=0)


class SlurmSettings(Strict):
    """How Slurm is called. path: the folder of its programs, if PATH lacks it; it is put before PATH."""

    path: str | None = None
    conf: Path | None = None
    sbatch_bucket: Bucket = Bucket(burst=50, per_second=5)
    query_bucket: Bucket = Bucket(burst=10, per_second=0.2)
    sbatch_timeout_s: Seconds = 300
    query_timeout_s: Seconds = 60
    poll_interval_s: Seconds = 30
    accounting_interval_s: Seconds = 60
    kill_wait_s: Seconds = 30  #: TERM, then so long until KILL; Slurm's KillWait, if that is shorter
    keep_variables: list[VariableName] = Field(default_factory=list)  #: of the agent's own, for Slurm's programs alone
    extra_transient: list[str] = Field(default_factory=list)
    extra_limit: list[str] = Field(default_factory=list)
    extra_permanent: list[str] = Field(default_factory=list)


class Waits(Strict):
    """The protocol's waits, in seconds.

    To shorten them wastes jobs, but never loses a task. Do not shorten `beat_still_s` and `look_again_s` at a site:
    they are evidence.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_old_name(cls, given: object) -> object:
        """Version 0.1 called `retry_max_s` `retry_most_s`."""
        if isinstance(given, dict) and "retry_most_s" in given and "retry_max_s" not in given:
            return {("retry_max_s" if name == "retry_most_s" else name): value for name, value in given.items()}
        return given

    rescan_s: Seconds = 30
    glance_s: Seconds = 2
    poll_soon_s: Seconds = 10
    faulty_look_s: Seconds = 20
    drop_quiet_s: Seconds = 30
    drop_look_s: Seconds = 10
    drop_give_up_s: Seconds = 600
    fence_after_s: Seconds = 60
    late_accept_s: Seconds = 300  #: instead of fence_after_s, if sbatch gave up waiting for Slurm's answer
    no_claim_s: Seconds = 300
    unlisted_s: Seconds = 300
    beat_still_s: Seconds = 300
    look_again_s: Seconds = 120
    beat_every_s: Seconds = 30
    beat_stop_s: Seconds = 180
    retry_first_s: Seconds = 30
    retry_max_s: Seconds = 600
    limit_retry_s: Seconds = 120
    heartbeat_s: Seconds = 30


class AgentSettings(Strict):
    """The whole config file."""

    spool: Path
    inbox: Path | None = None  #: the gateway's folder for this agent; None: <spool>/in, for one account
    cluster: str
    gateway_url: str | None = None  #: None: the inbox's, if it is proved; else the enrolment's
    allow_plain_http: bool = False  #: True: the credential may go to a gateway off this host unencrypted
    credential_file: Path
    ca_file: Path | None = None
    runtime: Literal["apptainer", "singularity", "none"] = "apptainer"
    shared_without_container: bool = False  #: allow runtime `none` to an agent that runs the tasks of all users
    images_dir: Path | None = None  #: contains <image_name>.sif
    images: dict[str, Path] = Field(default_factory=dict)  #: catalogue: a SIF, or for runtime `none` a Python
    datasets_dir: Path | None = None
    gpu_flag: bool = True  #: --nv for tasks that ask for GPUs
    binds: list[str] = Field(default_factory=list)  #: further --bind items of the site
    trusted_groups: list[str] = Field(default_factory=list)  #: groups that may write to folders above the spool
    drops: bool = True
    observer: Literal["auto", "polling", "inotify"] = "auto"  #: auto: by the spool's file system
    log_head_bytes: int = 8 * 1024 * 1024
    log_tail_bytes: int = 56 * 1024 * 1024
    instance_types: dict[str, InstanceType] = Field(default_factory=dict)
    policy: Policy = Policy()
    slurm: SlurmSettings = SlurmSettings()
    waits: Waits = Waits()
    _file: Path | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """Where this was read from."""
        return self._file

    @property
    def inbox_folder(self) -> Inbox:
        """Where the gateway puts tasks for this agent."""
        return Inbox(self.inbox) if self.inbox is not None else Spool(self.spool).inbox


def read_settings(path: Path) -> AgentSettings:
    """Read and check the config file. Raises SettingsError, which names the file, the field and what is allowed."""
    hint = "Correct the file and start again. docs/agent.md explains every field."
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = AgentSettings.model_validate(fields)
    except FileNotFoundError as error:
        raise SettingsError(f"There is no config file {path}.", next_step="Name it with --config.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"Cannot read the config file {path}: {error}.", next_step=hint) from error
    except ValidationError as error:
        wrong = " ".join(str(problem) for problem in explain_settings(error, AgentSettings))
        raise SettingsError(f"The config file {path} is not valid: {wrong}", next_step=hint) from error
    settings._file = path.absolute()  # noqa: SLF001 - no field, so that no config file can set it
    return settings
