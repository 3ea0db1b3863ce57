"""The two kinds of message: what people send (strict) and what our own versions tell each other (tolerant)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    JsonValue,
    TypeAdapter,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = [
    "MAX_INT64", "Explained", "Integer", "JsonObject", "Message", "ShownAs", "Strict", "Timestamp", "only_number",
    "render_canonical",
]  # fmt: skip

JsonObject = dict[str, JsonValue]


def _as_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:  # within a day of the first or last year
        raise ValueError("a time that exists in UTC is needed") from error


# RFC 3339, which is what `format: date-time` means. Pydantic also takes a number, and a number in a text.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _only_time(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _TIME.fullmatch(value)):
        return value
    raise ValueError("a time with its offset is needed, as in 2026-11-29T12:00:00Z")


Timestamp = Annotated[AwareDatetime, AfterValidator(_as_utc), BeforeValidator(_only_time)]
"""An aware time, kept in UTC. Display only: no rule compares two hosts' clocks."""


MAX_INT64: Final = 2**63 - 1
"""The largest whole number that every database can keep."""


def _only_number(value: object) -> object:
    """Pydantic takes true for 1 and "7" for 7; the schema says that they are no numbers."""
    if isinstance(value, bool | str):
        raise ValueError("a number is needed")  # noqa: TRY004 - pydantic explains a ValueError
    return value


only_number: Final = BeforeValidator(_only_number)
"""Stands after the bounds in a type: pydantic writes bounds that stand after it into no schema."""
Integer = Annotated[int, only_number]


@dataclass(frozen=True)
class ShownAs:
    """Give a type another type's JSON schema: what a validator of ours checks is then in the document too."""

    shape: Any

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """What pydantic calls."""
        return handler(TypeAdapter(self.shape).core_schema)


class Strict(BaseModel):
    """What people send: an unknown field is an error, because it is a typing mistake more often than not."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=65_536)


class Message(BaseModel):
    """What our own parts send each other: fields of a newer version are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Explained(Message):
    """What carries a `message` for people. Version 0.1 called it `words`, and its files and agents are still read."""

    @model_validator(mode="before")
    @classmethod
    def _read_old_name(cls, given: object) -> object:
        if isinstance(given, dict) and "words" in given and "message" not in given:
            return {**given, "message": given["words"]}
        return given


def render_canonical(value: Mapping[str, object]) -> bytes:
    """Render JSON in one spelling (sorted keys, no spaces, UTF-8), so that equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
