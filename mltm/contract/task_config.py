"""A task's config, in every shape that users send (docs/task-config.md). What is accepted is written back the same."""

import math
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    RootModel,
    StrictBool,
    WithJsonSchema,
    model_validator,
)
from pydantic.fields import FieldInfo

from mltm.contract.base_models import MAX_INT64, JsonObject, ShownAs, Strict, only_number
from mltm.contract.manifest import FILE_NAME, check_file_name
from mltm.contract.param_args import BoolArgs, ListArgs, check_list_args
from mltm.contract.states import State

__all__ = [
    "Backend", "ExecutionConfig", "InfraConfig", "RerunEnd", "Resources", "TaskConfig", "check_json",
    "check_key", "check_text",
]  # fmt: skip

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@:-]{0,127}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PARAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
# They would change how the wrapper or the container itself runs, or what we promise to set.
_RESERVED_ENV = re.compile(
    r"(LD_|BASH|SLURM|SBATCH|APPTAINER|SINGULARITY|MLTM_).*|PATH|ENV|IFS|HOME|USER|SHELL|PYTHONHOME|PS4|PROMPT_COMMAND"
)
_TIME = re.compile(r"([0-9]{1,3}-)?[0-9]{1,6}(:[0-5]?[0-9]){0,2}")
_MEMORY = re.compile(r"[1-9][0-9]{0,8}[KMGT]?")


def check_key(value: str) -> str:
    """A name that is looked up or handed to Slurm: it can be neither a path nor an option."""
    if not _KEY.fullmatch(value):
        raise ValueError(
            "letters, digits and . _ + @ : - are allowed, the first one a letter, digit or _, at most 128 characters"
        )
    return value


def _check_time_limit(value: str) -> str:
    if not _TIME.fullmatch(value):
        raise ValueError(
            "a time as Slurm writes it is allowed: 30 (minutes), 2:00:00 (hours) or 1-12:00:00 (days-hours)"
        )
    return value


def _check_memory(value: str) -> str:
    if not _MEMORY.fullmatch(value):
        raise ValueError("a size as Slurm writes it is allowed: a whole number with K, M, G or T, as in 512M or 4G")
    return value


def check_text(value: str) -> str:
    """Text for people: no control characters, at most 1,024 characters."""
    if len(value) > 1024 or any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in value):
        raise ValueError("text without control characters, at most 1,024 characters, is allowed")
    return value


def _check_script_path(value: str) -> str:
    check_text(value)
    parts = value.split("/")
    if "\\" in value or ".." in parts:
        raise ValueError("a path with / and without .. is allowed; only its last part, the file name, is used")
    check_file_name(parts[-1])
    return value


def check_json(value: JsonValue, depth: int = 0) -> JsonValue:  # noqa: C901 - one case a JSON type
    """JSON that every part can carry: bounded depth and numbers, no control characters. Raises ValueError."""
    if depth > 16:
        raise ValueError("at most 16 levels of nesting are allowed")
    match value:
        case bool() | None:
            pass
        case int() if abs(value) > MAX_INT64:
            raise ValueError("whole numbers of at most 64 bits are allowed")
        case float() if not math.isfinite(value):
            raise ValueError("NaN and Infinity are not JSON numbers; finite numbers up to 1.8e308 are allowed")
        case str() if any(ord(c) < 32 and c not in "\n\t" for c in value) or "\x7f" in value:
            raise ValueError("control characters other than newline and tab are not allowed")
        case str() if any(0xD800 <= ord(c) < 0xE000 for c in value):
            raise ValueError("half a surrogate pair is not text")
        case list():
            for item in value:
                check_json(item, depth + 1)
        case dict():
            for name, item in value.items():
                check_json(name, depth + 1)
                check_json(item, depth + 1)
        case _:
            pass
    return value


def _check_params(params: JsonObject) -> JsonObject:
    for name in params:
        if not _PARAM_NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not a parameter name: letters, digits and _ . - are allowed")
    check_json(params)
    return params


