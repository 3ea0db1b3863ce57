"""The gateway's secret, from which the key of each spool follows. Made by a migration; it never leaves the database."""

from gateway.store.models import Agent, Meta
from mltm.contract.manifest import Manifest
from mltm.contract.proofs import derive_seal_key, derive_spool_key, is_proof, parse_key, seal_manifest

__all__ = ["add_seal", "is_sealed", "read_spool_key"]


def read_spool_key(agent: Agent) -> bytes:
    """The key of an agent's spool: the same for ever, also after a backup was restored."""
    return derive_spool_key(_read_secret(), agent.spool_id, agent.cluster, agent.owner or "")


def add_seal(manifest: Manifest, spool_id: str) -> Manifest:
    """The manifest with the gateway's own proof, for the day when only an agent still has it."""
    seal = seal_manifest(derive_seal_key(_read_secret()), spool_id, manifest)
    return manifest.model_copy(update={"seal": seal})


def is_sealed(manifest: Manifest, spool_id: str) -> bool:
    """True if this gateway made the manifest for this spool."""
    return is_proof(seal_manifest(derive_seal_key(_read_secret()), spool_id, manifest), manifest.seal)


def _read_secret() -> bytes:
    return parse_key(str(Meta.get_by_id("secret").value))
