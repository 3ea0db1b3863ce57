"""Builds what the user's process gets: its variables, its script's arguments, its parameters. Pure."""

import json
from pathlib import Path

from mltm.contract.base_models import JsonObject
from mltm.contract.param_args import build_param_args
from mltm.contract.spool_layout import ENTRYPOINT, TaskFolder
from mltm.contract.task_config import TaskConfig

__all__ = ["PARAMS", "build_environment", "build_script_argv", "params_path", "render_params"]

PARAMS = "params.json"


def params_path(folder: TaskFolder, attempt: int) -> Path:
    """`control/params.<NN>.json`: bound read-only by itself, as the only thing of control/."""
    return folder.control / f"params.{attempt:02d}.json"


def render_params(params: JsonObject) -> bytes:
    """Render model_params as the JSON file that MLTM_PARAMS names."""
    return json.dumps(params, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def build_script_argv(config: TaskConfig, folder: TaskFolder, dataset: Path | None) -> list[str]:
    """Build the script and its arguments, in the style that the config asks for."""
    argv = [str(folder.input / ENTRYPOINT)]
    match config.arguments:
        case "named":
            argv += [f"--input_path={dataset}"] if dataset is not None else []
            argv.append(f"--output_path={folder.outputs}")
        case "positional":
            argv += [str(dataset)] if dataset is not None else []
            argv.append(str(folder.outputs))
        case "none":
            pass
    if config.params_as_args:
        argv += build_param_args(config.model_params, config.bool_args, config.list_args)
    return argv


def build_environment(config: TaskConfig, folder: TaskFolder, attempt: int, dataset: Path | None) -> dict[str, str]:
    """Build the variables of the user's process. The config's own cannot override ours, except PYTHONUNBUFFERED."""
    ours = {
        "MLTM_TASK_ID": folder.task_id,
        "MLTM_ATTEMPT": str(attempt),
        "MLTM_INPUT_DIR": str(folder.input),
        "MLTM_OUTPUT_DIR": str(folder.outputs),
        "MLTM_CHECKPOINT_DIR": str(folder.checkpoint),
        "MLTM_PARAMS": str(params_path(folder, attempt)),
        "PYTHONUNBUFFERED": "1",  # the log is followed while it grows
    }
    if dataset is not None:
        ours["MLTM_DATASET"] = str(dataset)
    chosen = {"PYTHONUNBUFFERED": config.env["PYTHONUNBUFFERED"]} if "PYTHONUNBUFFERED" in config.env else {}
    return {**_build_mlflow(config, folder), **config.env, **ours, **chosen}


def _build_mlflow(config: TaskConfig, folder: TaskFolder) -> dict[str, str]:
    if not config.uses_mlflow:
        return {}
    found: dict[str, str] = {}
    uri = config.effective_tracking_uri
    if uri:
        found["MLFLOW_TRACKING_URI"] = uri if _is_uri(uri) else str(folder.outputs / uri)
        if not _is_uri(uri) or uri.startswith("file:"):
            found["MLFLOW_ALLOW_FILE_STORE"] = "true"  # MLflow 3.17 refuses folders without it
    if config.experiment_name:
        found["MLFLOW_EXPERIMENT_NAME"] = config.experiment_name
    return found


def _is_uri(text: str) -> bool:
    """True for a scheme, or the one bare word that MLflow knows. Anything else is a folder."""
    scheme, mark, _ = text.partition(":")
    return (
        bool(mark) and scheme.isascii() and scheme.replace("+", "").replace("-", "").isalnum()
    ) or text == "databricks"