def _check_env(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not a variable name: letters, digits and _ are allowed")
        if _RESERVED_ENV.fullmatch(name):
            raise ValueError(f"{name} is set by the system and cannot be set here; choose another name")
        check_json(value)
        if len(value) > 16_384:
            raise ValueError(f"the value of {name} is longer than 16,384 characters")
    return env


def _pattern(pattern: re.Pattern[str]) -> FieldInfo:
    """For the schema only: pydantic's own message for a pattern is the pattern."""
    info: FieldInfo = Field(json_schema_extra={"pattern": f"^(?:{pattern.pattern})$"})
    return info


# The schema's word for _check_script_path: no control character, no backslash, no folder called `..`, 1,024 characters.
_SCRIPT_PATH = re.compile(rf"(?=.{{0,1024}}$)(?!(?:.*/)?\.\.(?:/|$))(?:[^\\\x00-\x1f\x7f-\x9f]*/)?{FILE_NAME.pattern}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,1024}")

_CARRIED = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"  # what check_json allows in a text

_CarriedText = Annotated[str, Field(pattern=_CARRIED)]


class CarriedJson(
    RootModel[
        _CarriedText
        | Annotated[int, Field(ge=-MAX_INT64, le=MAX_INT64)]
        | Annotated[float, Field(allow_inf_nan=False)]
        | bool
        | list["CarriedJson"]
        | dict[_CarriedText, "CarriedJson"]
        | None
    ]
):
    """JSON with at most 16 levels, whole numbers of at most 64 bits, and no control characters but newline and tab."""

    # Only the schema is taken from this: check_json does the work.


_ParamName = Annotated[str, Field(pattern=f"^(?:{_PARAM_NAME.pattern})$")]
_Params = Annotated[JsonObject, AfterValidator(_check_params), ShownAs(dict[_ParamName, CarriedJson])]
_Section = Annotated[JsonObject, ShownAs(dict[_CarriedText, CarriedJson])]
_Env = Annotated[
    dict[str, str],
    AfterValidator(_check_env),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^(?!(?:{_RESERVED_ENV.pattern})$)(?:{_ENV_NAME.pattern})$"},
            "additionalProperties": {"type": "string", "maxLength": 16_384, "pattern": _CARRIED},
        }
    ),
]
_NotYet = Annotated[JsonObject | None, WithJsonSchema({"type": "null", "description": "not available in this version"})]

Key = Annotated[str, AfterValidator(check_key), _pattern(_KEY)]
Text = Annotated[str, AfterValidator(check_text), _pattern(_TEXT)]
ScriptPath = Annotated[str, AfterValidator(_check_script_path), _pattern(_SCRIPT_PATH)]
_RERUN_STATES = (State.NODE_FAIL, State.PREEMPTED, State.TIMEOUT, State.LOST, State.OUT_OF_MEMORY)
_MAX_EXIT_CODE = 255


def _check_rerun_end(value: object) -> str | int:
    if isinstance(value, str) and value in _RERUN_STATES:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and value in range(1, _MAX_EXIT_CODE + 1):
        return int(value)
    raise ValueError(f"{', '.join(_RERUN_STATES)}, or an exit code of the script (1 to {_MAX_EXIT_CODE}) is allowed")


RerunEnd = Annotated[
    str | int,
    PlainValidator(_check_rerun_end),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(_RERUN_STATES), "type": "string"},
                {"maximum": _MAX_EXIT_CODE, "minimum": 1, "type": "integer"},
            ]
        }
    ),
]
"""After what a task may run again: a state's word, or the exit code with which its script left."""


class InfraConfig(Strict):
    """Where on a cluster: a Slurm partition or a site's instance type, the image's key, the account."""

    instance_type: Key
    image_name: Key
    account: Key | None = None


class ExecutionConfig(Strict):
    """The later shape's tracking fields."""

    execution_mode: Text | None = None
    tracking_uri: Text | None = None


