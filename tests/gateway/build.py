"""Submissions as tests send them."""

import io
import json
from typing import Any

from aiohttp import FormData

CLUSTER = "atena02"
SCRIPT = b"print('hello')\n"
Part = tuple[str, str | None, bytes]  #: field, file name, content


def config(**changes: Any) -> dict[str, Any]:
    """A good config, with changes; None takes a field away."""
    infra = {"instance_type": "cpu", "image_name": "sklearn_sample_latest", "account": "twinscie"}
    known = {
        "runner_location": CLUSTER,
        "clusters": {CLUSTER: {"infra_config": infra}},
        "script_path": "script.py",
        "dataset_name": "wine",
        "model_params": {"n_estimators": 2},
        "experiment_name": "wine quality",
    }
    return {name: value for name, value in {**known, **changes}.items() if value is not None}


def part(name: str | None, content: bytes | str | dict[str, Any], field: str = "files") -> Part:
    """A part; a dict is sent as JSON."""
    text = json.dumps(content) if isinstance(content, dict) else content
    return field, name, text.encode() if isinstance(text, str) else text


def good_parts(**changes: Any) -> list[Part]:
    """The predecessor's two parts, both called `files`."""
    return [part("config.json", config(**changes)), part("script.py", SCRIPT)]


def build_form(parts: list[Part]) -> FormData:
    """A multipart body; names are sent as they are."""
    form = FormData(quote_fields=False, default_to_multipart=True)
    for field, name, content in parts:
        if name is None:
            form.add_field(field, content.decode())
        else:
            form.add_field(field, io.BytesIO(content), filename=name, content_type="application/octet-stream")
    return form
