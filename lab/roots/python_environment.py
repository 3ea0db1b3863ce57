"""The project's locked environment for a root's own Python, kept in the cache by everything that it is made from."""

import sys
from pathlib import Path

from lab.cache import make_key, make_once
from lab.errors import LabError
from lab.roots.enter import make_writable, run_in_root
from lab.roots.pip_settings import PipSettings

__all__ = ["ensure_root_python"]


def ensure_root_python(root: Path, checkout: Path, cache: Path, pip: PipSettings) -> Path:
    """Return a virtual environment with the lock's packages and this checkout, for use inside `root`."""
    sources = [(checkout / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    target = cache / "python" / make_key(root.name, str(checkout), *sources)
    return make_once(target, lambda private: _build(root, checkout, private, pip))


def _build(root: Path, checkout: Path, folder: Path, pip: PipSettings) -> None:
    print("lab: making the project's environment for that root …", flush=True)
    uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
    downloads = make_writable(folder.parent / "downloads")
    install = [uv, "pip", "install", "--quiet", "--link-mode=copy", "--compile-bytecode", "--python", python]
    for argv in (
        # relocatable: it is made under a private name
        [uv, "venv", "--quiet", "--relocatable", "--python", "/usr/bin/python3", str(folder)],
        [*install, "--require-hashes", "-r", str(checkout / "requirements.lock")],
        [*install, "--no-deps", "-e", str(checkout)],
    ):
        code = run_in_root(
            root,
            argv,
            read=[*pip.paths, checkout],
            write=[make_writable(folder), downloads],
            environment={**pip.variables, "UV_CACHE_DIR": str(downloads)},
        )
        if code:
            raise LabError(f"`{' '.join(argv[:3])} …` failed with {code} inside {root}.")
