"""Which passwords a user may get. It judges no password that is in use: those are compared as they come."""

from collections.abc import Collection
from urllib.parse import urlsplit

from gateway.errors import InvalidError
from gateway.services.passwords import MAX_PASSWORD_BYTES, hash_password
from gateway.settings import GatewaySettings

__all__ = ["check_new_password", "hash_new_password", "list_names"]

_MIN_CHARS = 8
_OWN_WORDS = ("mltm", "mltaskmanager", "taskmanager", "gateway", "admin", "password")
_LONGER = "Choose another one. Some words that do not belong together are easy to remember."


def list_names(settings: GatewaySettings) -> tuple[str, ...]:
    """Names that a guesser tries at this gateway."""
    return (settings.name, *settings.clusters, urlsplit(settings.url).hostname or "")


def hash_new_password(password: str, words: Collection[str]) -> str:
    """Hash a password that is not easy to guess; slow. Raises InvalidError."""
    check_new_password(password, words)
    return hash_password(password)


def check_new_password(password: str, words: Collection[str]) -> None:
    """Raise InvalidError for a password that is easy to guess. `words`: names that a guesser tries here first.

    Any characters are allowed. The most common passwords are those of zxcvbn's list: 11,000 of them are long enough.
    """
    if len(password) < _MIN_CHARS:
        raise _refuse("short_password", f"The password is too short. It needs at least {_MIN_CHARS} characters.", "")
    if len(password.encode(errors="replace")) > MAX_PASSWORD_BYTES or not password.isprintable():
        message = f"The password cannot be used. At most {MAX_PASSWORD_BYTES:,} bytes of printable text are allowed."
        raise _refuse("bad_password", message, "")
    if password.lower() in _read_common():
        raise _refuse("common_password", "The password is one of the most common ones.", _LONGER)
    if _has_only(password, words):
        message = "The password has only names that a guesser tries first: the user's, the gateway's or a cluster's."
        raise _refuse("named_password", message, _LONGER)


def _has_only(password: str, words: Collection[str]) -> bool:
    """True if nothing but these words is left without digits and signs."""
    known, text = {_strip(word) for word in (*words, *_OWN_WORDS)} - {""}, _strip(password)
    ends = {0}  # how far words of these can lead; a pattern would try each way of each part
    for begin in range(len(text)):
        if begin in ends:
            ends |= {begin + len(word) for word in known if text.startswith(word, begin)}
    return bool(text) and len(text) in ends


def _strip(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalpha())


def _read_common() -> Collection[str]:
    # 0.2 s and some megabytes, which only a command that sets a password needs.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    common: list[str] = FREQUENCY_LISTS["passwords"]
    return common


def _refuse(key: str, message: str, next_step: str) -> InvalidError:
    return InvalidError(message, key=key, next_step=next_step)
