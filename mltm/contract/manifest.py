"""What lies in a bundle: the manifest that a gateway (or a drop) puts beside a task's files."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mltm.contract.base_models import JsonObject, Message, Timestamp
from mltm.contract.limits import Count, Line, MessageText

__all__ = ["FILE_NAME", "BundleFile", "FileName", "Manifest", "check_file_name"]

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def check_file_name(name: str) -> str:
    """Return the name if it is a plain file name. Raises ValueError that says what is allowed."""
    if not FILE_NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is not a plain file name: letters, digits and . _ + - are allowed, "
            "it may not start with a dot or a hyphen, and it has at most 128 characters"
        )
    return name


FileName = Annotated[
    str, AfterValidator(check_file_name), Field(json_schema_extra={"pattern": f"^(?:{FILE_NAME.pattern})$"})
]


class BundleFile(Message):
    """One file of a bundle, lying in its `files/` folder under `name`; the entrypoint is always `entrypoint.py`."""

    name: FileName
    size: Count
    sha256: Sha256


class Manifest(Message):
    """`manifest.json` of a bundle. `config` is the user's JSON, as it came.

    A drop with a `fault`: what could be read of it. Fields may be unknown or wrong; {} means that it is not JSON.
    A faulty bundle: no files are listed.
    """

    kind: Literal["manifest"] = "manifest"
    task_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    owner: Line
    owner_id: str = Field(default="", max_length=128, description="of the gateway's user; a name may be given again")
    cluster: Line
    gateway: Line = ""
    submitted_at: Timestamp
    script_name: Line = Field(description="what the user called the entrypoint; for display")
    config: JsonObject
    files: list[BundleFile]
    source: Literal["gateway", "drop"] = "gateway"
    seal: str = Field(default="", max_length=128, description="the gateway's proof to itself that it made this")
    fault: MessageText = Field(
        default="", description="why it cannot be a task: the reason with which it is closed as rejected"
    )
