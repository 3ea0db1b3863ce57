"""Secrets of users and agents: argon2 for passwords (slow on purpose, never in the loop), SHA-256 for random tokens."""

import hashlib

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

__all__ = ["hash_password", "hash_secret", "is_password"]

_HASHER = PasswordHasher()
# Unknown users are checked against this hash, so that the time of an answer does not tell who exists.
_NOBODY = _HASHER.hash("nobody has this password")


def hash_password(password: str) -> str:
    """Hash a user's password."""
    return _HASHER.hash(password)


def is_password(stored: str | None, password: str) -> bool:
    """True if the hash is of this password. Takes as long for a user who does not exist."""
    try:
        _HASHER.verify(stored or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def hash_secret(secret: str) -> str:
    """SHA-256 of a random secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
