"""Swaps files and folders for links, pipes and others of their kind, at random instants, and puts them back."""

import json
import os
import random
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from attack.swaps import supplies

__all__ = ["ASIDE", "run"]

ASIDE = ".aside-"  #: what was swapped lies beside its decoy: a folder of somebody else cannot be moved elsewhere
_MAX_PAUSE_S = 0.0003
_MAX_MISSED = 20  #: after so many without a name to swap, something new is put there


@dataclass
class _Swapper:
    """places: the folders to swap in, down to `depth`. outside: what a link of the attacker leads to."""

    places: list[Path]
    depth: int
    outside_folder: Path
    outside_file: Path
    rng: random.Random
    kept: tuple[str, ...]
    number: int = 0
    decoys: list[Callable[[Path, bool], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.decoys = [self.link, self.link, self.link, _make_pipe, _make_folder, _make_file, _make_dangling]

    def link(self, path: Path, is_folder: bool) -> None:  # noqa: FBT001 - a decoy takes both
        """A link to what the attacker wants; now and then of the wrong kind."""
        wanted = self.outside_folder if is_folder is not (self.rng.random() < 0.1) else self.outside_file
        path.symlink_to(wanted)

    def swap(self) -> bool:
        """Swap one name. False if there was none, or somebody else was faster."""
        path = self.choose()
        if path is None:
            return False
        self.number += 1
        aside = path.with_name(f"{ASIDE}{self.number}")
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
            path.rename(aside)
        except OSError:
            return False
        with suppress(OSError):
            self.rng.choice(self.decoys)(path, is_folder)
        time.sleep(self.rng.random() ** 2 * _MAX_PAUSE_S)
        _remove(path)
        try:
            aside.rename(path)
        except OSError:
            _remove(aside)
        return True

    def choose(self) -> Path | None:
        """A random name below a random place."""
        folder = self.rng.choice(self.places)
        for level in range(self.rng.randint(0, self.depth), -1, -1):
            names = _list(folder)
            names = [name for name in names if not name.startswith(ASIDE) and name not in self.kept]
            if not names:
                return None
            folder /= self.rng.choice(names)
            if level and not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir() raises where it may not look
                return None
        return folder


def _list(folder: Path) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - names only, for speed
    return []


def _make_pipe(path: Path, _: bool) -> None:  # noqa: FBT001 - a decoy takes both
    os.mkfifo(path)


def _make_folder(path: Path, _: bool) -> None:  # noqa: FBT001 - a decoy takes both
    path.mkdir()


def _make_file(path: Path, _: bool) -> None:  # noqa: FBT001 - a decoy takes both
    path.write_bytes(b"decoy")


def _make_dangling(path: Path, _: bool) -> None:  # noqa: FBT001 - a decoy takes both
    path.symlink_to("/nowhere/at/all")


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)


def run(text: str) -> None:
    """Swap as often as is wanted; say in a file how often it was done by then."""
    wanted = json.loads(text)
    rng = random.Random(wanted["seed"])  # noqa: S311 - a course that can be replayed
    places, kept = [Path(place) for place in wanted["places"]], tuple(wanted["kept"])
    outside = Path(wanted["outside_folder"]), Path(wanted["outside_file"])
    swapper = _Swapper(places, wanted["depth"], *outside, rng, kept)
    done, missed, counter = 0, 0, Path(wanted["counter"])
    while done < wanted["swaps"]:
        time.sleep(rng.random() * wanted["idle_s"])
        is_done = swapper.swap()
        done, missed = done + is_done, missed + (not is_done)
        if done % 100 == 0:
            counter.write_text(str(done), encoding="ascii")
        if wanted["supply"] and (missed >= _MAX_MISSED or done % 100 == 0):
            _supply(wanted["supply"], rng)
            missed = 0
    counter.write_text(str(done), encoding="ascii")


def _supply(wanted: dict[str, object], rng: random.Random) -> None:
    """What whoever swaps has to put there himself, now and then."""
    getattr(supplies, str(wanted["name"]))(wanted, rng)
