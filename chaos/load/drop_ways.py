"""The ways in which people's programs put a file into a folder, and those in which they leave half of one behind.

scp, cp, mv and rsync are the real programs (scp without sshd: both its ends on this host); editors, slow writers and
whoever breaks off are imitated write by write.
"""

import hashlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.packages import ensure_tools

__all__ = ["CUT_OFF", "WAYS", "Drop", "ensure_programs"]

_PAUSE_S = 0.15  #: at most, between two writes: far less than drop_quiet_s
_PROGRAMS = {"scp": "openssh-client", "rsync": "rsync"}
# What scp calls in place of ssh: it leaves out the options and the host, and runs the other end here.
_NO_SSH = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$*"\n'


@dataclass(frozen=True)
class Drop:
    """One drop: whole files in `source`, to be put into `target`. `elsewhere`: a folder of another file system."""

    source: Path
    target: Path
    elsewhere: Path
    script: str
    config: str
    rng: random.Random

    @property
    def names(self) -> tuple[str, str]:
        """The files in the order in which the docs ask for them."""
        return self.script, self.config


def ensure_programs() -> None:
    """Install what is missing, or say what is. Raises LabError."""
    ensure_tools(_PROGRAMS, what="Programs that copy")


def _run(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _scp(drop: Drop) -> None:
    ssh = drop.source / "no-ssh"
    ssh.write_text(_NO_SSH, encoding="ascii")
    ssh.chmod(0o700)
    for name in drop.names:
        _run("scp", "-O", "-q", "-l", "1500", "-S", ssh, drop.source / name, f"here:{drop.target}/")


def _cp(drop: Drop) -> None:
    for name in drop.names:
        _run("cp", drop.source / name, drop.target)


def _rsync(drop: Drop, *options: str) -> None:
    for name in drop.names:
        _run("rsync", "-t", "--bwlimit=200", *options, drop.source / name, f"{drop.target}/")


def _rsync_inplace(drop: Drop) -> None:
    _rsync(drop, "--inplace")


def _mv(drop: Drop) -> None:
    for name in drop.names:
        _run("mv", drop.source / name, drop.target)


def _mv_from_elsewhere(drop: Drop) -> None:
    for name in drop.names:
        away = drop.elsewhere / name
        shutil.copy(drop.source / name, away)
        _run("mv", away, drop.target)


def _write(path: Path, data: bytes, rng: random.Random, mode: str = "wb") -> None:
    """Write in pieces, with pauses between them."""
    with path.open(mode, buffering=0) as file:
        for start in range(0, len(data), step := max(1, len(data) // 6)):
            file.write(data[start : start + step])
            time.sleep(rng.uniform(0, _PAUSE_S))


def _write_slowly(drop: Drop) -> None:
    """The config first, so that the script grows under the agent's eyes."""
    for name in reversed(drop.names):
        _write(drop.target / name, (drop.source / name).read_bytes(), drop.rng)


def _rename_at_end(drop: Drop, unfinished: str) -> None:
    """A program or an editor that writes a file of another name and renames it."""
    for name in reversed(drop.names):
        building = drop.target / unfinished.format(name)
        _write(building, (drop.source / name).read_bytes(), drop.rng)
        building.rename(drop.target / name)


def _save_with_backup(drop: Drop) -> None:
    """Vim's way (backupcopy=no): the old file, here a part, becomes name~, the new one is written, name~ goes."""
    for name in reversed(drop.names):
        path, data = drop.target / name, (drop.source / name).read_bytes()
        path.write_bytes(data[: len(data) // 2])
        time.sleep(drop.rng.uniform(0, _PAUSE_S))
        path.rename(f"{path}~")
        _write(path, data, drop.rng)
        Path(f"{path}~").unlink()


def _save_in_place(drop: Drop) -> None:
    """An editor that truncates and writes again, twice."""
    for name in drop.names:
        data = (drop.source / name).read_bytes()
        _write(drop.target / name, data[: len(data) * 2 // 3], drop.rng)
        _write(drop.target / name, data, drop.rng)


def _replace_meanwhile(drop: Drop) -> None:
    """Somebody puts another file in the place of the one that is being written, whose writer goes on, unheard."""
    shutil.copy(drop.source / drop.config, drop.target)
    path, data = drop.target / drop.script, (drop.source / drop.script).read_bytes()
    with path.open("wb", buffering=0) as file:
        file.write(data[: len(data) // 3])
        time.sleep(drop.rng.uniform(0, _PAUSE_S))
        _write(building := drop.target / f".{drop.script}.new", data, drop.rng)
        building.rename(path)
        file.write(b"never to be seen")


WAYS: dict[str, Callable[[Drop], None]] = {
    "scp": _scp,
    "cp": _cp,
    "rsync": _rsync,
    "rsync --inplace": _rsync_inplace,
    "mv": _mv,
    "mv from another file system": _mv_from_elsewhere,
    "slow": _write_slowly,
    "saved by rename": partial(_rename_at_end, unfinished=".{}.swp"),
    "saved with a backup": _save_with_backup,
    "saved in place": _save_in_place,
    "renamed at its end": partial(_rename_at_end, unfinished="{}.part"),
    "replaced meanwhile": _replace_meanwhile,
}


def _cut_config(drop: Drop) -> None:
    shutil.copy(drop.source / drop.script, drop.target)
    data = (drop.source / drop.config).read_bytes()
    _write(drop.target / drop.config, data[: drop.rng.randrange(1, len(data))], drop.rng)


def _cut_rsync(drop: Drop) -> None:
    """What an rsync that was killed leaves behind: a part under a name of its own."""
    data = (drop.source / drop.script).read_bytes()
    _write(drop.target / f".{drop.script}.Ab3dEf", data[: drop.rng.randrange(1, len(data))], drop.rng)
    shutil.copy(drop.source / drop.config, drop.target)


def _cut_before_script(drop: Drop) -> None:
    """A full disk: the name is there, and nothing in it."""
    shutil.copy(drop.source / drop.config, drop.target)
    (drop.target / drop.script).touch()


def _cut_folder(drop: Drop) -> None:
    """A folder with checksums of which the script came in part."""
    folder = drop.target / drop.config
    folder.mkdir()
    script, config = ((drop.source / name).read_bytes() for name in drop.names)
    sums = f"{_sha256(script)}  {drop.script}\n{_sha256(config)}  config.json\n"
    (folder / "MANIFEST.sha256").write_text(sums, encoding="ascii")
    (folder / "config.json").write_bytes(config)
    _write(folder / drop.script, script[: drop.rng.randrange(1, len(script))], drop.rng)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


CUT_OFF: dict[str, Callable[[Drop], None]] = {
    "cut off: config": _cut_config, "cut off: rsync": _cut_rsync, "cut off: no byte of the script": _cut_before_script,
    "cut off: folder with checksums": _cut_folder,
}  # fmt: skip
