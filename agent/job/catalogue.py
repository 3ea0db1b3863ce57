"""Finds images and datasets in the site's catalogue folders, by key and never by a path that a user wrote.

The only file of the planning that reads the disk.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.job.isolation import explain_entry
from agent.job.policy import Refusal
from agent.settings import AgentSettings
from mltm.contract.task_config import TaskConfig
from mltm.runtime import files

__all__ = ["Catalogue", "find_dataset", "find_image", "read_catalogue"]

_SHOWN = 20


@dataclass(frozen=True)
class Catalogue:
    """The files of the image and of the dataset that a task names. dataset: None if it names none."""

    image: Path
    dataset: Path | None


def read_catalogue(config: TaskConfig, settings: AgentSettings) -> Catalogue | Refusal:
    """Find the image and the dataset that this task names, or say which one there is not."""
    image = find_image(config, settings)
    if isinstance(image, Refusal):
        return image
    dataset = find_dataset(config.dataset_name, settings) if config.dataset_name is not None else None
    if isinstance(dataset, Refusal):
        return dataset
    found = Catalogue(image, dataset)
    return _refuse_way_out(config, found, settings) or found


def find_image(config: TaskConfig, settings: AgentSettings) -> Path | Refusal:
    """Find the image's file by its key; for runtime `none`, the Python that is used in its place."""
    key = config.infra.image_name
    field = f"clusters.{config.runner_location}.infra_config.image_name"
    if key in settings.images:
        return _must_exist(settings.images[key], f"The agent's config gives the image {key!r} as", field)
    if settings.runtime == "none" or settings.images_dir is None:
        known = ", ".join(sorted(settings.images)) or "none"
        return Refusal(f"There is no image {key!r} at this site. Known images: {known}.", field, permanent=True)
    found = settings.images_dir / f"{key}.sif"
    if found.is_file():
        return found
    known = _list_known(settings.images_dir, ".sif")
    return _absent(
        f"There is no image {key!r}: {settings.images_dir} has no {found.name}. It has: {known}.", field, found
    )


def find_dataset(name: str, settings: AgentSettings) -> Path | Refusal:
    """Find `<name>` or `<name>.csv` in the site's datasets folder."""
    if settings.datasets_dir is None:
        message = "This site has no datasets: the agent's config does not set datasets_dir. Leave out dataset_name."
        return Refusal(message, "dataset_name", permanent=True)
    for candidate in (settings.datasets_dir / name, settings.datasets_dir / f"{name}.csv"):
        if candidate.exists():
            return candidate
    known = _list_known(settings.datasets_dir)
    message = (
        f"There is no dataset {name!r}: {settings.datasets_dir} has neither {name} nor {name}.csv. It has: {known}."
    )
    return _absent(message, "dataset_name", settings.datasets_dir / name)


def _refuse_way_out(config: TaskConfig, found: Catalogue, settings: AgentSettings) -> Refusal | None:
    """A link that leads where tasks write, or to records, would take the task out of its container."""
    image_field = f"clusters.{config.runner_location}.infra_config.image_name"
    for field, path in ((image_field, found.image), ("dataset_name", found.dataset)):
        if path is not None and (message := explain_entry(path, settings)):
            next_step = "Ask the site's administrator to move it."
            return Refusal(f"{path} cannot be given to a task: {message}. {next_step}", field, permanent=True)
    return None


def _must_exist(path: Path, message: str, field: str) -> Path | Refusal:
    # Not resolved: a virtual environment's Python is a link, and only under its own name it is that environment's.
    if path.exists():
        return path
    return _absent(f"{message} {path}, which does not exist.", field, path)


def _absent(message: str, field: str, path: Path) -> Refusal:
    """A missing file is permanent only if its folder can be read: a file system that is away proves nothing."""
    return Refusal(message, field, permanent=os.access(path.parent, os.R_OK | os.X_OK))


def _list_known(folder: Path, suffix: str = "") -> str:
    if not folder.is_dir():
        return "nothing, because the folder is missing"
    try:
        names = [name for name in files.list_names(folder) if name.endswith(suffix)]
    except OSError as error:
        return f"the folder cannot be read ({error.strerror})"
    return _shorten([name.removesuffix(suffix) for name in names])


def _shorten(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:_SHOWN]) or "nothing"
    return f"{shown} and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else shown
