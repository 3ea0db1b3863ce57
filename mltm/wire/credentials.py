"""The gateway's address and the user's token: from the environment, else from the login that `mltm login` stored."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mltm.wire.downloads import replace_when_whole
from mltm.wire.errors import build_error
from mltm.wire.header_values import clean_token

__all__ = ["Access", "credentials_file", "read_access", "read_stored", "remove_access", "write_access"]

_LOGIN = "Run `mltm login ADDRESS`, or set MLTM_URL and MLTM_TOKEN."


@dataclass(frozen=True)
class Access:
    """A gateway's address, the token for it (None: not logged in), and the CA file for its certificate."""

    url: str
    token: str | None = None
    ca: str | None = None
    username: str | None = None

    def __repr__(self) -> str:
        return f"Access(url={self.url!r}, username={self.username!r})"


def credentials_file(env: Mapping[str, str]) -> Path:
    """Build the path of the stored login: $XDG_CONFIG_HOME/mltm/credentials.json; the default is ~/.config."""
    home = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".config")
    return Path(home) / "mltm" / "credentials.json"


def read_access(env: Mapping[str, str], *, url: str | None = None, ca: str | None = None) -> Access:
    """Find address and token: `url` and `ca` as given, then MLTM_URL, MLTM_TOKEN and MLTM_CA, then the stored login.

    A stored token is sent only to the gateway that made it. Raises MltmError if no address is known.
    """
    stored = read_stored(env)
    wanted = (url or env.get("MLTM_URL") or "").strip().rstrip("/")
    address = wanted or (stored.url if stored else "")
    if not address:
        raise build_error("not_logged_in", "The gateway's address is not known.", _LOGIN, status=401)
    own = stored if stored and stored.url == address else None
    return Access(
        url=address,
        token=clean_token(env.get("MLTM_TOKEN")) or (own.token if own else None),
        ca=ca or env.get("MLTM_CA") or (own.ca if own else None),
        username=own.username if own else None,
    )


def write_access(env: Mapping[str, str], access: Access) -> Path:
    """Store a login in a file that only its user can read (mode 0600). Return its path."""
    path = credentials_file(env)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replace_when_whole(path) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(json.dumps(asdict(access), indent=1).encode() + b"\n")
    return path


def remove_access(env: Mapping[str, str]) -> bool:
    """Remove the stored login. False if there was none."""
    path = credentials_file(env)
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def read_stored(env: Mapping[str, str]) -> Access | None:
    """Read the stored login; None if there is none. Raises MltmError for a file that is damaged."""
    path = credentials_file(env)
    try:
        fields = json.loads(path.read_bytes())
        return Access(
            url=str(fields["url"]).rstrip("/"), token=fields.get("token"), ca=fields.get("ca"),
            username=fields.get("username"),
        )  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise build_error(
            "bad_credentials_file", f"Cannot read {path} ({error}).", "Run `mltm login ADDRESS` again.", status=401
        ) from error
