"""Checks what the gateway needs of the machine: database, disk, inboxes, certificate."""

import os
import shutil
import ssl
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import UnavailableError
from gateway.services.inbox_folder import judge_inbox
from gateway.settings import GatewaySettings
from gateway.tls import Certificate
from mltm.runtime.mounts import read_file_system

__all__ = ["check_all"]

# SQLite's WAL needs shared memory between processes, and locks. These file systems promise neither.
_UNSAFE = frozenset({"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "9p", "ceph", "glusterfs"})
_RENEW_DAYS = 14


def check_all(settings: GatewaySettings, inboxes: list[Path], now: datetime) -> list[tuple[str, str]]:
    """Check everything. Returns (what, 'ok' or a message) for each check."""
    findings = [("database", _check_database(settings)), ("disk", _check_disk(settings))]
    findings += [(f"inbox {inbox}", judge_inbox(inbox)) for inbox in inboxes]
    if settings.tls_cert is not None and settings.tls_key is not None:
        findings.append(("certificate", _check_certificate(settings, settings.tls_cert, settings.tls_key, now)))
    return findings


def _check_database(settings: GatewaySettings) -> str:
    path = settings.database_path.resolve()
    kind = read_file_system(path)
    if kind in _UNSAFE or kind.startswith("fuse"):
        return f"{path} lies on {kind}. SQLite's WAL mode loses data there. Set `database` to a file on a local disk."
    if not path.exists():
        return f"{path} does not exist. If this is the right data_dir, `mltm-gateway migrate` creates it."
    return "ok"


def _check_disk(settings: GatewaySettings) -> str:
    if not settings.data_dir.is_dir():
        return f"The data folder {settings.data_dir.absolute()} does not exist. `mltm-gateway migrate` creates it."
    if not os.access(settings.data_dir, os.W_OK | os.X_OK):
        return f"This user cannot write to the data folder {settings.data_dir.absolute()}. Change its owner."
    free = shutil.disk_usage(settings.data_dir).free
    return "ok" if free >= settings.min_free_bytes else f"Only {free:,} bytes are free in {settings.data_dir}."


def _check_certificate(settings: GatewaySettings, cert: Path, key: Path, now: datetime) -> str:
    try:
        shown = Certificate(cert, key).shown
    except UnavailableError as error:
        return f"{error} {error.next_step}"
    host, names = urlsplit(settings.url).hostname or "", [name for _, name in shown.get("subjectAltName", ())]
    if host not in names and f"*.{host.partition('.')[2]}" not in names:
        return (
            f"{cert} is for {', '.join(names) or 'no address'}, but users reach the gateway at {host}. Set public_url."
        )
    left_d = (ssl.cert_time_to_seconds(shown["notAfter"]) - now.timestamp()) / 86_400
    if left_d < _RENEW_DAYS:
        return f"{cert} expires in {left_d:.0f} days. Renew it. A running gateway loads the new files by itself."
    return "ok" if not key.stat().st_mode & 0o007 else f"Everybody can read {key}. Run: chmod 600 {key}"
