"""The hands of the product in a loop: each round does one piece of work where somebody swaps, and looks for harm."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

__all__ = ["Canary", "HungError", "work"]

_MAX_TOLD = 20


class HungError(Exception):
    """A round did not come back in time: something blocks for as long as the attacker likes."""


@dataclass
class Canary:
    """What must not change, and where nothing may appear: a folder that the attacker cannot write himself."""

    folder: Path
    names: frozenset[str] = frozenset({"canary", "keep"})
    text: str = "sing"

    def find_harm(self) -> list[str]:
        """What has changed since the last look; it is set right again."""
        harm = [f"{name} appeared in {self.folder}" for name in os.listdir(self.folder) if name not in self.names]  # noqa: PTH208 - names only, for speed
        kept = (self.folder / "canary", self.folder / "keep" / "canary")
        harm += [f"{path} was changed" for path in kept if not self._is_whole(path)]
        if harm:
            self.make()
        return harm

    def _is_whole(self, path: Path) -> bool:
        return path.exists() and path.read_text(encoding="utf-8", errors="replace") == self.text

    def make(self) -> None:
        """Make it as it was."""
        for name in os.listdir(self.folder):  # noqa: PTH208 - names only
            path = self.folder / name
            if name not in self.names or (name == "keep") != path.is_dir() or path.is_symlink():
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()
        (self.folder / "keep").mkdir(exist_ok=True)
        for path in (self.folder / "canary", self.folder / "keep" / "canary"):
            path.write_text(self.text, encoding="utf-8")


@dataclass
class _Course:
    """What came of the rounds."""

    rounds: int = 0
    worked: int = 0  #: rounds whose work was done in spite of the swaps
    hangs: int = 0
    harm_count: int = 0
    harm: list[str] = field(default_factory=list)


def work(step: Callable[[int], bool], find_harm: Callable[[], list[str]], *, hang_s: float, told: Path) -> None:
    """Do rounds until SIGTERM. step: its argument is the round's number, True if it worked. told: what came of it."""
    course, is_over = _Course(), []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
    signal.signal(signal.SIGALRM, _interrupt)
    while not is_over:
        course.rounds += 1
        signal.setitimer(signal.ITIMER_REAL, hang_s)
        try:
            course.worked += step(course.rounds)
        except HungError:
            course.hangs += 1
        except OSError:
            pass  # it waits and tries again: that is all an attacker may reach
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        harm = find_harm()
        course.harm_count += len(harm)
        course.harm = [*course.harm, *harm][:_MAX_TOLD]
        if harm or course.rounds % 50 == 1:
            _tell(told, course)
    _tell(told, course)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise HungError


def _tell(told: Path, course: _Course) -> None:
    building = told.with_suffix(".new")
    building.write_text(json.dumps(vars(course)), encoding="utf-8")
    with suppress(OSError):
        building.replace(told)
    sys.stdout.flush()
