"""Measures the spool's folder: lets many processes race for claims, and times how late a change is seen.

It judges nothing (`folder` does), and leaves nothing behind. All of it goes through mltm.runtime.files.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mltm.runtime import files

__all__ = ["Race", "open_test_folder", "race_claims", "time_visibility"]

_NAME = "claim.{:06d}"


@dataclass(frozen=True)
class Race:
    """claims: raced by at least two processes. torn: those without exactly one winner. error: what a call raised."""

    processes: int
    claims: int
    torn: int
    error: str = ""


@contextlib.contextmanager
def open_test_folder(parent: Path) -> Iterator[Path]:
    """Make a folder beside the real records, and remove it again. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix="check.", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def race_claims(folder: Path, processes: int, claims: int, limit_s: float) -> Race:
    """Let all processes take the same claims in the same order, starting together; after `limit_s` they stop.

    Forks: call it when no other thread runs. Raises OSError.
    """
    with tempfile.TemporaryDirectory(prefix="mltm-race-") as place:  # elsewhere: `folder` is what is tested
        answers = [Path(place) / str(number) for number in range(processes)]
        hold, go = os.pipe()
        racers = [
            _fork(partial(_run_racer, folder, number, claims, limit_s, answer, (hold, go)))
            for number, answer in enumerate(answers)
        ]
        os.close(hold)
        os.close(go)
        for racer in racers:
            os.waitpid(racer, 0)
        answered = [
            answer.read_text().splitlines() if answer.exists() else ["error a process died"] for answer in answers
        ]
    return _count(folder, answered)


def _fork(step: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        step()
    finally:
        os._exit(0)  # the copy must not flush or close what is the parent's


def _run_racer(folder: Path, number: int, claims: int, limit_s: float, answer: Path, gate: tuple[int, int]) -> None:
    """Take the claims. Line n of the answer says who won claim n."""
    hold, go = gate
    os.close(go)
    os.read(hold, 1)  # the end of file comes to all racers at once
    until_s = time.monotonic() + limit_s
    lines: list[str] = []
    try:
        for claim in range(claims):
            if time.monotonic() > until_s:
                break
            nonce = f"{number:06d}"
            decided = files.link_once(folder / _NAME.format(claim), nonce.encode(), nonce)
            lines.append(decided.decode(errors="replace"))
    except OSError as error:
        lines.append(f"error {error.strerror or error}")
    answer.write_text("\n".join(lines))


def _count(folder: Path, answered: Sequence[Sequence[str]]) -> Race:
    errors = [line for lines in answered for line in lines if line.startswith("error ")]
    raced = torn = 0
    for claim in range(max(map(len, answered), default=0)):
        answers = [lines[claim] for lines in answered if len(lines) > claim]
        if len(answers) < 2 or any(answer.startswith("error ") for answer in answers):
            continue
        raced += 1
        final = files.read_bytes(folder / _NAME.format(claim))
        torn += len({*answers, (final or b"").decode(errors="replace")}) != 1
    return Race(len(answered), raced, torn, errors[0].removeprefix("error ") if errors else "")


def time_visibility(folder: Path, changes: int = 20, limit_s: float = 5.0) -> float | None:
    """Time in seconds until another process's new file is listed, at worst; None if one was not within `limit_s`.

    Both clocks are this host's own. Forks.
    """
    writer = _fork(partial(_write_changes, folder, changes))
    try:
        return max(_wait_listed(folder, f"change.{number}", limit_s) for number in range(changes))
    except TimeoutError:
        return None
    finally:
        os.waitpid(writer, 0)


def _write_changes(folder: Path, changes: int) -> None:
    for number in range(changes):
        files.replace(folder / f"change.{number}", f"{time.monotonic()}".encode(), f"{number}")


def _wait_listed(folder: Path, name: str, limit_s: float) -> float:
    until_s = time.monotonic() + limit_s
    while name not in files.list_names(folder):
        if time.monotonic() > until_s:
            raise TimeoutError(name)
        time.sleep(0.001)
    seen_s = time.monotonic()
    return max(0.0, seen_s - float(files.read_bytes(folder / name) or b"0"))
