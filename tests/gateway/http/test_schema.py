"""The OpenAPI document says the same of texts and numbers as the code does."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from gateway.http.endpoints.route_table import ROUTES
from gateway.http.openapi import build_document
from mltm.contract import routes
from mltm.contract.base_models import MAX_INT64
from mltm.contract.limits import Code, Count, Seconds
from mltm.contract.task_config import Key, ScriptPath, TaskConfig, Text
from tests.gateway.build import config
from tests.gateway.fixtures import House

PIECES = st.sampled_from(
    ["a", "..", ".", "/", "\\", "train.py", " ", "-", "_", "\x00", "\n", "\x7f", "ü", "a" * 130, ":"]
)
TYPES: list[tuple[str, Any]] = [("Key", Key), ("Text", Text), ("ScriptPath", ScriptPath)]


def is_taken(adapter: TypeAdapter[Any], value: object) -> bool:
    try:
        adapter.validate_json(json.dumps(value))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("name", "kind"), TYPES, ids=[name for name, _ in TYPES])
@settings(deadline=None)
@given(text=st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20))
def test_a_texts_pattern_is_what_the_code_takes(name: str, kind: Any, text: str) -> None:
    adapter = TypeAdapter(kind)
    pattern = adapter.json_schema()["pattern"]

    assert bool(re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text)) == is_taken(adapter, text)


@pytest.mark.parametrize("length", [1023, 1024, 1025, 70_000])
def test_a_long_text_is_as_the_pattern_says(length: int) -> None:
    for kind, text in ((Text, "x" * length), (ScriptPath, "x" * (length - 3) + "/ab")):
        adapter = TypeAdapter(kind)
        assert bool(re.search(adapter.json_schema()["pattern"], text)) == is_taken(adapter, text) == (length <= 1024)


def find_bounds(schema: Any) -> list[Any]:
    if isinstance(schema, list):
        return [bound for item in schema for bound in find_bounds(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema[name] for name in ("minimum", "maximum") if isinstance(schema.get(name), int | float)]
    return own + [bound for value in schema.values() for bound in find_bounds(value)]


def test_bounds_are_whole_numbers_that_the_code_has() -> None:
    bounds = find_bounds(json.loads(build_document(ROUTES)))

    assert MAX_INT64 in bounds
    assert [bound for bound in bounds if not isinstance(bound, int) or bound > MAX_INT64] == []


@pytest.mark.parametrize("kind", [Code, Count, Seconds])
@pytest.mark.parametrize(("value", "fits"), [(1, True), (1.0, True), (False, False), (True, False), ("1", False)])
def test_a_number_is_a_number(kind: Any, value: object, fits: bool) -> None:
    assert is_taken(TypeAdapter(kind), value) == fits
    assert is_taken(TypeAdapter(dict[str, kind]), {"x": value}) == fits


@pytest.mark.parametrize("path", ["attempt", "epoch", "seq", "exit_code", "elapsed_s"])
async def test_a_report_with_a_truth_for_a_number_is_refused(house: House, path: str) -> None:
    report = house.agent.build(await house.make_task(), "running", job_id="7", node="n")

    status, problem = await house.call(
        "POST", "/v1/agent/reports", None, json={"reports": [{**report, path: True}]}, headers=house.agent.headers
    )

    assert (status, [field["field"] for field in problem["fields"]]) == (422, [f"reports.0.{path}"])


async def test_a_truth_in_a_heartbeat_is_refused(house: House) -> None:
    beat = {"version": "1", "host": "h", "pid": 1, "epoch": 1, "at": "2026-11-29T00:00:00Z", "active_tasks": 0}
    beat |= {"outbox": 0, "slurm_calls": {"x": False}}

    status, problem = await house.call("POST", "/v1/agent/heartbeat", None, json=beat, headers=house.agent.headers)

    assert (status, [field["field"] for field in problem["fields"]]) == (422, ["slurm_calls.x"])


def read_schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(build_document(ROUTES))["components"]["schemas"][name]
    return found


def list_dicts(schema: Any) -> list[dict[str, Any]]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [*([schema] if isinstance(schema, dict) else []), *(each for value in inner for each in list_dicts(value))]


def test_every_bound_has_the_name_that_json_schema_knows() -> None:
    names = {name for schema in list_dicts(json.loads(build_document(ROUTES))) for name in schema}

    assert names & {"ge", "le", "gt", "lt", "patternProperties"} == set()
    assert read_schema("Heartbeat")["properties"]["outbox"]["minimum"] == 0


CONFIGS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"script_path": None}, False),
    ({"script_path": None, "script_name": "script.py"}, True),
    ({"sweep": None, "notify": None}, True),
    ({"sweep": {}}, False),
    ({"env": {"A": "b\n"}}, True),
    ({"env": {"PATH": "b"}}, False),
    ({"env": {"LD_PRELOAD": "b"}}, False),
    ({"env": {"HOMEPAGE": "b"}}, True),
    ({"env": {"1": "b"}}, False),
    ({"env": {"A": "b\x00"}}, False),
    ({"env": {"A": "x" * 16_385}}, False),
    ({"model_params": {"a": [1, {"b": None}], "c.d-e": 1.5}}, True),
    ({"model_params": {"a b": 1}}, False),
    ({"model_params": {"a": "\x07"}}, False),
    ({"model_params": {"a": {"\x07": 1}}}, False),
    ({"backend_execution": {"a b": {"execution_config": {}}}}, False),
    ({"backend_execution": {"a-b": {"execution_config": {}}}}, True),
    ({"resources": {"cpus": 1}}, True),
    ({"resources": {"cpus": 1.0}}, True),
    ({"resources": {"cpus": "1"}}, False),
    ({"resources": {"cpus": True}}, False),
    ({"resources": {"cpus": 0}}, False),
]


@pytest.mark.parametrize(("changes", "fits"), CONFIGS)
def test_a_config_is_taken_if_the_document_says_so(changes: dict[str, Any], fits: bool) -> None:
    document = json.loads(build_document(ROUTES))
    schema = {"$ref": "#/components/schemas/TaskConfig", "components": document["components"]}
    whole = {**config(), **changes}

    assert is_taken(TypeAdapter(TaskConfig), whole) == fits
    assert Draft202012Validator(schema).is_valid(whole) == fits


def test_a_parameter_that_may_be_left_out_has_no_null() -> None:
    document = json.loads(build_document(ROUTES))
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    parameters = [parameter for operation in operations for parameter in operation.get("parameters", [])]

    assert [each["name"] for each in parameters if {"type": "null"} in list_dicts(each["schema"])] == []
    assert {each["name"] for each in parameters} >= {"state", "before", "attempt", "X-Mltm-Attempt"}


@pytest.mark.parametrize(
    ("key", "fits"), [("a", True), ("a b", True), ("", False), ("\u00e9", False), ("a" * 256, False)]
)
async def test_an_idempotency_key_is_taken_if_the_document_says_so(house: House, key: str, fits: bool) -> None:
    parameters = json.loads(build_document(ROUTES))["paths"][routes.TASKS]["post"]["parameters"]
    (schema,) = [each["schema"] for each in parameters if each["name"] == "Idempotency-Key"]

    status, _ = await house.submit(Idempotency_Key=key)

    assert (status == 201) == Draft202012Validator(schema).is_valid(key) == fits
