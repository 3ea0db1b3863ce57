"""How `model_params` become arguments of the script (`params_as_args`): forms that argparse and click read. Pure."""

import json
from collections.abc import Iterator
from typing import Literal

from pydantic import JsonValue

from mltm.contract.base_models import JsonObject

__all__ = ["BoolArgs", "ListArgs", "build_param_args", "check_list_args"]

BoolArgs = Literal["value", "flag", "no_flag"]
ListArgs = Literal["json", "repeated", "joined"]


def build_param_args(params: JsonObject, bools: BoolArgs, lists: ListArgs) -> list[str]:
    """Build the arguments, in the order of the parameters. What is null is left out: the script's default holds."""
    return [argument for name, value in params.items() for argument in _build(name, value, bools, lists)]


def _build(name: str, value: JsonValue, bools: BoolArgs, lists: ListArgs) -> Iterator[str]:
    match value:
        case None:
            return
        case bool() if bools != "value":
            if value:
                yield f"--{name}"
            elif bools == "no_flag":
                yield f"--no-{name}"
        case list() if lists == "repeated":
            yield from (f"--{name}={_as_text(item)}" for item in value)
        case list() if lists == "joined":
            yield f"--{name}={','.join(_as_text(item) for item in value)}"
        case _:
            yield f"--{name}={_as_text(value)}"


def check_list_args(params: JsonObject, lists: ListArgs) -> None:
    """Raise ValueError for a list that the script would read as another one: with null, or with a comma in an item."""
    for name, value in params.items():
        if lists == "json" or not isinstance(value, list):
            continue
        if None in value:
            raise ValueError(f"model_params: {name} has null in its list, which list_args {lists!r} cannot pass")
        if lists == "joined" and any("," in _as_text(item) for item in value):
            raise ValueError(
                f"model_params: {name} has an item with a comma, which list_args 'joined' cannot pass; use 'repeated' "
                "or 'json'"
            )


def _as_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)
