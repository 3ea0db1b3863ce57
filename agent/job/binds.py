"""Reads the site's `binds` as Apptainer and Singularity read `--bind`. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Bind", "BindError", "parse_binds"]

_HINT = "Write source, source:target or source:target:ro, with the source's whole path."


class BindError(ValueError):
    """A bind that cannot be judged, in a sentence."""


@dataclass(frozen=True)
class Bind:
    """One bind. text: as the site wrote it."""

    text: str
    source: Path
    target: str
    is_writable: bool


def parse_binds(items: Sequence[str]) -> list[Bind]:
    """Read every bind of the config's items, of which each may hold several. Raises BindError."""
    return [_parse_bind(text) for item in items for text in _split_item(item)]


def _split_item(item: str) -> Iterator[str]:
    """Split at commas, except before an option of the bind that came before."""
    text = ""
    for part in item.split(","):
        is_option = text.count(":") >= 2 and (part in {"ro", "rw"} or part.partition("=")[0] in {"id", "image-src"})
        if text and not is_option:
            yield text
            text = part
        else:
            text = f"{text},{part}" if text else part
    yield text


def _parse_bind(text: str) -> Bind:
    source, *rest = text.split(":")
    target, options = (rest[0] if rest else source), (rest[1].split(",") if len(rest) > 1 else [])
    if len(rest) > 2 or any(mark in text for mark in '"\\\n'):
        raise BindError(f"The bind {text!r} cannot be read. {_HINT}")
    # The runtime would take it from the folder where the job starts.
    if not source.startswith("/") or not target.startswith("/"):
        raise BindError(f"The bind {text!r} has a path that does not begin with /. {_HINT}")
    for option in options:
        if option not in {"ro", "rw"} and option.partition("=")[0] not in {"id", "image-src"}:
            raise BindError(f"The bind {text!r} has the unknown option {option!r}. {_HINT}")
    return Bind(text, Path(source), target, is_writable="ro" not in options)
