"""Texts are cut the same way however often they pass, and what does not fit is left out and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from mltm.contract.limits import MAX_LINE_BYTES, MAX_MESSAGE_BYTES, Line, MessageText, fit, fit_json
from mltm.contract.reports import OPTIONAL_DETAILS, AttemptDetails, parse_details

WORDS: TypeAdapter[str] = TypeAdapter(MessageText)
LINE: TypeAdapter[str] = TypeAdapter(Line)
GOOD = {"attempt": 1, "state": "failed", "message": "It failed.", "exit_code": 1}


class Told(BaseModel):
    message: str = ""
    number: int = 0


@given(st.text(st.characters(codec=None), max_size=50), st.integers(1, 500))
def test_what_was_cut_once_is_not_cut_again(text: str, times: int) -> None:
    for adapter, most in ((WORDS, MAX_MESSAGE_BYTES), (LINE, MAX_LINE_BYTES)):
        once = adapter.validate_python(text * times)
        assert len(once.encode()) <= most
        assert once.encode().decode() == once  # half a surrogate pair would not travel
        assert adapter.validate_python(once) == once
        assert adapter.validate_json(TypeAdapter(str).dump_json(once)) == once


def test_what_fits_is_not_touched() -> None:
    assert WORDS.validate_python("x" * MAX_MESSAGE_BYTES) == "x" * MAX_MESSAGE_BYTES
    assert LINE.validate_python("Priorität\u200b \U0001f600") == "Priorität\u200b \U0001f600"


@pytest.mark.parametrize(
    ("field", "value"),
    [("job_id", "9" * 5000), ("job_id", ""), ("exit_code", 10**30), ("signal", "x"), ("elapsed_s", float("nan")),
     ("ended_at", "never")],
)  # fmt: skip
def test_a_detail_that_does_not_fit_is_left_out_and_named(field: str, value: object) -> None:
    kept = fit(AttemptDetails, {**GOOD, field: value}, OPTIONAL_DETAILS)

    assert getattr(kept, field) is None
    assert kept.message == f"(Left out, because it is not valid: {field}.) It failed."


@pytest.mark.parametrize("wrong", [{"state": "unheard of"}, {"attempt": 0}, {"attempt": 0, "job_id": ""}])
def test_what_must_be_there_is_not_left_out(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        fit(AttemptDetails, {**GOOD, **wrong}, OPTIONAL_DETAILS)


@pytest.mark.parametrize("raw", ["", "{", "[]", "7", '{"message": 7}', '{"number": ' + "9" * 5000 + "}"])
def test_what_is_no_such_json_is_an_error_of_one_kind(raw: str) -> None:
    with pytest.raises(ValidationError):
        fit_json(Told, raw, frozenset({"number"}))


def test_kept_json_of_before_there_were_limits_is_read() -> None:
    raw = AttemptDetails.model_validate(GOOD).model_dump_json().replace('"job_id":null', '"job_id":"a b"')

    assert parse_details(AttemptDetails, raw).exit_code == 1
