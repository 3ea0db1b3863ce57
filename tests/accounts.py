"""Other accounts than root, by number: no entry in /etc/passwd is needed. Only root can become them."""

import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """A uid with its own group of the same number, and further groups."""

    uid: int
    groups: tuple[int, ...] = ()

    def run(self, step: Callable[[], T]) -> T:
        """Run a step as this account, in a child process; its result, or its exception."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _become(self, step, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            data = answer.read()
        os.waitpid(child, 0)
        assert data, "the child died"
        is_good, result = pickle.loads(data)  # noqa: S301 - from our own child
        if not is_good:
            raise result
        return result  # type: ignore[no-any-return]  # what the step returned


def _become(account: Account, step: Callable[[], object], writer: int) -> None:
    try:
        os.setgroups(account.groups)
        os.setgid(account.uid)
        os.setuid(account.uid)
        answer: tuple[bool, object] = (True, step())
    except BaseException as error:  # noqa: BLE001 - the parent raises it
        answer = (False, error)
    try:
        data = pickle.dumps(answer)
    except Exception:  # noqa: BLE001 - what cannot be sent is shown
        data = pickle.dumps((False, AssertionError(traceback.format_exc())))
    os.write(writer, data)
    os._exit(0)


@contextmanager
def shared_ground() -> Iterator[Path]:
    """A folder that every account can enter, and only root can write."""
    folder = Path(tempfile.mkdtemp(prefix="mltm-accounts-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def make_home(ground: Path, name: str, account: Account, mode: int = 0o755) -> Path:
    """A folder of the account's own."""
    home = ground / name
    home.mkdir()
    os.chown(home, account.uid, account.uid)
    home.chmod(mode)
    return home
