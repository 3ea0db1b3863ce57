"""What bad input gets: status, key, the named field and the way out. One gateway for all: nothing may be left in it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from mltm.contract import routes
from tests.gateway.build import SCRIPT, Part, config, good_parts, part
from tests.gateway.fixtures import House, open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")
GOOD_SCRIPT = part("script.py", SCRIPT)
INFRA = {"instance_type": "cpu", "image_name": "x"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


@dataclass(frozen=True)
class Case:
    claim: str
    parts: list[Part]
    key: str
    field: str
    message: str = ""
    status: int = 422


def with_config(claim: str, named: str, message: str = "", raw: str | None = None, **changes: Any) -> Case:
    """A config that is not taken, beside a good script."""
    sent = part("config.json", config(**changes) if raw is None else raw)
    return Case(claim, [sent, GOOD_SCRIPT], "bad_config", named, message)


def with_raw(claim: str, named: str, message: str, before: str, after: str) -> Case:
    """A config whose text is changed after rendering: what no JSON library writes."""
    return with_config(claim, named, message, raw=json.dumps(config()).replace(before, after))


def with_name(name: str) -> Case:
    """A further file with a name that is none."""
    return Case(f"name {name[:20]}", [*good_parts(), part(name, "x")], "bad_file_name", "files", "plain file name")


def with_infra(claim: str, **changes: str) -> Case:
    infra = {"infra_config": {**INFRA, **changes}}
    (name,) = changes
    return with_config(claim, f"clusters.atena02.infra_config.{name}", "letters, digits", clusters={"atena02": infra})


CASES = [
    Case("no config part", [GOOD_SCRIPT], "no_config", "config"),
    Case("no parts", [part("notes.txt", "x")], "no_config", "config", "notes.txt"),
    Case("two configs", [*good_parts(), part("b.json", config())], "two_configs", "config", "b.json"),
    Case("no script", good_parts()[:1], "no_script", "script_path", "script.py"),
    Case(
        "script of another name",
        [part("config.json", config()), part("train.py", SCRIPT)],
        "script_name_mismatch",
        "script_path",
        "train.py",
    ),
    Case(
        "script_name of another file",
        [part("config.json", config(script_path=None, script_name="a.py")), GOOD_SCRIPT],
        "script_name_mismatch",
        "script_name",
        "a.py",
    ),
    Case("an empty config", [part("config.json", ""), GOOD_SCRIPT], "bad_config", "config", "an empty file"),
    Case("an empty script", [good_parts()[0], part("script.py", "")], "empty_script", "script.py", "is empty"),
    Case("an empty further file", [*good_parts(), part("data.csv", "")], "empty_file", "data.csv", "the file is empty"),
    Case("two files of one name", [*good_parts(), GOOD_SCRIPT], "two_files_of_one_name", "script.py"),
    Case("too many files", [*good_parts(), *(part(f"f{n}", "x") for n in range(5))], "too_many_parts", "files"),
    Case("another entrypoint.py", [*good_parts(), part("entrypoint.py", "x")], "reserved_file_name", "entrypoint.py"),
    Case("a text field", [*good_parts(), part(None, "x", "remark")], "no_file_name", "remark"),
    Case(
        "JSON over 1 MiB",
        [part("config.json", config() | {"pad": "y" * 1_050_000}), GOOD_SCRIPT],
        "too_large",
        "config",
        "1,048,576 bytes",
        413,
    ),
    Case(
        "JSON over 1 MiB in a part called config",
        [part("c.json", config() | {"pad": "y" * 1_050_000}, "config"), GOOD_SCRIPT],
        "too_large",
        "c.json",
        "1,048,576 bytes",
        413,
    ),
    Case(
        "a script over its limit",
        [good_parts()[0], part("script.py", b"#" * 100_001)],
        "too_large",
        "script.py",
        "100,000 bytes",
        413,
    ),
    Case(
        "a script over every limit",
        [good_parts()[0], part("script.py", b"#" * 2_000_001)],
        "too_large",
        "script.py",
        "2,000,000 bytes",
        413,
    ),
    Case(
        "a further file over its limit",
        [*good_parts(), part("data.csv", b"1" * 2_000_001)],
        "too_large",
        "data.csv",
        "2,000,000 bytes",
        413,
    ),
    Case(
        "an unknown cluster",
        good_parts(runner_location="nowhere", clusters={"nowhere": {"infra_config": INFRA}}),
        "unknown_cluster",
        "runner_location",
        "atena02, elsewhere",
    ),
    Case(
        "a cluster without an agent",
        good_parts(runner_location="elsewhere", clusters={"elsewhere": {"infra_config": INFRA}}),
        "no_agent",
        "runner_location",
    ),
    with_config("broken JSON", "config", "line 1, column 2", raw="{"),
    with_config("JSON that is no object", "config", "JSON object", raw="[1]"),
    Case("JSON in Latin-1", [part("config.json", b'{"a": "\xe9"}'), GOOD_SCRIPT], "bad_config", "config", "UTF-8"),
    with_raw("a name twice", "script_path", "duplicate name", "{", '{"script_path": "a.py", '),
    with_raw("a name twice that is no text", r"'\ud800'", "duplicate name", "{", '{"\\ud800": 1, "\\ud800": 2, '),
    with_config("half a character", "experiment_name", "unicode", experiment_name="x\ud800"),
    with_config("an unknown field", "datasetname", "Did you mean dataset_name?", datasetname="wine"),
    with_config(
        "an unknown field of infra_config",
        "clusters.atena02.infra_config.imagename",
        "Did you mean image_name?",
        clusters={"atena02": {"infra_config": {**INFRA, "imagename": "x"}}},
    ),
    with_config("an unknown field of resources", "resources.gpu", "Did you mean gpus?", resources={"gpu": 1}),
    with_config("a field of another type", "model_params", "dictionary", model_params=[1]),
    with_config("a missing field", "runner_location", "missing", runner_location=None),
    with_config("no script in the config", "script_path", "missing", script_path=None),
    with_config("no section of the cluster", "clusters", "runner_location", clusters={"other": {}}),
    with_config("no infra_config", "clusters.atena02.infra_config", "missing", clusters={"atena02": {}}),
    with_raw("NaN", "config", "NaN", '"n_estimators": 2', '"n_estimators": NaN'),
    with_raw("minus Infinity", "config", "Infinity", '"n_estimators": 2', '"n_estimators": -Infinity'),
    with_raw("a float that is infinite", "model_params", "1.8e308", '"n_estimators": 2', '"n_estimators": 1e999'),
    with_config("a number over 64 bits", "model_params", "64 bits", model_params={"n": 2**63}),
    with_config("a negative number over 64 bits", "model_params", "64 bits", model_params={"a": [{"b": -(2**63) - 1}]}),
    with_raw("a number of 9,000 digits", "config", "64 bits", '"n_estimators": 2', '"n_estimators": ' + "9" * 9000),
    with_config("deep nesting", "model_params", "16 levels", model_params={"a": json.loads("[" * 20 + "]" * 20)}),
    with_config("a control character in text", "experiment_name", "control characters", experiment_name="a\x07b"),
    with_config("a newline in text", "experiment_name", "control characters", experiment_name="a\nb"),
    with_config("a control character in a parameter", "model_params", "control", model_params={"a": "\x1b[2J"}),
    with_config("a NUL in a parameter", "model_params", "control", model_params={"a": "x\x00"}),
    with_config("a parameter that is an option", "model_params", "parameter name", model_params={"--x": 1}),
    with_config("a script that is a path up", "script_path", "..", script_path="../../script.py"),
    with_config("a script that is an option", "script_path", "plain file name", script_path="-script.py"),
    with_config("a dataset that is a path", "dataset_name", "letters, digits", dataset_name="../../etc"),
    with_config("a dataset that is an option", "dataset_name", "letters, digits", dataset_name="--wrap=id"),
    with_infra("an account that is an option", account="--wrap=id"),
    with_infra("an image that is a path", image_name="../../image.sif"),
    with_infra("a partition with a blank", instance_type="cpu gpu"),
    with_config("a variable of the loader", "env", "LD_PRELOAD", env={"LD_PRELOAD": "/x.so"}),
    *map(
        with_name,
        ("../x.py", "a/b.py", "/etc/passwd", "-rf.py", ".bashrc", "a b.py", "..", "a" * 129, "ü.py", "a;b.py"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.claim)
async def test_bad_input_is_named_and_leaves_nothing(house: House, case: Case) -> None:
    for path in (routes.TASKS, routes.PREDECESSOR_NEW_TASK):
        status, problem = await house.submit("alice", case.parts, path)

        assert (status, problem["key"]) == (case.status, case.key), problem
        assert [named["field"] for named in problem["fields"]] == [case.field]
        assert case.message in problem["detail"]
        assert problem["next_step"]
        assert (problem["status"], bool(problem["title"]), bool(problem["request_id"])) == (status, True, True)
    assert not house.left_behind()
    assert (await house.call("GET", routes.TASKS, "root"))[1]["tasks"] == []


async def test_several_wrong_fields_are_all_named(house: House) -> None:
    _, problem = await house.submit(parts=good_parts(dataset_name="../x", datasetname="a", runner_location=None))

    assert {named["field"] for named in problem["fields"]} == {"dataset_name", "datasetname", "runner_location"}


@pytest.mark.parametrize("path", [routes.TASKS, routes.PREDECESSOR_NEW_TASK])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_another_content_type_is_415(house: House, path: str, content_type: str) -> None:
    status, problem = await house.call("POST", path, data=b"{}", headers={"Content-Type": content_type})

    assert (status, problem["key"]) == (415, "unsupported_media_type")
    assert problem["fields"][0]["field"] == "Content-Type"
    assert "curl" in problem["next_step"]
    assert not house.left_behind()


BOUNDARY = "multipart/form-data; boundary=b"
START = b'--b\r\nContent-Disposition: form-data; name="files"; filename="config.json"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (BOUNDARY, START + b'{"runner'),
        (BOUNDARY, START + b"{}\r\n--b\r\n"),
        (BOUNDARY, START[:30]),
        (BOUNDARY, b"no boundary at all"),
        (BOUNDARY, b""),
        ("multipart/form-data", START + b"{}\r\n--b--\r\n"),
    ],
)
async def test_a_body_that_is_cut_off_is_400(house: House, content_type: str, body: bytes) -> None:
    status, problem = await house.call("POST", routes.TASKS, data=body, headers={"Content-Type": content_type})

    assert (status, problem["key"] in ("truncated_upload", "malformed_upload")) == (400, True), problem
    assert problem["fields"][0]["field"] == "body"
    assert problem["next_step"]
    assert not house.left_behind()


@pytest.mark.parametrize("name", ["a%07b.py", "a%00b.py", "a%0d%0ab.py", "..%2fb.py", "--wrap%3did"])
async def test_an_encoded_file_name_is_no_way_around(house: House, name: str) -> None:
    named = START.replace(b'filename="config.json"', f"filename*=UTF-8''{name}".encode()) + SCRIPT + b"\r\n"
    body = named + START + json.dumps(config()).encode() + b"\r\n--b--\r\n"
    status, problem = await house.call("POST", routes.TASKS, data=body, headers={"Content-Type": BOUNDARY})

    assert (status, problem["key"], problem["fields"][0]["field"]) == (422, "bad_file_name", "files"), problem
    assert "plain file name" in problem["detail"]
    assert not house.left_behind()
