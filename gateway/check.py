"""What the gateway needs from its surroundings: looked at, and said in words."""

import os
import shutil
import ssl
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import UnavailableError
from gateway.settings import GatewaySettings
from gateway.tls import Certificate
from mltm.runtime.mounts import read_file_system

__all__ = ["check_all"]

# SQLite's WAL needs shared memory between processes, and locks that these do not promise.
_UNSAFE = frozenset({"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "9p", "ceph", "glusterfs"})
_RENEW_DAYS = 14


def check_all(settings: GatewaySettings, spools: list[Path], now: datetime) -> list[tuple[str, str]]:
    """Check everything: (what, 'ok' or a sentence)."""
    findings = [("database", _check_database(settings)), ("disk", _check_disk(settings))]
    findings += [(f"spool {spool}", _check_spool(spool)) for spool in spools]
    if settings.tls_cert is not None and settings.tls_key is not None:
        findings.append(("certificate", _check_certificate(settings, settings.tls_cert, settings.tls_key, now)))
    return findings


def _check_database(settings: GatewaySettings) -> str:
    path = settings.database_path.resolve()
    kind = read_file_system(path)
    if kind in _UNSAFE or kind.startswith("fuse"):
        return f"{path} lies on {kind}, where SQLite's WAL mode loses data. Set `database` to a file on a local disk."
    if not path.exists():
        return f"there is none at {path}. Is this the right data_dir? If so: `mltm-gateway migrate` makes it."
    return "ok"


def _check_disk(settings: GatewaySettings) -> str:
    if not settings.data_dir.is_dir():
        return f"there is no data folder {settings.data_dir.absolute()}; `mltm-gateway migrate` makes it"
    if not os.access(settings.data_dir, os.W_OK | os.X_OK):
        return f"the data folder {settings.data_dir.absolute()} cannot be written by this user"
    free = shutil.disk_usage(settings.data_dir).free
    return "ok" if free >= settings.min_free_bytes else f"only {free:,} bytes are free in {settings.data_dir}"


def _check_spool(spool: Path) -> str:
    if not spool.is_dir():
        return "it is not there; mount it, or start its agent once, which makes it"
    folder = spool / "in"
    place = folder if folder.is_dir() else spool
    return "ok" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written by this user; give it a group"


def _check_certificate(settings: GatewaySettings, cert: Path, key: Path, now: datetime) -> str:
    try:
        shown = Certificate(cert, key).shown
    except UnavailableError as error:
        return f"{error} {error.next_step}"
    host, names = urlsplit(settings.url).hostname or "", [name for _, name in shown.get("subjectAltName", ())]
    if host not in names and f"*.{host.partition('.')[2]}" not in names:
        return (
            f"{cert} is for {', '.join(names) or 'no address'}, and users reach the gateway at {host}. Set public_url."
        )
    left_d = (ssl.cert_time_to_seconds(shown["notAfter"]) - now.timestamp()) / 86_400
    if left_d < _RENEW_DAYS:
        return f"{cert} ends in {left_d:.0f} days: renew it; a running gateway takes the new files by itself."
    return "ok" if not key.stat().st_mode & 0o007 else f"{key} can be read by everybody: chmod 600 {key}"
