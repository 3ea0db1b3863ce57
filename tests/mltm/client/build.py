"""A submission on disk, and a client that does not wait between two tries."""

import asyncio
import json
from pathlib import Path

from mltm.client import Client
from mltm.wire.retry_policy import RetryPolicy
from tests.mltm.client.fake_gateway import TOKEN, FakeGateway

__all__ = ["CONFIG", "INSTANT", "open_client", "write_submission"]

CONFIG: dict[str, object] = {
    "runner_location": "atena02",
    "script_path": "path/to/train.py",
    "clusters": {"atena02": {"infra_config": {"instance_type": "cpu", "image_name": "sklearn_sample_latest"}}},
}


async def _no_sleep(_: float) -> None:
    await asyncio.sleep(0)


INSTANT = RetryPolicy(request_s=30, waiting_s=30, sleep=_no_sleep, jitter=lambda: 0.0)


def open_client(gateway: FakeGateway, token: str | None = TOKEN, policy: RetryPolicy = INSTANT) -> Client:
    return Client(gateway.url, token, retry_policy=policy)


def write_submission(folder: Path) -> tuple[Path, Path]:
    config, script = folder / "config.json", folder / "train.py"
    config.write_text(json.dumps(CONFIG))
    script.write_text("print('hello')\n")
    return config, script
