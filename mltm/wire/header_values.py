"""What goes into the headers of a request: tokens and idempotency keys, checked before anything is sent."""

import re

from mltm.wire.errors import build_error

__all__ = ["check_key", "clean_token"]

_PRINTABLE = re.compile(r"[!-~]+")
_KEY = re.compile(r"[ -~]{1,255}")


def clean_token(token: str | None) -> str | None:
    """Remove the white space around a token, such as the line feed of a file. None if nothing is left.

    Raises MltmError for characters that no token has. The message does not show the token.
    """
    plain = (token or "").strip()
    if not plain:
        return None
    if not _PRINTABLE.fullmatch(plain):
        place, strange = next((at, one) for at, one in enumerate(plain) if not _PRINTABLE.fullmatch(one))
        raise build_error(
            "bad_token", f"The token is not valid: its character {place + 1} is {strange!a}.",
            "A token is one word of ASCII characters. Copy it again, or run `mltm login`.", status=401,
        )  # fmt: skip
    return plain


def check_key(key: str) -> str:
    """Return an idempotency key. Raises MltmError for what the gateway would refuse, or what is no header's value."""
    if not _KEY.fullmatch(key):
        raise build_error(
            "bad_idempotency_key", f"The idempotency key {key[:80]!a} is not valid.",
            "Give 1 to 255 printable ASCII characters, for example a UUID.", status=422,
        )  # fmt: skip
    return key
