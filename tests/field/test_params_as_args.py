"""Fault 3.16: with params_as_args false, null and lists became texts that argparse misreads.

A user whose script reads its arguments with argparse or click expects to get the values of her config: a flag that is
on or off, the default where the config says null, a list as a list. Each case is parsed by the real parser.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from agent.job.environment import build_script_argv
from mltm.cli import exit_codes
from mltm.contract.base_models import JsonObject
from mltm.contract.ids import TaskId
from mltm.contract.parse_config import ConfigError, parse_config
from mltm.contract.spool_layout import Spool
from tests.mltm.cli.run import Mltm
from tests.mltm.client.build import CONFIG, write_submission
from tests.mltm.client.fake_gateway import FakeGateway

FOLDER = Spool(Path("/s")).task(TaskId("1" * 32))


def build_argv(params: JsonObject, **settings: str) -> list[str]:
    """From the bytes of a config to what the script finds in sys.argv."""
    config = {**CONFIG, "arguments": "none", "params_as_args": True, "model_params": params, **settings}
    return build_script_argv(parse_config(json.dumps(config).encode()), FOLDER, None)[1:]


def test_the_default_is_as_it_was() -> None:
    params: JsonObject = {"name": "a b; rm -rf /", "lr": 0.1, "deep": [1, {"x": None}], "on": True, "off": False}
    assert build_argv(params) == [
        "--name=a b; rm -rf /", "--lr=0.1", '--deep=[1, {"x": null}]', "--on=true", "--off=false"
    ]  # fmt: skip


# settings, parameters, how the script declares the argument, what it has to find
PARSED: dict[str, tuple[dict[str, str], JsonObject, dict[str, Any], object]] = {
    "3.16: null is the script's default": ({}, {"x": None}, {"type": float, "default": 0.5}, 0.5),
    "3.16: false as a flag": ({"bool_args": "flag"}, {"x": False}, {"action": "store_true"}, False),
    "3.16: true as a flag": ({"bool_args": "flag"}, {"x": True}, {"action": "store_true"}, True),
    "3.16: false against a default": (
        {"bool_args": "no_flag"}, {"x": False}, {"action": argparse.BooleanOptionalAction, "default": True}, False,
    ),
    "3.16: true with its opposite": (
        {"bool_args": "no_flag"}, {"x": True}, {"action": argparse.BooleanOptionalAction, "default": False}, True,
    ),
    "3.16: null beside flags": ({"bool_args": "flag"}, {"x": None}, {"action": "store_true"}, False),
    "3.16: a list, repeated": (
        {"list_args": "repeated"}, {"x": [64, 32]}, {"action": "append", "type": int}, [64, 32],
    ),
    "3.16: a list of one": ({"list_args": "repeated"}, {"x": ["a"]}, {"action": "append"}, ["a"]),
    "3.16: an empty list, repeated": ({"list_args": "repeated"}, {"x": []}, {"action": "append", "default": []}, []),
    "3.16: texts with spaces and hyphens": (
        {"list_args": "repeated"}, {"x": ["a b", "-c", "--d", ""]}, {"action": "append"}, ["a b", "-c", "--d", ""],
    ),
    "3.16: lists in a list": (
        {"list_args": "repeated"}, {"x": [[1, 2], {"a": 1}]}, {"action": "append", "type": json.loads},
        [[1, 2], {"a": 1}],
    ),
    "3.16: a list, joined": (
        {"list_args": "joined"}, {"x": [0.1, 2]}, {"type": lambda text: [float(one) for one in text.split(",")]},
        [0.1, 2.0],
    ),
    "3.16: an empty list, joined": ({"list_args": "joined"}, {"x": []}, {}, ""),
    "3.16: a list as JSON": ({}, {"x": [1, None, "a,b"]}, {"type": json.loads}, [1, None, "a,b"]),
    "3.16: an object": ({"list_args": "joined"}, {"x": {"a": [1]}}, {"type": json.loads}, {"a": [1]}),
    "3.16: a negative number": ({}, {"x": -1}, {"type": int}, -1),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "params", "declared", "expected"), PARSED.values(), ids=PARSED)
def test_the_script_reads_what_the_config_says(
    settings: dict[str, str], params: JsonObject, declared: dict[str, Any], expected: object
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--x", **declared)
    assert parser.parse_args(build_argv(params, **settings)).x == expected


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "3.16: null in a repeated list": ({"list_args": "repeated", "model_params": {"x": [1, None]}}, "x has null"),
    "3.16: null in a joined list": ({"list_args": "joined", "model_params": {"x": [None]}}, "x has null"),
    "3.16: a comma in a joined text": ({"list_args": "joined", "model_params": {"x": ["a,b"]}}, "with a comma"),
    "3.16: a list in a joined list": ({"list_args": "joined", "model_params": {"x": [[1, 2]]}}, "with a comma"),
    "3.16: no such form of lists": ({"list_args": "spread"}, "'json', 'repeated' or 'joined'"),
    "3.16: no such form of booleans": ({"bool_args": True}, "'value', 'flag' or 'no_flag'"),
    "3.16: a setting without effect": ({"params_as_args": False, "bool_args": "flag"}, "no effect without"),
    "3.16: another one": ({"params_as_args": False, "list_args": "joined"}, "no effect without params_as_args"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_what_the_script_would_misread_is_refused(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    config = {**CONFIG, "params_as_args": True, **fields}
    with pytest.raises(ConfigError, match=message):
        parse_config(json.dumps(config).encode())
    path, script = write_submission(tmp_path)
    path.write_text(json.dumps(config))
    ran = mltm("submit", path, script)
    assert (ran.code, gateway.seen) == (exit_codes.WRONG, [])
    assert message in ran.err
