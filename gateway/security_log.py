"""The security log: who did what, from where and when. JSON lines in a file of its own; docs/operate.md lists them.

No secret gets in: no password, token or code, and no user name that is not a user's (people type passwords there).
A thread writes the lines: a slow disk delays nobody. A full disk stops nobody; a later line says what is missing.
"""

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import structlog

from gateway.origin import build_address_key, current_origin

__all__ = ["EVENTS", "MAX_LINE_BYTES", "SecurityLog", "hide_name"]

EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway_started": ("version",),
    "weak_setting": ("setting", "reason"),
    "login": ("token_id", "key"),
    "token_created": ("token_id", "of_user_id"),
    "token_revoked": ("token_id", "of_user_id"),
    "token_refused": ("token_id", "key", "reason"),
    "user_added": ("role", "of_user", "of_user_id"),
    "user_removed": ("of_user", "of_user_id", "tokens", "agents", "codes"),
    "password_set": ("of_user", "of_user_id"),
    "code_created": ("cluster", "of_user", "of_user_id", "inbox"),
    "enrolment": ("key", "cluster", "inbox", "host", "of_user", "of_user_id"),
    "agent_refused": ("key", "reason"),
    "agent_moved": ("of_agent_id", "inbox"),
    "agent_revoked": ("of_agent_id",),
    "reports_refused": ("count", "task_id"),
    "access_refused": ("key", "task_id", "job_id", "token_id", "command_id", "of_user_id"),
    "limit_reached": ("key",),
    "admin_access": ("task_id", "of_user", "of_user_id"),
    "lines_lost": ("count",),
}
"""Every event, and its own fields. All have `at`, `event`, `outcome`, and who and where as far as that is known."""

MAX_LINE_BYTES: Final = 4096
_MAX_VALUE_BYTES = 200
_MAX_WAITING = 10_000
_MAX_EACH_MINUTE = 100
_HIDING_KEY = secrets.token_bytes(32)
_log = structlog.get_logger(__name__)


def hide_name(name: str) -> str:
    """Replace a user name that is nobody's: it may be a password. The same name looks the same until a restart."""
    return f"unknown-{hmac.new(_HIDING_KEY, name.encode(errors='replace'), hashlib.sha256).hexdigest()[:12]}"


class SecurityLog:
    """Takes events from any thread, never waits, and writes them in order. Close it: it then writes what is left."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._now, self._file = now, _LogFile(path, self._render)
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._minute, self._seen = -1, Counter[tuple[str, ...]]()
        self._thread = threading.Thread(target=self._write_all, name="security-log", daemon=True)
        self._thread.start()

    def record(self, event: str, outcome: str = "ok", **fields: object) -> None:
        """Write one event. Who and where comes from the origin; `fields` are the event's own, or correct those."""
        known = {name: value for name, value in asdict(current_origin()).items() if value}
        unknown = fields.keys() - {*EVENTS[event], "user", "user_id", "agent_id"}
        if unknown:
            raise ValueError(f"{event} has no field {', '.join(sorted(unknown))}")
        values = {**known, **{name: value for name, value in fields.items() if value not in ("", None)}}
        repeats = self._count(event, outcome, values)
        if repeats > _MAX_EACH_MINUTE:
            return
        if repeats == _MAX_EACH_MINUTE:
            values["left_out"] = "more of these until the minute ends"
        if self._waiting.qsize() >= _MAX_WAITING:
            self._file.lost += 1
        else:
            self._waiting.put(self._render(event, outcome, values))

    def _count(self, event: str, outcome: str, values: Mapping[str, object]) -> int:
        """Count the same thing by the same caller in this minute: nobody fills the disk with lines."""
        minute = int(self._now().timestamp() // 60)
        if minute != self._minute or len(self._seen) > _MAX_WAITING:
            self._minute = minute
            self._seen.clear()
        who = [str(values.get(name, "")) for name in ("user_id", "agent_id", "unix_user")]
        who.append(build_address_key(str(values.get("address", ""))))
        self._seen[event, outcome, *who] += 1
        return self._seen[event, outcome, *who]

    def _render(self, event: str, outcome: str, values: Mapping[str, object]) -> bytes:
        line: dict[str, object] = {"at": self._now().isoformat(timespec="milliseconds")}
        line |= {"event": event, "outcome": outcome}
        line |= {name: _cut(value) for name, value in values.items()}
        return json.dumps(line).encode() + b"\n"  # ASCII alone: control characters are escaped

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            self._file.append(line)
        self._file.close()

    def close(self) -> None:
        """Write what waits, for at most some seconds: a disk that hangs does not keep the service from stopping."""
        self._waiting.put(None)
        self._thread.join(5.0)


def _cut(value: object) -> object:
    if isinstance(value, int):
        return value
    text = str(value)[:_MAX_VALUE_BYTES]
    while len(json.dumps(text)) > _MAX_VALUE_BYTES:
        text = text[: len(text) * 3 // 4]
    return text if text == str(value) else f"{text}..."


class _LogFile:
    """The file. It is opened again if its name leads to another file: logrotate renamed it."""

    def __init__(self, path: Path, render: Callable[[str, str, Mapping[str, object]], bytes]) -> None:
        self._path, self._render = path, render
        self._descriptor: int | None = None
        self._is_torn = self._is_failing = False
        self.lost = 0

    def append(self, line: bytes) -> None:
        """Write a line; if that fails, count it and say so once in the service's own log."""
        try:
            descriptor = self._open()
            if self.lost:
                self._write(descriptor, self._render("lines_lost", "failed", {"count": self.lost}))
                self.lost = 0
            self._write(descriptor, line)
        except OSError as error:
            self.lost += 1
            self.close()
            if not self._is_failing:
                _log.error("security_log_not_written", path=str(self._path), error=error.strerror, next_step=_NEXT_STEP)
            self._is_failing = True
        else:
            if self._is_failing:
                _log.info("security_log_written_again", path=str(self._path))
            self._is_failing = False

    def _open(self) -> int:
        if self._descriptor is not None and _is_same(self._descriptor, self._path):
            return self._descriptor
        self.close()
        self._descriptor = os.open(self._path, _APPEND, 0o600)
        there = os.fstat(self._descriptor)
        if not stat.S_ISREG(there.st_mode):
            raise OSError(0, "this is not a regular file", str(self._path))
        if os.geteuid() == 0 and there.st_uid == 0 and there.st_size == 0:
            folder = self._path.parent.stat()  # root ran a command: the service must be able to write here, too
            os.fchown(self._descriptor, folder.st_uid, folder.st_gid)
        return self._descriptor

    def _write(self, descriptor: int, line: bytes) -> None:
        whole = b"\n" + line if self._is_torn else line
        written = os.write(descriptor, whole)  # one call: lines of two processes do not run into each other
        self._is_torn = written < len(whole)
        if self._is_torn:
            raise OSError(0, "the disk is full", str(self._path))

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEXT_STEP = "Make room, or correct security_log. The gateway goes on; the security log then says how much it lacks."


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        there, here = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
