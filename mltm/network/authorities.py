"""Which authorities are trusted: those of a file that was given, else what the environment names, else the system's.

The variables are those of OpenSSL (SSL_CERT_FILE, SSL_CERT_DIR), requests (REQUESTS_CA_BUNDLE) and curl
(CURL_CA_BUNDLE). OpenSSL ignores a file that does not exist; here it is named.
"""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AuthoritiesError", "Trusted", "load_authorities"]

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class AuthoritiesError(Exception):
    """A file or folder of authorities that cannot be used."""


@dataclass(frozen=True)
class Trusted:
    """A context that trusts some authorities. `source` says which, for messages; "" for the system's."""

    context: ssl.SSLContext
    source: str = ""


def load_authorities(given: Path | str | None, name: str, env: Mapping[str, str]) -> Trusted:
    """Load the authorities. `name`: what names `given`, for messages. Raises AuthoritiesError."""
    if given is not None:
        return Trusted(_load_file(str(given), name), str(given))
    for variable in _VARIABLES:
        path = env.get(variable, "").strip()
        if not path:
            continue
        may_be_folder = variable != "SSL_CERT_FILE" and (Path(path).is_dir() or variable == "SSL_CERT_DIR")
        context = _load_folders(path, variable) if may_be_folder else _load_file(path, variable)
        return Trusted(context, f"{variable}={path}")
    return Trusted(ssl.create_default_context())


def _load_file(path: str, name: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise AuthoritiesError(_describe(path, name, f"no certificate in PEM form ({error.reason})")) from error
    except (OSError, ValueError) as error:
        raise AuthoritiesError(_describe(path, name, getattr(error, "strerror", None) or str(error))) from error


def _load_folders(path: str, name: str) -> ssl.SSLContext:
    """Trust what is in folders of hashed PEM files (`openssl rehash`), with `:` between them."""
    folders = [folder for folder in path.split(os.pathsep) if Path(folder).is_dir()]
    if not folders:
        raise AuthoritiesError(_describe(path, name, "no such folder"))
    context = ssl.create_default_context(capath=folders[0])
    for folder in folders[1:]:
        context.load_verify_locations(capath=folder)
    return context


def _describe(path: str, name: str, reason: str) -> str:
    return f"Cannot read certificates from {path}, which {name} names: {reason}."
