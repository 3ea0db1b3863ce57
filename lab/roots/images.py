"""Builds the project's images (singularity/*.def) from Debian's packages, for machines without an image registry.

Needs Apptainer, and the root of `lab.roots.roots.IMAGE_BASE` in the cache. Runs as an ordinary user.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab.cache import make_key, make_once
from lab.errors import LabError
from lab.roots.pip_settings import PipSettings
from lab.roots.roots import IMAGE_BASE, root_path

__all__ = ["build_image", "images_folder"]

# Nobody waits for a small file here: 3 s instead of 40.
_FAST = "-comp zstd -Xcompression-level 1"
_KEPT = 4  # of one name: checkouts with other contents may share the cache
_LEFT_OUT = ("./dev", "./var/lib/apt", "./usr/share/doc", "./usr/share/locale")


def images_folder(cache: Path) -> Path:
    """Return where built images are kept."""
    return cache / "images"


def build_image(name: str, sources: Path, cache: Path, pip: PipSettings) -> Path:
    """Build `singularity/<name>.def` in a copy of the folder `sources`, its %test included; return the SIF.

    A built one is used again while everything in `sources` and the base are the same. Raises LabError with the end of
    what Apptainer said.
    """
    base = root_path(IMAGE_BASE, cache)
    files = sorted(path for path in sources.rglob("*") if path.is_file())
    key = make_key(base.name, *(part for path in files for part in (str(path.relative_to(sources)), path.read_bytes())))
    target = images_folder(cache) / f"{name}-{key}.sif"
    image = make_once(target, lambda private: _build(name, sources, base, private, pip))
    _forget_old(name, cache)
    return image


def _forget_old(name: str, cache: Path) -> None:
    built = sorted(images_folder(cache).glob(f"{name}-*.sif"), key=lambda path: path.stat().st_mtime)
    for path in built[:-_KEPT]:
        path.unlink(missing_ok=True)


def _build(name: str, sources: Path, base: Path, target: Path, pip: PipSettings) -> None:
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    try:
        copy_base(base, folder / "base")
        options = ["--build-arg", "bootstrap=localimage", "--build-arg", f"from={folder / 'base'}"]
        for path in pip.paths:
            _make_mount_point(folder / "base", path)
            options += ["--bind", f"{path}:{path}:ro"]
        # Not straight to the cache: an unprivileged build sees the user's home in the place of /root.
        built = folder / f"{name}.sif"
        build = ["apptainer", "build", "--mksquashfs-args", _FAST, *options, str(built), f"singularity/{name}.def"]
        _run(build, folder=sources, environment={**os.environ, **pip.variables})
        shutil.copy(built, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_base(base: Path, folder: Path) -> None:
    """Copy a root so that it is one's own: Apptainer gives up on files of an owner whom its namespace has not."""
    folder.mkdir()
    pack = ["tar", "-C", str(base), *(f"--exclude={item}" for item in _LEFT_OUT), "-cf", "-", "."]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        unpacked = subprocess.run(["tar", "-C", str(folder), "-xf", "-"], stdin=packing.stdout, check=False)
    if packing.returncode or unpacked.returncode:
        raise LabError(f"The root {base} could not be copied to {folder}; is the disk full?")
    (folder / "dev").mkdir()


def _make_mount_point(base: Path, path: Path) -> None:
    """In a build Apptainer makes none by itself."""
    place = base / path.relative_to("/")
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _run(argv: list[str], *, folder: Path, environment: dict[str, str]) -> None:
    print(f"lab: {' '.join(argv[:2])} … {argv[-1]}", file=sys.stderr, flush=True)
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(
            f"{argv[0]} build failed with {done.returncode}. The end of what it said:\n{done.stdout[-2000:]}"
        )
