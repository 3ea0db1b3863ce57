"""A site and the configs that its tasks come with."""

from pathlib import Path

from agent.job.launch import Launch, plan_launch
from agent.settings import AgentSettings
from mltm.contract.base_models import JsonObject
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool, TaskFolder
from mltm.contract.task_config import TaskConfig

TASK = TaskId("0" * 31 + "1")
INFRA: JsonObject = {"instance_type": "cpu", "image_name": "sklearn_sample_latest", "account": "twinscie"}
SEED: JsonObject = {
    "dataset_name": "wine_classification",
    "model_params": {"n_estimators": 2, "random_state": 42},
    "runner_location": "atena02",
    "model_tracking": True,
    "tracking_uri": "experiments",
    "experiment_name": "atena_test",
    "script_path": "path/to/script.py",
    "clusters": {"atena02": {"infra_config": INFRA}, "other": {"anything": 1}},
}
BARE: JsonObject = {"runner_location": "c", "script_name": "s.py", "clusters": {"c": {"infra_config": INFRA}}}


def make_config(base: JsonObject, **changes: object) -> TaskConfig:
    return TaskConfig.model_validate({**base, **changes})


def make_settings(root: Path, **changes: object) -> AgentSettings:
    for name in ("images", "datasets", "spool"):
        (root / name).mkdir(exist_ok=True)
    (root / "images" / "sklearn_sample_latest.sif").touch()
    (root / "datasets" / "wine_classification.csv").touch()
    fields = {
        "spool": root / "spool",
        "cluster": "atena02",
        "credential_file": root / "credential",
        "images_dir": root / "images",
        "datasets_dir": root / "datasets",
    }
    return AgentSettings.model_validate({**fields, **changes})


def folder_of(settings: AgentSettings) -> TaskFolder:
    return Spool(settings.spool).task(TASK)


def plan(config: TaskConfig, settings: AgentSettings) -> Launch:
    planned = plan_launch(config, folder_of(settings), 1, settings)
    assert isinstance(planned, Launch), planned
    return planned
