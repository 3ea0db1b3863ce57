"""Certificates made on the spot with openssl: an authority, and what it signs for 127.0.0.1 (or another address)."""

import ssl
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CONFIG = """\
[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
_SIGNS = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
_NAMES_KEYS = "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _run(*argv: object) -> None:
    subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


def build_strict_context(authority: Path) -> ssl.SSLContext:
    """What `ssl.create_default_context()` is from Python 3.13 on."""
    context = ssl.create_default_context(cafile=authority)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


class Authority:
    """A private CA in a folder. Without `strict` it lacks what Python 3.13 and newer ask for."""

    def __init__(self, folder: Path, *, strict: bool = True) -> None:
        folder.mkdir()
        self._folder, self.cert, self._key = folder, folder / "ca.pem", folder / "ca.key"
        what = (*_EC, "-days", "30", "-subj", "/CN=ca", *(_SIGNS if strict else ()))
        _run("req", "-x509", *what, "-keyout", self._key, "-out", self.cert)
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "ca.cnf").write_text(_CONFIG.format(folder=folder))

    def issue(self, name: str, *, address: str = "IP:127.0.0.1", begins_d: int = -1, ends_d: int = 30) -> Pair:
        """Sign a certificate that is valid between these days from today on."""
        made, asked, extension = Pair(self._at(name, "pem"), self._at(name, "key")), self._at(name, "csr"), "ext.cnf"
        (self._folder / extension).write_text(f"{_NAMES_KEYS}subjectAltName = {address}\n")
        _run("req", *_EC, "-subj", f"/CN={name}", "-keyout", made.key, "-out", asked)
        signer = ("-config", self._folder / "ca.cnf", "-cert", self.cert, "-keyfile", self._key)
        dates = ("-startdate", _moment(begins_d), "-enddate", _moment(ends_d))
        _run("ca", "-batch", *signer, *dates, "-extfile", self._folder / extension, "-in", asked, "-out", made.cert)
        return made

    def _at(self, name: str, ending: str) -> Path:
        return self._folder / f"{name}.{ending}"


def _moment(days: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d%H%M%SZ}"
