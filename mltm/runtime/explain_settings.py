"""Explains what is wrong with a settings file: the place, what is allowed, and the name that was perhaps meant."""

import difflib
from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError

from mltm.contract.problems import FieldProblem

__all__ = ["explain_settings"]

_KINDS = {
    "bool": "true or false is needed, without quotes",
    "int": "a whole number is needed, without quotes",
    "float": "a number is needed, without quotes",
    "string": 'a text in quotes is needed, as in "text"',
    "path": 'a path in quotes is needed, as in "/a/path"',
    "list": 'a list is needed, as in ["one", "two"]',
    "dict": "a section is needed, as in [section] with a line for each setting",
    "model": "a section is needed, as in [section] with a line for each setting",
}


def explain_settings(error: ValidationError, model: type[BaseModel]) -> list[FieldProblem]:
    """Explain each fault in words of our own; pydantic's speak of inputs, which a reader of a file does not know."""
    return [_explain(dict(detail), model) for detail in error.errors(include_url=False, include_context=False)]


def _explain(detail: dict[str, object], model: type[BaseModel]) -> FieldProblem:
    loc = detail["loc"]
    steps = [str(step) for step in loc] if isinstance(loc, tuple) else []
    field, kind = ".".join(steps), str(detail["type"])
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(steps[-1], _list_names(model, steps[:-1]), n=1)
        return FieldProblem(field=field, allowed="no such setting", hint=f"Did you mean {near[0]}?" if near else "")
    if kind == "missing":
        return FieldProblem(field=field, allowed="this setting is needed, but it is missing")
    given = ascii(detail.get("input"))[:60] if field else ""
    return FieldProblem(field=field or "file", given=given, allowed=_describe(kind, str(detail["msg"])))


def _describe(kind: str, message: str) -> str:
    found = _KINDS.get(kind.partition("_")[0])
    if found is not None and kind.endswith(("_type", "_parsing", "_from_float")):
        return found
    plain = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return plain if message.startswith("Value error, ") else f"{plain} is needed"


def _list_names(model: type[BaseModel], steps: Sequence[str]) -> list[str]:
    """The settings of the section that the steps lead to; none if they lead through a name of the site's own."""
    for step in steps:
        field = model.model_fields.get(step)
        inner = _find_model(field.annotation) if field is not None else model
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _find_model(annotation: object) -> type[BaseModel] | None:
    """The model in an annotation, such as the one of a dict's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _find_model(inner)) is not None), None)
