"""Looks at the tasks that clients wait for: one page for all of them, so that looking costs the machine little."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping

import requests

from tests.e2e.house import House

__all__ = ["Watch"]

_POLL_S = 0.25


class Watch(threading.Thread):
    """What users were last shown of tasks, by id, in `rows`. Older ones than a page holds are asked for one by one."""

    def __init__(self, house: House) -> None:
        super().__init__(daemon=True)
        self.rows: dict[str, Mapping[str, object]] = {}
        self._house, self._wanted, self._lock = house, set[str](), threading.Lock()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look again and again, until stop()."""
        while not self._stopping.is_set():
            with contextlib.suppress(requests.RequestException, ValueError, KeyError):
                self._read_rows()
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Let it end."""
        self._stopping.set()

    @contextlib.contextmanager
    def watching(self, task_id: str) -> Iterator[None]:
        """Keep a task among those that are looked at, for a `with` block."""
        with self._lock:
            self._wanted.add(task_id)
        try:
            yield
        finally:
            with self._lock:
                self._wanted.discard(task_id)

    def _read_rows(self) -> None:
        with self._lock:
            wanted = set(self._wanted)
        if not wanted:
            return
        page = self._house.ask("GET", "/v1/tasks?limit=50").json()["tasks"]
        self.rows.update({row["task_id"]: row for row in page})
        for task_id in wanted - {row["task_id"] for row in page}:
            answer = self._house.ask("GET", f"/v1/tasks/{task_id}")
            if answer.ok:
                self.rows[task_id] = answer.json()
