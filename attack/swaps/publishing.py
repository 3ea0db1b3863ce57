"""The gateway's hands in a spool: it publishes bundles, removes taken ones, and writes its address."""

import datetime as dt
import hashlib
import json
from pathlib import Path

from attack.swaps.hands import Canary, work
from gateway.services.publisher import publish_bundle, remove_taken
from gateway.services.spool_address import write_url
from gateway.store.outbox import OutboxEntry
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.spool_layout import ENTRYPOINT, Spool

__all__ = ["publish", "write_address"]


def publish(text: str) -> None:
    """Publish a bundle and remove it again, in each round."""
    wanted = json.loads(text)
    home, spool = Path(wanted["home"]), Path(wanted["spool"])
    source = home / "source"
    source.mkdir()
    (source / ENTRYPOINT).write_bytes(b"print(1)\n")
    canary = Canary(Path(wanted["outside"]))
    canary.make()

    def step(number: int) -> bool:
        entry = _build_entry(number, spool)
        publish_bundle(entry, source, Spool(spool))
        remove_taken(entry.task_id, Spool(spool))
        return True

    work(step, canary.find_harm, hang_s=wanted["hang_s"], told=home / "told")


def _build_entry(number: int, spool: Path) -> OutboxEntry:
    code = b"print(1)\n"
    listed = BundleFile(name=ENTRYPOINT, size=len(code), sha256=hashlib.sha256(code).hexdigest())
    manifest = Manifest(
        task_id=f"{number:032x}", owner="ann", cluster="atena", script_name="script.py", config={}, files=[listed],
        submitted_at=dt.datetime.now(dt.UTC),
    )  # fmt: skip
    return OutboxEntry(manifest.task_id, "waiting", str(spool), manifest)


def write_address(text: str) -> None:
    """Write the gateway's address, in each round."""
    wanted = json.loads(text)
    home, spool = Path(wanted["home"]), Path(wanted["spool"])
    canary = Canary(Path(wanted["outside"]))
    canary.make()

    def step(number: int) -> bool:
        write_url(Spool(spool), f"http://127.0.0.1:{number}")
        return True

    work(step, canary.find_harm, hang_s=wanted["hang_s"], told=home / "told")
