"""Proofs that something comes from the gateway, or from the agent of a spool: HMAC-SHA-256 under named purposes. Pure.

A proof for one purpose, spool or value is never one for another. See docs/security.md, "Keys and proofs".
"""

import hashlib
import hmac
from typing import Literal

from pydantic import ValidationError

from mltm.contract.base_models import Message, render_canonical
from mltm.contract.manifest import Manifest

__all__ = [
    "derive_seal_key", "derive_spool_key", "is_proof", "parse_address", "parse_key", "prove_bundle", "prove_enrolment",
    "render_address", "seal_manifest",
]  # fmt: skip

_KEY_BYTES = 32
_SEALED = ("task_id", "owner", "owner_id", "cluster", "submitted_at", "script_name", "source")


def derive_spool_key(secret: bytes, spool_id: str, cluster: str, owner: str) -> bytes:
    """The key that a gateway shares with the agent of one spool. owner: "" for an agent of all users.

    It follows from the gateway's secret alone, so that a new enrolment or a restored database gives the same key.
    """
    return _digest(secret, "spool key", spool_id, cluster, owner)


def derive_seal_key(secret: bytes) -> bytes:
    """The key for manifests that no agent ever gets."""
    return _digest(secret, "seal key")


def prove_bundle(key: bytes, spool_id: str, manifest: bytes) -> str:
    """Prove that a bundle is the gateway's, for this spool. manifest: the file's bytes, with each file's hash."""
    return _digest(key, "bundle", spool_id, manifest).hex()


class _Address(Message):
    """The file `address` of an inbox."""

    kind: Literal["address"] = "address"
    url: str
    proof: str


def render_address(url: str, spool_id: str, key: bytes) -> bytes:
    """Render the file with which a gateway tells an agent where it is now."""
    proof = _digest(key, "address", spool_id, url).hex()
    return _Address(url=url, proof=proof).model_dump_json().encode() + b"\n"


def parse_address(raw: bytes, spool_id: str, key: bytes) -> str:
    """Parse that file. Raises ValueError, with a sentence, if it is not the gateway's."""
    try:
        given = _Address.model_validate_json(raw)
    except ValidationError as error:
        raise ValueError("it is not a gateway's address file") from error
    if not is_proof(_digest(key, "address", spool_id, given.url).hex(), given.proof):
        raise ValueError("its proof is not the gateway's")
    return given.url


def prove_enrolment(key: bytes, spool_id: str, code: str) -> str:
    """Prove that whoever uses this code is the agent of the spool."""
    return _digest(key, "enrolment", spool_id, code).hex()


def seal_manifest(key: bytes, spool_id: str, manifest: Manifest) -> str:
    """Prove to the gateway itself that it made a manifest, which an agent gives back after the row was lost."""
    fields = manifest.model_dump(mode="json", include=set(_SEALED))
    sealed = render_canonical({"config": manifest.config, "fields": [fields[name] for name in _SEALED]})
    return _digest(key, "seal", spool_id, sealed).hex()


def is_proof(expected: str, given: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


def parse_key(text: str) -> bytes:
    """Parse a key as it is written: 64 hex digits. Raises ValueError."""
    key = bytes.fromhex(text.strip())
    if len(key) != _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes, not {len(key)}")
    return key


def _digest(key: bytes, purpose: str, *parts: str | bytes) -> bytes:
    """Each part goes in with its length: no two lists of parts give the same bytes."""
    message = bytearray()
    for part in (f"mltm 1 {purpose}", *parts):
        data = part.encode() if isinstance(part, str) else part
        message += len(data).to_bytes(8, "big") + data
    return hmac.new(key, bytes(message), hashlib.sha256).digest()
