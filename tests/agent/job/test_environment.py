"""The user's process seen from inside: the script's arguments and its variables."""

from pathlib import Path

import pytest

from agent.job.environment import build_environment, build_script_argv
from mltm.contract.base_models import JsonObject
from mltm.contract.spool_layout import Spool
from tests.agent.job.planning import BARE, TASK, make_config

DATASET, OUTPUTS = Path("/d/w.csv"), "/s/tasks/" + TASK + "/outputs"
STYLES: list[tuple[str, Path | None, list[str]]] = [
    ("named", DATASET, ["--input_path=/d/w.csv", f"--output_path={OUTPUTS}"]),
    ("named", None, [f"--output_path={OUTPUTS}"]),
    ("positional", DATASET, ["/d/w.csv", OUTPUTS]),
    ("positional", None, [OUTPUTS]),
    ("none", DATASET, []),
]


@pytest.mark.parametrize(("style", "dataset", "expected"), STYLES)
def test_the_styles_of_arguments(style: str, dataset: Path | None, expected: list[str]) -> None:
    folder = Spool(Path("/s")).task(TASK)

    argv = build_script_argv(make_config(BARE, arguments=style), folder, dataset)

    assert argv == [str(folder.input / "entrypoint.py"), *expected]


def test_params_as_args_are_one_item_each() -> None:
    params = {"name": "a b; rm -rf /", "lr": 0.1, "deep": [1, {"x": None}], "on": True}
    config = make_config(BARE, arguments="none", params_as_args=True, model_params=params)

    argv = build_script_argv(config, Spool(Path("/s")).task(TASK), None)

    assert argv[1:] == ["--name=a b; rm -rf /", "--lr=0.1", '--deep=[1, {"x": null}]', "--on=true"]


STORE = {"MLFLOW_ALLOW_FILE_STORE": "true"}
LATER: JsonObject = {"mlflow": {"execution_config": {"execution_mode": "mlflow", "tracking_uri": "https://m.example"}}}
TRACKING: list[tuple[JsonObject, dict[str, str]]] = [
    ({}, {}),
    ({"model_tracking": False, "tracking_uri": "x"}, {}),
    ({"model_tracking": True}, {}),
    ({"model_tracking": True, "tracking_uri": "x"}, {"MLFLOW_TRACKING_URI": f"{OUTPUTS}/x", **STORE}),
    ({"model_tracking": True, "tracking_uri": "/net/x"}, {"MLFLOW_TRACKING_URI": "/net/x", **STORE}),
    ({"model_tracking": True, "tracking_uri": "file:/x"}, {"MLFLOW_TRACKING_URI": "file:/x", **STORE}),
    ({"model_tracking": True, "tracking_uri": "databricks"}, {"MLFLOW_TRACKING_URI": "databricks"}),
    ({"model_tracking": True, "tracking_uri": "sqlite:///m.db"}, {"MLFLOW_TRACKING_URI": "sqlite:///m.db"}),
    (
        {"execution_mode": "mlflow", "backend_execution": LATER, "experiment_name": "e"},
        {"MLFLOW_TRACKING_URI": "https://m.example", "MLFLOW_EXPERIMENT_NAME": "e"},
    ),
    ({"execution_mode": "no-mlflow", "backend_execution": LATER, "experiment_name": "e"}, {}),
]


@pytest.mark.parametrize(("fields", "expected"), TRACKING)
def test_mlflow_variables_are_set_when_tracking_is_on(fields: JsonObject, expected: dict[str, str]) -> None:
    variables = build_environment(make_config(BARE, **fields), Spool(Path("/s")).task(TASK), 1, None)

    assert {name: value for name, value in variables.items() if name.startswith("MLFLOW_")} == expected


def test_the_users_variables_are_there_and_may_replace_mlflows() -> None:
    env = {"MLFLOW_TRACKING_URI": "http://mine", "PYTHONUNBUFFERED": "0", "A": "1"}
    config = make_config(BARE, env=env, model_tracking=True, tracking_uri="x")

    assert build_environment(config, Spool(Path("/s")).task(TASK), 1, None).items() >= env.items()
