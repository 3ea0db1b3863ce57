"""The gateway's settings: one TOML file and the command line's options, read once by the CLI and passed down."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, IPvAnyNetwork, ValidationError, model_validator

from gateway.errors import InvalidError
from mltm.contract.base_models import Strict
from mltm.contract.task_config import Key
from mltm.runtime.explain_settings import explain_settings

__all__ = ["GatewaySettings", "is_loopback", "list_weak_settings", "read_settings"]

MIB = 1024 * 1024


class GatewaySettings(Strict):
    """All settings. Every field has a default that works on one machine; `data_dir` must be on a local disk."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8008, description="0: any free port")
    data_dir: Path = Field(default=Path("mltm-gateway"), description="uploads, task files, cache, database")
    database: str | None = Field(
        default=None, description="path of the SQLite file; without it <data_dir>/gateway.sqlite"
    )
    tls_cert: Path | None = Field(default=None, description="certificate chain (PEM)")
    tls_key: Path | None = Field(default=None, description="its private key (PEM)")
    allow_plain_http: bool = Field(
        default=False, description="listen without TLS on an address that other machines reach; logged at each start"
    )
    public_url: str | None = Field(
        default=None, description="how users and agents reach it; written, with a proof, to each inbox"
    )
    name: Key = Field(default="mltm", description="the gateway's name; shown if a spool belongs to another gateway")
    clusters: list[Key] = Field(
        default_factory=list, description="known cluster names, besides those of enrolled agents"
    )
    max_script_bytes: Annotated[int, Field(ge=1)] = 10 * MIB
    max_file_bytes: Annotated[int, Field(ge=1)] = 100 * MIB
    max_files: Annotated[int, Field(ge=1, le=1000)] = 16
    max_connections: Annotated[int, Field(ge=1)] = Field(default=2000, description="connections at once")
    max_connections_per_address: Annotated[int, Field(ge=1)] = Field(
        default=128, description="of one client address; behind a proxy all have the proxy's"
    )
    max_requests_per_user: Annotated[int, Field(ge=1)] = Field(default=64, description="at once, of a user or an agent")
    max_uploads_per_user: Annotated[int, Field(ge=1)] = Field(default=8, description="at once, of a user")
    max_uploads: Annotated[int, Field(ge=1)] = Field(default=32, description="at once, of all users")
    legacy_wait_s: Annotated[float, Field(ge=0, le=60)] = 5.0
    token_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=30, description="how long a login's token is valid"
    )
    publish_interval_s: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="how often what failed is retried"
    )
    agent_silent_after_s: Annotated[float, Field(gt=0)] = 120.0
    min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        default=100 * MIB, description="with less free space no new task is accepted"
    )
    max_cache_bytes: Annotated[int, Field(ge=0)] = Field(default=2048 * MIB, description="cached logs and outputs")
    security_log: Path | None = Field(default=None, description="the security log; without it <data_dir>/security.log")
    trusted_proxies: list[IPvAnyNetwork] = Field(
        default_factory=list, description="proxies (addresses or networks) whose X-Forwarded-For is believed"
    )

    @model_validator(mode="after")
    def _has_both_tls_files(self) -> "GatewaySettings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; set both or neither")
        return self

    @property
    def database_path(self) -> Path:
        """Where the SQLite file lies."""
        return Path(self.database) if self.database else self.data_dir / "gateway.sqlite"

    @property
    def security_log_path(self) -> Path:
        """Where the security log lies."""
        return self.security_log or self.data_dir / "security.log"

    @property
    def staging(self) -> Path:
        """Unfinished uploads, each in its own folder."""
        return self.data_dir / "staging"

    @property
    def files(self) -> Path:
        """Tasks' files until an agent has taken them, one folder for each task."""
        return self.data_dir / "files"

    def task_files(self, task_id: str) -> Path:
        """A task's files until its agent has taken them."""
        return self.files / task_id

    @property
    def cache(self) -> Path:
        """Pieces of logs and outputs that agents delivered."""
        return self.data_dir / "cache"

    @property
    def url(self) -> str:
        """The public address, or the one that host and port give."""
        scheme = "https" if self.tls_cert else "http"
        return self.public_url or f"{scheme}://{self.host}:{self.port}"


def list_weak_settings(settings: GatewaySettings) -> list[tuple[str, str]]:
    """List the settings that weaken safety, each with what it allows and what to do."""
    weak: list[tuple[str, str]] = []
    if settings.tls_cert is None and not is_loopback(settings.host):
        reason = "Passwords and tokens travel without encryption, unless a proxy before the gateway adds it."
        weak.append(("host", f"{settings.host} is reached without TLS. {reason} Set tls_cert and tls_key."))
    weak += [
        (
            "trusted_proxies",
            f"{network} has {network.num_addresses:,} addresses: each can claim to be anybody. Name the proxies alone.",
        )
        for network in settings.trusted_proxies
        if network.num_addresses > _MANY_PROXIES
    ]
    if settings.token_days > _LONG_DAYS:
        weak.append(
            ("token_days", f"A stolen login token works for {settings.token_days} days. Set at most {_LONG_DAYS}.")
        )
    return weak


_MANY_PROXIES, _LONG_DAYS = 65_536, 90


def is_loopback(host: str) -> bool:
    """True if only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(path: Path | None, options: dict[str, object]) -> GatewaySettings:
    """Read the TOML file (None: no file); options that are not None override it. Raises InvalidError."""
    values = _read_toml(path) if path else {}
    values.update({name: value for name, value in options.items() if value is not None})
    source = f"settings file {path}" if path else "settings"
    try:
        settings = GatewaySettings.model_validate(values)
    except ValidationError as error:
        fields = explain_settings(error, GatewaySettings)
        message = f"{source}: " + "; ".join(map(str, fields))
        raise InvalidError(message, key="bad_settings", next_step=_SEE_DOCS, fields=fields) from error
    if settings.database and "://" in settings.database:
        raise InvalidError(
            f"database: {settings.database.split('://')[0]}:// is not available in this version. Only SQLite is.",
            key="bad_settings",
            next_step="Set it to a file on a local disk, or leave it out.",
        )
    return settings


_SEE_DOCS = "docs/gateway.md lists every setting."


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message, step = f"Cannot read the settings file {path}: {error.strerror}.", "Give the right path to --config."
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message, step = (
            f"The settings file {path} is not valid TOML: {error}.",
            f"A line looks like: port = 8008. {_SEE_DOCS}",
        )
    raise InvalidError(message, key="bad_settings", next_step=step)