class Backend(Strict):
    """One section of `backend_execution`."""

    execution_config: ExecutionConfig


class Resources(Strict):
    """What the task asks of Slurm, in Slurm's own words and notations."""

    nodes: Annotated[int, Field(ge=1, le=10_000), only_number] | None = None
    cpus: Annotated[int, Field(ge=1, le=100_000), only_number] | None = None
    gpus: Annotated[int, Field(ge=0, le=100_000), only_number] | None = None
    memory: Annotated[str, AfterValidator(_check_memory), _pattern(_MEMORY)] | None = None
    time_limit: Annotated[str, AfterValidator(_check_time_limit), _pattern(_TIME)] | None = None
    qos: Key | None = None
    constraint: Key | None = None


class TaskConfig(Strict):
    """The config of a task. `clusters` sections other than `runner_location`'s are carried and not read."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("script_path", "script_name")
            ]
        }
    )
    runner_location: Key
    clusters: dict[str, _Section]
    dataset_name: Key | None = None
    model_params: _Params = Field(default_factory=dict)
    script_path: ScriptPath | None = None
    script_name: ScriptPath | None = None
    experiment_name: Text | None = None
    project_path: Text | None = None
    model_tracking: StrictBool | None = None
    tracking_uri: Text | None = None
    execution_mode: Literal["mlflow", "no-mlflow"] | None = None
    backend_execution: dict[Key, Backend] | None = None
    arguments: Literal["named", "positional", "none"] = "named"
    params_as_args: StrictBool = False
    bool_args: BoolArgs = "value"
    list_args: ListArgs = "json"
    resources: Resources | None = None
    env: _Env = Field(default_factory=dict)
    warn_before_end_s: Annotated[int, Field(ge=60, le=65_535), only_number] | None = None
    rerun_on: list[RerunEnd] = Field(default_factory=list)
    rerun_limit: Annotated[int, Field(ge=0, le=100), only_number] = 1
    sweep: _NotYet = None
    notify: _NotYet = None

    @model_validator(mode="after")
    def _is_whole(self) -> "TaskConfig":
        if self.script_path is None and self.script_name is None:
            raise ValueError("script_path: the name of the entrypoint script is missing")
        if (
            self.script_path
            and self.script_name
            and self._basename(self.script_path) != self._basename(self.script_name)
        ):
            raise ValueError("script_name: it names another file than script_path; send one of the two")
        if self.sweep is not None or self.notify is not None:
            name = "sweep" if self.sweep is not None else "notify"
            raise ValueError(f"{name}: not available in this version yet; leave the field out")
        for section in self.clusters.values():
            check_json(section)
        for field in ("bool_args", "list_args"):
            if field in self.model_fields_set and not self.params_as_args:
                raise ValueError(f"{field}: it has no effect without params_as_args; set that to true")
        if self.params_as_args:
            check_list_args(self.model_params, self.list_args)
        return self

    @staticmethod
    def _basename(path: str) -> str:
        return path.rsplit("/", 1)[-1]

    @property
    def script(self) -> str:
        """The entrypoint's file name, as the user calls it."""
        return self._basename(self.script_path or self.script_name or "")

    @property
    def infra(self) -> InfraConfig:
        """The target's `infra_config`. Raises pydantic.ValidationError or KeyError if parse_config was not used."""
        return InfraConfig.model_validate(self.clusters[self.runner_location]["infra_config"])

    @property
    def uses_mlflow(self) -> bool:
        """True if tracking is on, in either shape."""
        return self.execution_mode == "mlflow" if self.execution_mode is not None else bool(self.model_tracking)

    @property
    def effective_tracking_uri(self) -> str | None:
        """The tracking URI in either shape."""
        section = (self.backend_execution or {}).get(self.execution_mode or "")
        return (section.execution_config.tracking_uri if section else None) or self.tracking_uri

    def to_json(self) -> JsonObject:
        """Write the config back as it came: only what was sent."""
        written: JsonObject = self.model_dump(mode="json", exclude_unset=True)
        return written
