"""Bytes to TaskConfig, with errors that name the field, what was given and what is allowed."""

import difflib
import json
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

from pydantic import ValidationError

from mltm.contract.base_models import JsonObject
from mltm.contract.problems import FieldProblem
from mltm.contract.task_config import Backend, ExecutionConfig, InfraConfig, Resources, TaskConfig

__all__ = ["MAX_CONFIG_BYTES", "ConfigError", "parse_config", "read_json_object"]

MAX_CONFIG_BYTES = 1024 * 1024
# To read a mebibyte of `[],[],` takes seconds, and in Python no other thread runs meanwhile.
_MAX_VALUES = 100_000
_MAX_PROBLEMS = 20


class ConfigError(ValueError):
    """A config that cannot be accepted. `fields` says why, field by field."""

    def __init__(self, fields: list[FieldProblem]) -> None:
        super().__init__("; ".join(str(field) for field in fields))
        self.fields = fields


def parse_config(raw: bytes) -> TaskConfig:
    """Read a task's config from JSON bytes (UTF-8, at most 1 MiB). Raises ConfigError."""
    return _check(read_json_object(raw))


def read_json_object(raw: bytes) -> JsonObject:
    """Read one JSON object; NaN, duplicate names and what is not an object are refused. Raises ConfigError."""
    if len(raw) > MAX_CONFIG_BYTES:
        _refuse("config", f"at most {MAX_CONFIG_BYTES:,} bytes of JSON are allowed", f"{len(raw):,} bytes")
    count = sum(map(raw.count, (b",", b"[", b"{")))
    if count > _MAX_VALUES:
        _refuse("config", f"at most {_MAX_VALUES:,} commas and brackets are allowed", f"{count:,}")
    if not raw.strip():
        _refuse("config", "a JSON object is needed", "an empty file")
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        _refuse("config", f"valid JSON is needed; line {error.lineno}, column {error.colno}: {error.msg}")
    except UnicodeDecodeError as error:
        _refuse("config", f"UTF-8 text is needed; byte {error.start} is not UTF-8")
    except RecursionError:
        _refuse("config", "at most 16 levels of nesting are allowed")
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        _refuse("config", "whole numbers of at most 64 bits are allowed", "a number of thousands of digits")
    if not isinstance(value, dict):
        _refuse("config", "a JSON object { … } is needed", type(value).__name__)
    return value


def _refuse(field: str, allowed: str, given: str = "") -> NoReturn:
    raise ConfigError([FieldProblem(field=field, given=given, allowed=allowed)])


def _refuse_constant(name: str) -> NoReturn:
    _refuse("config", "NaN and Infinity are not JSON numbers; finite numbers are allowed", name)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    twice = next((name for name, count in Counter(name for name, _ in pairs).items() if count > 1), None)
    if twice is not None:
        _refuse(_show_name(twice), "duplicate name. Remove one of the two", "the name twice in one object")
    return dict(pairs)


def _check(value: JsonObject) -> TaskConfig:
    try:
        config = TaskConfig.model_validate(value)
    except ValidationError as error:
        raise ConfigError(_explain(error, ())) from error
    where: tuple[str, ...] = ("clusters", config.runner_location)
    section = config.clusters.get(config.runner_location)
    if section is None:
        known = ", ".join(_show_name(name) for name in sorted(config.clusters)[:_MAX_PROBLEMS]) or "none"
        _refuse("clusters", f"a section for runner_location {config.runner_location!r} is needed", f"sections: {known}")
    if "infra_config" not in section:
        near = _did_you_mean(next(iter(section), ""), ["infra_config"])
        raise ConfigError(
            [FieldProblem(field=".".join((*where, "infra_config")), allowed="required, but missing", hint=near)]
        )
    try:
        InfraConfig.model_validate(section["infra_config"])
    except ValidationError as error:
        raise ConfigError(_explain(error, (*where, "infra_config"))) from error
    return config


def _explain(error: ValidationError, prefix: tuple[str, ...]) -> list[FieldProblem]:
    found = error.errors(include_url=False, include_context=False)[:_MAX_PROBLEMS]
    return [_explain_one(dict(detail), prefix) for detail in found]


def _explain_one(detail: dict[str, object], prefix: tuple[str, ...]) -> FieldProblem:
    loc = detail["loc"]
    steps = loc if isinstance(loc, tuple) else ()
    path = [*prefix, *(_show_name(str(step)) for step in steps if step != "[key]")]
    message = str(detail["msg"]).removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            known = _known_names(path)
            return FieldProblem(field=".".join(path), allowed="no such field", hint=_did_you_mean(path[-1], known))
        case "missing":
            return FieldProblem(field=".".join(path), allowed="required, but missing")
        case "value_error" if not path:
            field, _, rest = message.partition(": ")
            return FieldProblem(field=field, allowed=rest)
        case _:
            return FieldProblem(field=".".join(path) or "config", given=_shorten(detail.get("input")), allowed=message)


def _known_names(path: list[str]) -> list[str]:
    if "infra_config" in path:
        return list(InfraConfig.model_fields)
    if "resources" in path:
        return list(Resources.model_fields)
    if "execution_config" in path:
        return list(ExecutionConfig.model_fields)
    if "backend_execution" in path:
        return list(Backend.model_fields)
    return list(TaskConfig.model_fields)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else ""


def _show_name(name: str) -> str:
    """Render a name that a user gave: it may have any length and control characters."""
    return name if name.isprintable() and len(name) <= 80 else _shorten(name)


def _shorten(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
