"""Tells the gateway's bundles from others: by a proof, or by who owns them while the spool has no key.

It reads, and pins the gateway's uid once; it decides nothing about a task.
"""

import os

from agent.intake.private_copy import BadSourceError, read_small
from agent.spool.spool_key import read_spool_key
from mltm.contract.proofs import is_proof, prove_bundle
from mltm.contract.spool_layout import MANIFEST, PROOF, Spool
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.hostile_files import Folder

__all__ = ["MAX_MANIFEST_BYTES", "BundleProof", "UnprovedError"]

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_PROOF_BYTES = 200


class UnprovedError(Exception):
    """A bundle that may not be the gateway's; the message says why. It must not touch its task."""


class BundleProof:
    """Reads manifests of bundles that are the gateway's."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        """Raises SpoolError if the key is damaged."""
        self._spool, self._clock = spool, clock
        self._key, self._spool_id, self._uid = read_spool_key(spool), "", self._read_uid()

    @property
    def has_key(self) -> bool:
        """False: bundles are told apart by their owner only."""
        return self._key is not None

    def read_manifest(self, bundle: Folder) -> bytes:
        """Read a bundle's manifest, proved. Raises UnprovedError, OSError, SpoolError; BadSourceError without a key."""
        if self._key is None:
            self._key = read_spool_key(self._spool)  # an enrolment may have brought one
        if self._key is None:
            self._check_owner(bundle)
            return read_small(bundle, MANIFEST, MAX_MANIFEST_BYTES)
        try:
            raw = read_small(bundle, MANIFEST, MAX_MANIFEST_BYTES)
            given = read_small(bundle, PROOF, _MAX_PROOF_BYTES).decode(errors="replace").strip()
        except FileNotFoundError as error:
            raise UnprovedError(f"It has no {os.path.basename(str(error.filename))}") from error  # noqa: PTH119 - for a message
        except BadSourceError as error:
            raise UnprovedError(str(error).rstrip(".")) from error
        if not is_proof(prove_bundle(self._key, self._read_spool_id(), raw), given):
            raise UnprovedError("Its proof is not the gateway's for this spool")
        return raw

    def _read_spool_id(self) -> str:
        self._spool_id = self._spool_id or (files.read_bytes(self._spool.spool_id, 200) or b"").decode().strip()
        return self._spool_id

    def _read_uid(self) -> int | None:
        raw = files.read_bytes(self._spool.gateway_uid, 200)
        return int(raw) if raw is not None and raw.strip().isdigit() else None

    def _check_owner(self, bundle: Folder) -> None:
        """The first foreign account that sends a bundle is taken for the gateway's, for ever."""
        uid = os.fstat(bundle.descriptor).st_uid
        if uid == os.geteuid():
            return
        if self._uid is None:
            decided = files.link_once(self._spool.gateway_uid, f"{uid}\n".encode(), self._clock.nonce(), 0o600)
            self._uid = int(decided)
        if uid != self._uid:
            raise UnprovedError(f"It belongs to the uid {uid}, and the gateway's is {self._uid}")
