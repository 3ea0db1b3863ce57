"""The limits of what agents send. Texts for people are cut and cleaned, never refused; ids and numbers must fit.

The limits are far above what an honest agent sends: a report that is refused is set aside and waits for a person.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from mltm.contract.base_models import MAX_INT64, only_number

__all__ = [
    "MAX_LINE_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_OUTPUTS",
    "MAX_PATH_CHARS",
    "Code",
    "Count",
    "JobIdText",
    "Line",
    "MessageText",
    "Seconds",
    "fit",
    "fit_json",
    "has_control",
]  # fmt: skip

MAX_MESSAGE_BYTES: Final = 8_192
"""Bytes (UTF-8) of a sentence or more; of Slurm's own words an agent keeps 4,000 characters."""
MAX_LINE_BYTES: Final = 1_024
"""Bytes of a name: a host, a list of nodes, a version."""
MAX_OUTPUTS: Final = 100_000
"""Files in one list of outputs; an agent lists 10,000."""

MAX_PATH_CHARS: Final = 16_384
"""Characters of an output's path; an agent looks 32 folders deep, and a name has at most 255."""

_M = TypeVar("_M", bound=BaseModel)
_CUT = " … (cut)"
_NOT_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _cleaner(bad: re.Pattern[str], max_bytes: int) -> Callable[[object], object]:
    def clean(value: object) -> object:
        if not isinstance(value, str):
            return value
        text = bad.sub("\ufffd", value[: max_bytes + 1])  # no more than that can stay: a character has a byte or more
        data = text.encode()
        if len(data) <= max_bytes:
            return text
        return data[: max_bytes - len(_CUT.encode())].decode(errors="ignore") + _CUT

    return clean


def has_control(text: str) -> bool:
    """True for a control character (a newline too) or half a surrogate pair."""
    return _NOT_LINE.search(text) is not None


MessageText = Annotated[str, BeforeValidator(_cleaner(_NOT_TEXT, MAX_MESSAGE_BYTES))]
"""Text for people, perhaps of several lines. Control characters become U+FFFD; a text that is too long is cut."""
Line = Annotated[str, BeforeValidator(_cleaner(_NOT_LINE, MAX_LINE_BYTES))]
"""The same for a name, on one line."""
JobIdText = Annotated[str, Field(pattern=r"^[0-9A-Za-z_.+,%\[\]-]{1,64}$")]
"""Slurm's id of a job: digits, perhaps with an index (7_1) or an offset (7+0), as Slurm writes it."""
Code = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), only_number]
"""An exit code or a signal."""
Count = Annotated[int, Field(ge=0, le=MAX_INT64), only_number]
Seconds = Annotated[float, Field(allow_inf_nan=False), only_number]


def fit(shape: type[_M], fields: Mapping[str, object], optional: frozenset[str]) -> _M:
    """Build a message that has `message`. What is optional and does not fit is left out, and `message` says so.

    Raises ValidationError if anything else is wrong.
    """
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        wrong = {str(detail["loc"][0]) for detail in details if detail["loc"]}
        if not wrong or not wrong <= optional:
            raise
    note = f"(Left out, because it is not valid: {', '.join(sorted(wrong))}.)"
    kept = {name: value for name, value in fields.items() if name not in wrong}
    return shape.model_validate({**kept, "message": f"{note} {kept.get('message', '')}".strip()})


def fit_json(shape: type[_M], raw: str | bytes, optional: frozenset[str]) -> _M:
    """The same for JSON that was written before there were limits. Raises ValidationError."""
    try:
        return shape.model_validate_json(raw)
    except ValidationError as error:
        try:
            fields = json.loads(raw)
        except ValueError:
            raise error from None
        if not isinstance(fields, dict):
            raise
        return fit(shape, fields, optional)
