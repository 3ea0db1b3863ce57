"""The gateway's certificate: loaded, tried in a handshake inside this process, and loaded again when it is renewed."""

import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import structlog

from gateway.errors import UnavailableError

__all__ = ["Certificate"]

_log = structlog.get_logger(__name__)
_SET_BOTH = (
    "Set tls_cert to a PEM file with the certificate and its intermediate certificates, tls_key to its private key."
)
_EXPIRED, _NOT_YET_VALID = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
Versions = tuple[tuple[int, int], ...]


class Certificate:
    """The two files, and the context that the sockets use. Raises UnavailableError if they cannot be used."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._seen = _read_versions(cert, key)
        self.shown = _try(_load(cert, key), cert)
        self.context = _load(cert, key)

    def refresh(self) -> None:
        """Load files that have changed. While the new files cannot be used, the old certificate stays."""
        seen = _read_versions(self._cert, self._key)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.shown = _try(_load(self._cert, self._key), self._cert)
            self.context.load_cert_chain(self._cert, self._key)
        except (UnavailableError, OSError) as error:
            _log.error("certificate_not_renewed", message=str(error))
        else:
            _log.info("certificate_renewed", expires_at=self.shown.get("notAfter"))


def _read_versions(*paths: Path) -> Versions:
    versions: list[tuple[int, int]] = []
    for path in paths:
        with contextlib.suppress(OSError):
            stat = path.stat()
            versions.append((stat.st_mtime_ns, stat.st_ino))
    return tuple(versions)


def _load(cert: Path, key: Path) -> ssl.SSLContext:
    """Build a server's context. The key must not have a passphrase: OpenSSL would stop and ask on the terminal."""

    def no_passphrase() -> NoReturn:
        raise _refuse(f"The private key {key} has a passphrase, and nobody can type it.", _COPY_THE_KEY)

    _check_pem(cert, "CERTIFICATE-----", "certificate")
    _check_pem(key, "PRIVATE KEY-----", "private key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password=no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _refuse(f"The private key {key} does not belong to the certificate {cert}.") from error
        raise _refuse(f"The certificate {cert} or its key {key} cannot be used: {error.reason or error}.") from error
    return context


_COPY_THE_KEY = (
    "Make a copy without a passphrase (openssl pkey -in KEY -out NEW) that only the gateway's user can read."
)


def _check_pem(path: Path, mark: str, what: str) -> None:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _refuse(f"The {what} {path} cannot be read: {error.strerror}.") from error
    if mark not in text:
        raise _refuse(f"{path} has no {what} in PEM format.")


def _try(server: ssl.SSLContext, chain: Path) -> Mapping[str, Any]:
    """Do a handshake with ourselves. Returns the certificate as a client sees it (as getpeercert() does)."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # The chain counts as its own authority: only dates and use are checked.
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(chain)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    try:
        for end in ends * 3:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise _refuse(_explain(error, chain), "Renew it, and start the gateway again.") from error
    return ends[0].getpeercert() or {}


def _explain(error: ssl.SSLCertVerificationError, chain: Path) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return f"The certificate {chain} has expired. No client would connect."
        case code if code == _NOT_YET_VALID:
            return f"The certificate {chain} is not valid yet. No client would connect. Check this machine's clock."
        case _:
            return f"No client would accept the certificate {chain}: {error.verify_message}."


def _refuse(message: str, step: str = _SET_BOTH) -> UnavailableError:
    return UnavailableError(message, key="bad_certificate", title="No certificate", next_step=step)
