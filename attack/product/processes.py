"""Starts and ends processes of the product, each as an account, without the guard where a control asks for it."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attack.accounts import Account, start_as
from attack.stage import CHECKOUT

__all__ = ["build_env", "call", "end", "remove", "start", "wait_until"]

_CALL_WITHIN_S = 180.0  #: a machine with much else to do


def build_env(home: Path, **more: str) -> dict[str, str]:
    """The environment of a process: little, as after a login."""
    path = os.environ.get("PATH", os.defpath)
    return {
        "PATH": path, "HOME": str(home), "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8",
        **more,
    }  # fmt: skip


def _build_argv(guard: str, words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "attack.product.child", guard, *words]


def start(
    account: Account,
    guard: str,
    words: Sequence[str],
    *,
    home: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
) -> subprocess.Popen[bytes]:
    """Start `gateway …`, `agent …` or `call module:function …` as an account."""
    return start_as(account, _build_argv(guard, words), env=env or build_env(home), log=log, folder=home, umask=umask)


def call(
    account: Account,
    guard: str,
    words: Sequence[str],
    *,
    home: Path,
    stdin: str = "",
    within_s: float = _CALL_WITHIN_S,
    umask: int = 0o022,
) -> str:
    """Run the same to its end; return what it printed. Raises RuntimeError with its last words."""
    done = subprocess.run(
        _build_argv(guard, words), input=stdin, capture_output=True, text=True, check=False, timeout=within_s,
        cwd=home, env=build_env(home), umask=umask,
        user=account.uid, group=account.uid, extra_groups=list(account.groups),
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def end(process: subprocess.Popen[bytes], *, within_s: float = 15.0) -> bool:
    """Ask a process to end, then make it. True if it ended when it was asked."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
        return True
    process.kill()
    process.wait()
    return False


def wait_until(holds: Callable[[], object], what: str, *, within_s: float = 60.0, pause_s: float = 0.02) -> None:
    """Wait for it. Raises TimeoutError."""
    until_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError(f"not within {within_s:.0f} s: {what}")
        time.sleep(pause_s)


def remove(path: Path) -> None:
    """Remove whatever has this name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
