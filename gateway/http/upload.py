"""Receives a submission: tells config, script and extra files apart, and always removes what it does not hand on."""

import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.errors import InvalidError, TooLargeError
from gateway.http.app_keys import UPLOAD_ROOM
from gateway.http.multipart import Limits, Part, build_too_large, receive_parts
from gateway.http.route import Call
from gateway.http.validation import check_media_type, refuse
from gateway.private_files import make_private_folder
from gateway.services.disk import run_on_disk
from gateway.settings import GatewaySettings
from gateway.values import Upload, UploadedFile
from mltm.contract.manifest import check_file_name
from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, parse_config
from mltm.contract.spool_layout import ENTRYPOINT
from mltm.contract.task_config import TaskConfig
from mltm.runtime.files import sync_folder

__all__ = ["check_total_size", "receive_upload"]

_FRAMING_BYTES = 64 * 1024  # boundaries and headers of the parts


@asynccontextmanager
async def receive_upload(call: Call) -> AsyncIterator[Upload]:
    """Stream the body into a folder of its own. What is left there is deleted at the end, also after an error."""
    check_media_type(call.request, "multipart/form-data")
    check_total_size(call)
    folder = call.settings.staging / secrets.token_hex(16)
    try:
        await run_on_disk(make_private_folder, folder)
        parts = await receive_parts(call.request, folder, _limits(call.settings), call.request.app[UPLOAD_ROOM])
        upload = await run_on_disk(_build_upload, parts, folder, call.settings)
        yield upload
    finally:
        await run_on_disk(shutil.rmtree, folder, ignore_errors=True)


def check_total_size(call: Call) -> None:
    """Refuse a body that announces more bytes than all its parts may have together."""
    limit = max_total_bytes(call.settings)
    announced = call.request.content_length or 0
    if announced > limit:
        raise TooLargeError(f"The upload is too large: {announced:,} bytes. At most {limit:,} are allowed.")


def max_total_bytes(settings: GatewaySettings) -> int:
    """How many bytes a whole upload may have at most."""
    files = max(settings.max_script_bytes, settings.max_file_bytes) * (settings.max_files - 1)
    return files + MAX_CONFIG_BYTES + _FRAMING_BYTES


def _limits(settings: GatewaySettings) -> Limits:
    return Limits(
        parts=settings.max_files,
        part_bytes=max(settings.max_file_bytes, settings.max_script_bytes),
        config_bytes=MAX_CONFIG_BYTES,
    )


def _build_upload(parts: Sequence[Part], folder: Path, settings: GatewaySettings) -> Upload:
    config_part = _find_config(parts)
    config = _read_config(config_part)
    files = [_check_file(part, config) for part in parts if part is not config_part]
    _check_unique_names(files)
    script = _find_script(files, config)
    if script.size > settings.max_script_bytes:
        raise build_too_large(script.name, settings.max_script_bytes)
    extra = tuple(file for file in files if file is not script)
    for file in extra:
        _check_extra(file, settings)
    sync_folder(folder)
    return Upload(config=config, script=script, extra=extra, folder=folder)


def _find_config(parts: Sequence[Part]) -> Part:
    """The part called `config`, else the one whose file name or type says JSON."""
    found = [part for part in parts if part.field == "config"] or [part for part in parts if _looks_like_json(part)]
    if not found:
        raise refuse(
            "no_config",
            "config",
            "the config is missing: send it in a part called config, or as a file whose name ends in .json",
            given=_list(parts),
            next_step="Add the config: curl -F files=@config.json -F files=@script.py.",
        )
    if len(found) > 1:
        raise refuse(
            "two_configs",
            "config",
            "only one config is allowed",
            given=_list(found),
            next_step="Send one config. If another file of the task is JSON too, call the config's part `config`.",
        )
    return found[0]


def _looks_like_json(part: Part) -> bool:
    return (part.file_name or "").lower().endswith(".json") or part.media_type == "application/json"


def _read_config(part: Part) -> TaskConfig:
    if part.size > MAX_CONFIG_BYTES:
        raise build_too_large("config", MAX_CONFIG_BYTES)
    try:
        return parse_config(part.path.read_bytes())
    except ConfigError as error:
        raise InvalidError(str(error), key="bad_config", title="The config has errors", fields=error.fields) from error


def _check_file(part: Part, config: TaskConfig) -> UploadedFile:
    if part.file_name is None:
        raise refuse("no_file_name", part.field or "files", "a file with a name is needed, not a text field")
    try:
        name = check_file_name(part.file_name)
    except ValueError as error:
        raise refuse(
            "bad_file_name",
            part.field or "files",
            str(error),
            given=ascii(part.file_name),
            next_step="Rename the file.",
        ) from error
    if name == ENTRYPOINT and config.script != ENTRYPOINT:
        raise refuse(
            "reserved_file_name",
            name,
            "only the script itself may have this name",
            next_step="Rename the file.",
        )
    return UploadedFile(name=name, path=part.path, size=part.size, sha256=part.sha256)


def _check_extra(file: UploadedFile, settings: GatewaySettings) -> None:
    if file.size > settings.max_file_bytes:
        raise build_too_large(file.name, settings.max_file_bytes)
    if file.size == 0:
        raise refuse(
            "empty_file",
            file.name,
            "the file is empty",
            next_step="Send the file again, or leave it out.",
        )


def _check_unique_names(files: Sequence[UploadedFile]) -> None:
    names = [file.name for file in files]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise refuse(
            "two_files_of_one_name", duplicate, "duplicate file name", next_step="Rename one of the two files."
        )


def _find_script(files: Sequence[UploadedFile], config: TaskConfig) -> UploadedFile:
    field = "script_path" if config.script_path else "script_name"
    if not files:
        raise refuse(
            "no_script",
            field,
            f"the script {config.script} is missing",
            next_step=f"Add it: curl -F files=@config.json -F files=@{config.script}.",
        )
    script = next((file for file in files if file.name == config.script), None)
    if script is None:
        raise refuse(
            "script_name_mismatch",
            field,
            f"it names {config.script}, but no file with this name was sent",
            given=", ".join(file.name for file in files),
            next_step=f"Send the script as {config.script}, or correct {field} in the config.",
        )
    if script.size == 0:
        raise refuse(
            "empty_script", script.name, "the script is empty", next_step="Send the script again, with its content."
        )
    return script


def _list(parts: Sequence[Part]) -> str:
    return ", ".join(ascii(part.file_name or part.field) for part in parts) or "no parts"
