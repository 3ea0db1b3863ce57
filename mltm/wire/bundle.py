"""What a submission consists of, checked before anything is sent, and its multipart form, streamed from disk."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import aiohttp

from mltm.contract.manifest import check_file_name
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, parse_config
from mltm.contract.problems import FieldProblem
from mltm.contract.task_config import TaskConfig

__all__ = ["Bundle", "ConfigSource", "open_form", "read_bundle"]

ConfigSource = Mapping[str, object] | TaskConfig | Path | str
"""A task's config: a dict, a TaskConfig, or the path of a JSON file."""


@dataclass(frozen=True)
class Bundle:
    """A checked submission. A config that was a file is sent byte for byte."""

    config: bytes
    script: Path
    files: tuple[Path, ...]
    size: int


def read_bundle(config: ConfigSource, script: Path | str, files: Iterable[Path | str] = ()) -> Bundle:
    """Read and check what is to be sent. Raises ConfigError, which names the field, or OSError for a missing file."""
    raw = _read_config(config)
    wanted = parse_config(raw).script
    entry, extra = Path(script), tuple(Path(file) for file in files)
    size = sum(_measure(file) for file in (entry, *extra))
    if entry.name != wanted:
        _refuse("script_path", f"must name the script that is sent, {entry.name}", repr(wanted))
    seen = {entry.name}
    for file in extra:
        _check_extra(file, seen)
    return Bundle(raw, entry, extra, size)


@contextmanager
def open_form(bundle: Bundle) -> Iterator[aiohttp.FormData]:
    """Open a bundle's files as a multipart form; each is read while it is sent, and closed at the end."""
    with ExitStack() as stack:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("config", bundle.config, filename="config.json", content_type="application/json")
        for field, path in (("script", bundle.script), *(("files", file) for file in bundle.files)):
            stream = stack.enter_context(path.open("rb"))
            form.add_field(field, stream, filename=path.name, content_type="application/octet-stream")
        yield form


def _read_config(config: ConfigSource) -> bytes:
    if isinstance(config, Path | str):
        with Path(config).open("rb") as stream:
            return stream.read(MAX_CONFIG_BYTES + 1)  # one byte more than allowed: parse_config reports it
    plain = config.to_json() if isinstance(config, TaskConfig) else config
    try:
        return json.dumps(plain).encode()  # NaN passes here: parse_config reports it
    except (TypeError, ValueError) as error:
        raise ConfigError([FieldProblem(field="config", allowed=f"only JSON values are allowed: {error}")]) from error


def _check_extra(file: Path, seen: set[str]) -> None:
    try:
        check_file_name(file.name)
    except ValueError as error:
        _refuse("files", str(error), repr(str(file)[:80]))
    if file.name in seen:
        _refuse("files", "duplicate file name. Rename one of the two", repr(file.name))
    seen.add(file.name)


def _measure(file: Path) -> int:
    size = file.stat().st_size
    if file.is_dir():
        raise IsADirectoryError(21, "Is a folder. Name its files one by one", str(file))
    if size == 0:
        _refuse("files", "file is empty", repr(file.name))
    return size


def _refuse(field: str, allowed: str, given: str) -> NoReturn:
    raise ConfigError([FieldProblem(field=field, allowed=allowed, given=given)])
