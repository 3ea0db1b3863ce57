"""Checks what the gateway needs of the machine: database, disk, modes, inboxes, address, open files, certificate.

It changes nothing: what the gateway would mend by itself at its next start is said, too.
"""

import os
import shutil
import ssl
import stat
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import UnavailableError
from gateway.front.limits import MAX_FILES, count_connections, count_files, read_file_limit
from gateway.private_files import FILE_MODE, FOLDER_MODE
from gateway.services.inbox_folder import judge_inbox
from gateway.settings import GatewaySettings, is_loopback, list_weak_settings
from gateway.store import agents, migrate
from gateway.store.database import Database
from gateway.tls import Certificate
from mltm.runtime.mounts import read_file_system

__all__ = ["check_all", "check_modes", "list_notes", "read_inboxes"]

# SQLite's WAL needs shared memory between processes, and locks. These file systems promise neither.
_UNSAFE = frozenset({"nfs", "nfs4", "lustre", "gpfs", "beegfs", "cifs", "smb3", "9p", "ceph", "glusterfs"})
_RENEW_DAYS = 14


def check_all(settings: GatewaySettings, inboxes: list[Path], now: datetime) -> list[tuple[str, str]]:
    """Check everything. Returns (what, 'ok' or a message) for each check."""
    findings = [
        ("database", _check_database(settings)),
        ("disk", _check_disk(settings)),
        ("modes", check_modes(settings)),
        ("host", _check_host(settings)),
        ("open files", _check_open_files(settings)),
    ]
    findings += [(f"inbox {inbox}", judge_inbox(inbox)) for inbox in inboxes]
    if settings.tls_cert is not None and settings.tls_key is not None:
        findings.append(("certificate", _check_certificate(settings, settings.tls_cert, settings.tls_key, now)))
    return findings


def list_notes(settings: GatewaySettings) -> list[tuple[str, str]]:
    """List what is allowed but weak: the setting, and what to do. Nothing here keeps the gateway from serving."""
    notes = list_weak_settings(settings)
    is_behind_proxy = settings.url.startswith("https:") and settings.tls_cert is None
    if is_behind_proxy and not settings.trusted_proxies:
        notes.append(("trusted_proxies", _SAME_ADDRESS))
    if is_behind_proxy and settings.max_connections_per_address < settings.max_connections:
        share = f"All users behind the proxy share {settings.max_connections_per_address} connections."
        step = f"Set max_connections_per_address = {settings.max_connections}."
        notes.append(("max_connections_per_address", f"{share} {step}"))
    return notes


_SAME_ADDRESS = (
    "public_url has https and the gateway has no certificate, so a proxy is before it. All users have the proxy's "
    "address: one guesser uses up everybody's logins, and the security log cannot tell them apart. "
    'Set trusted_proxies to the proxy\'s address, as in ["127.0.0.1"].'
)


def read_inboxes(settings: GatewaySettings) -> list[Path]:
    """The inboxes of all agents; none without a database. Raises UnavailableError."""
    if not settings.database_path.exists():
        return []
    database = Database(settings.database_path)
    try:
        migrate.require_migrated(database)
        return sorted({place.inbox for place in database.call_now(agents.list_inbox_keys)})
    finally:
        database.close()


def check_modes(settings: GatewaySettings) -> str:
    """Say which folders and files others can enter, read or write, and the command for each; else "ok"."""
    database = settings.database_path
    files = [database.with_name(database.name + end) for end in ("", "-wal", "-shm")]
    files += [settings.security_log_path, settings.data_dir / "lock"]
    places = [(folder, FOLDER_MODE) for folder in (settings.data_dir, settings.staging, settings.files, settings.cache)]
    places += [(file, FILE_MODE) for file in files]
    owner = settings.data_dir.stat().st_uid if settings.data_dir.is_dir() else os.geteuid()
    found = [_judge_mode(place, mode, owner, settings.data_dir) for place, mode in places]
    return " ".join(filter(None, found)) or "ok"


def _judge_mode(place: Path, mode: int, owner: int, data_dir: Path) -> str:
    try:
        seen = place.stat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{place} cannot be looked at: {error.strerror}. Run this as the account of the service."
    if seen.st_uid != owner:
        return f"{place} belongs to another account than {data_dir}. Run: chown --reference={data_dir} {place}"
    before = stat.S_IMODE(seen.st_mode)
    return f"{place} has the mode {before:04o}. Run: chmod {mode:o} {place}" if before & 0o777 & ~mode else ""


def _check_host(settings: GatewaySettings) -> str:
    if settings.tls_cert is not None or settings.allow_plain_http or is_loopback(settings.host):
        return "ok"
    return (
        f"Without TLS the gateway does not start on {settings.host or 'all addresses'}. Set tls_cert and tls_key, or "
        "listen on 127.0.0.1 behind a proxy that has TLS. In a network that you trust: allow_plain_http = true."
    )


def _check_open_files(settings: GatewaySettings) -> str:
    limit, wanted = read_file_limit(), settings.max_connections
    possible = count_connections(limit)
    if possible >= wanted:
        return "ok"
    if count_files(wanted) > MAX_FILES:
        return f"The gateway takes at most {count_connections(MAX_FILES):,} connections. Lower max_connections."
    return (
        f"At most {limit:,} files may be open here (ulimit -Hn), so there would be {possible:,} connections and not "
        f"{wanted:,}. Set LimitNOFILE={count_files(wanted)} in the unit (a service has its unit's limit, not this "
        f"shell's), or max_connections = {possible}."
    )


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
