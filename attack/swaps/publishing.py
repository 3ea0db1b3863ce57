"""The gateway's hands in an inbox that somebody else can write: bundles come and go, its address is written."""

import datetime as dt
import hashlib
import json
from pathlib import Path

from attack.swaps.hands import Canary, work
from attack.swaps.supplies import KEY, SPOOL_ID
from gateway.services.publisher import publish_bundle, remove_taken
from gateway.services.spool_address import write_address as write
from gateway.store.outbox import OutboxEntry
from gateway.values import InboxKey
from mltm.contract.manifest import BundleFile, Manifest
from mltm.contract.spool_layout import ENTRYPOINT, Inbox

__all__ = ["publish", "write_address"]


def publish(text: str) -> None:
    """Publish a bundle and remove it again, in each round."""
    wanted = json.loads(text)
    home, inbox = Path(wanted["home"]), Inbox(Path(wanted["inbox"]))
    source = home / "source"
    source.mkdir()
    (source / ENTRYPOINT).write_bytes(b"print(1)\n")
    canary = Canary(Path(wanted["outside"]))
    canary.make()

    def step(number: int) -> bool:
        entry = _build_entry(number, inbox)
        publish_bundle(entry, source, inbox)
        remove_taken(entry.task_id, inbox)
        return True

    work(step, canary.find_harm, hang_s=wanted["hang_s"], told=home / "told")


def _build_entry(number: int, inbox: Inbox) -> OutboxEntry:
    code = b"print(1)\n"
    listed = BundleFile(name=ENTRYPOINT, size=len(code), sha256=hashlib.sha256(code).hexdigest())
    manifest = Manifest(
        task_id=f"{number:032x}", owner="ann", cluster="atena", script_name="script.py", config={}, files=[listed],
        submitted_at=dt.datetime.now(dt.UTC),
    )  # fmt: skip
    return OutboxEntry(manifest.task_id, "waiting", inbox.root, manifest, SPOOL_ID, KEY)


def write_address(text: str) -> None:
    """Write the gateway's address, in each round."""
    wanted = json.loads(text)
    home, place = Path(wanted["home"]), InboxKey(Path(wanted["inbox"]), SPOOL_ID, KEY)
    canary = Canary(Path(wanted["outside"]))
    canary.make()

    def step(number: int) -> bool:
        write(place, f"http://127.0.0.1:{number}")
        return True

    work(step, canary.find_harm, hang_s=wanted["hang_s"], told=home / "told")
