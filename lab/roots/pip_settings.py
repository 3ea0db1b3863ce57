"""The machine's own settings of pip, uv and certificates, for where their files are not: a root, an image's build."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

__all__ = ["PipSettings", "carry_pip_settings", "parse_pip_config", "read_pip_settings"]

_CARRIED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "no_proxy",
            "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # fmt: skip


@dataclass(frozen=True)
class PipSettings:
    """Variables that say it all, and the files and folders that they name."""

    variables: dict[str, str]
    paths: tuple[Path, ...]


def read_pip_settings(environment: Mapping[str, str]) -> PipSettings:
    """Read what pip and uv would use here."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(environment))
    if done.returncode:
        raise LabError(f"`pip config list` failed: {done.stderr.strip()[-300:]}")
    variables = {**parse_pip_config(done.stdout), **_select(environment, "UV_")}
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    own = [file for file in (f"{home}/uv/uv.toml", "/etc/uv/uv.toml") if Path(file).exists()]
    if own:
        variables.setdefault("UV_CONFIG_FILE", own[0])
    return PipSettings(variables, _find_paths(variables))


def carry_pip_settings(environment: Mapping[str, str]) -> PipSettings:
    """Take them from variables alone: inside a root, which got them from `read_pip_settings`."""
    variables = _select(environment, "PIP_", "UV_")
    return PipSettings(variables, _find_paths(variables))


def _select(environment: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name in _CARRIED or name.startswith(prefixes)}


def parse_pip_config(text: str) -> dict[str, str]:
    """Parse `pip config list` (a later line goes before an earlier one) as pip's variables."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, mark, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if mark and section in ("global", "user", "site", "install", ":env:"):
            found[f"PIP_{key.upper().replace('-', '_')}"] = str(ast.literal_eval(value))
    return found


def _find_paths(variables: Mapping[str, str]) -> tuple[Path, ...]:
    words = [word.removeprefix("file://") for value in variables.values() for word in value.split()]
    found = {Path(word) for word in words if word.startswith("/") and Path(word).exists()}
    # A folder is bound before what lies in it.
    return tuple(sorted(found))
