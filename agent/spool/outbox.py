"""The outbox: one file per report, so that none is lost if a process dies. Only the gateway's 2xx removes one.

A report's identity is (spool id, epoch, sequence); the epoch is this process's own, so a counter is enough.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from agent.errors import SpoolError
from agent.protocol.task_report import ReportDraft
from mltm.contract.reports import Report, parse_details
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["Outbox"]

_NAME = re.compile(r"\d{10}-\d{12}\.json")
_log = structlog.get_logger(__name__)


def _name(epoch: int, seq: int) -> str:
    return f"{epoch:010d}-{seq:012d}.json"


class Outbox:
    """The reports that the gateway has not confirmed. One per epoch; it may be used from several threads."""

    def __init__(
        self,
        folder: Path,
        spool_id: str,
        epoch: int,
        clock: Clock,
        *,
        bad: Path | None = None,
        on_put: Callable[[], object] = lambda: None,
    ) -> None:
        """on_put: called after each put, in the caller's thread."""
        self._folder = folder
        self._bad = bad if bad is not None else folder.parent / "bad"
        self._spool_id = spool_id
        self._epoch = epoch
        self._clock = clock
        self._lock = threading.Lock()
        self._seq = 0
        self._on_put = on_put

    def put(self, draft: ReportDraft | Mapping[str, object]) -> Report:
        """Give the draft its identity and write it, durably. Raises SpoolError if it may not be written."""
        draft = draft if isinstance(draft, ReportDraft) else ReportDraft.model_validate(draft)
        while True:
            report = self._number(draft)
            data = report.model_dump_json(exclude_defaults=True).encode()
            if self._write(report, data) == data:
                break
        self._on_put()
        return report

    def read_oldest(self, limit: int, *, without: Iterable[Report] = (), max_bytes: int | None = None) -> list[Report]:
        """Read the oldest reports, at most `limit`. A damaged file is set aside, and stops no other. Raises OSError.

        max_bytes: of their files together; the first one is read however large it is.
        """
        skipped = {_name(report.epoch, report.seq) for report in without}
        reports: list[Report] = []
        size = 0
        for name in self._names():
            if len(reports) >= limit:
                break
            if name in skipped:
                continue
            size += self._measure(name) if max_bytes is not None else 0
            if reports and max_bytes is not None and size > max_bytes:
                break
            report = self._read(name)
            if report is not None:
                reports.append(report)
        return reports

    def _measure(self, name: str) -> int:
        try:
            return (self._folder / name).stat().st_size
        except OSError:  # reading it says what is wrong
            return 0

    def remove(self, reports: Iterable[Report]) -> None:
        """Remove reports that the gateway has. If a crash brings one back, it is sent again, which is harmless."""
        for report in reports:
            files.remove(self._path(report))

    def count(self) -> int:
        """How many reports wait. Raises OSError."""
        return len(self._names())

    def list_set_aside(self) -> list[str]:
        """The names of the reports in `bad/`, oldest first. Each stays there until a person moves it away."""
        return [name for name in files.list_names(self._bad) if _NAME.fullmatch(name)]

    def set_aside(self, report: Report, message: str) -> bool:
        """Move a report that the gateway refuses to `bad/`, with the reason beside it; False if it cannot be moved."""
        return self._set_aside(_name(report.epoch, report.seq), message)

    def _number(self, draft: ReportDraft) -> Report:
        with self._lock:
            # Used up even if writing fails: an error may come after the effect, and one identity has one content.
            self._seq += 1
            seq = self._seq
        fields = {name: value for name in draft.model_fields_set if (value := getattr(draft, name)) is not None}
        fields.setdefault("at", self._clock.now())
        return Report(spool_id=self._spool_id, epoch=self._epoch, seq=seq, **fields)

    def _write(self, report: Report, data: bytes) -> bytes:
        try:
            return files.link_once(self._path(report), data, self._clock.nonce(), mode=0o600)
        except OSError as error:
            raise SpoolError(
                f"Cannot write a report of task {report.task_id} to {self._folder}: {error.strerror or error}.",
                next_step="Free some space, or make the folder writable for the agent's user.",
            ) from error

    def _path(self, report: Report) -> Path:
        return self._folder / _name(report.epoch, report.seq)

    def _names(self) -> list[str]:
        return [name for name in files.list_names(self._folder) if name.endswith(".json")]

    def _read(self, name: str) -> Report | None:
        try:
            data = files.read_bytes(self._folder / name)
            if data is None:  # another agent on this spool has just sent it
                return None
            report = parse_details(Report, data)
        except OSError as error:  # it may pass (EIO, ESTALE), and the report may be good
            _log.warning("report_unreadable", file=name, message=str(error))
            return None
        except ValidationError as error:
            self._set_aside(name, f"It is not a report: {error}")
            return None
        if name != _name(report.epoch, report.seq):
            self._set_aside(name, f"Its name does not match its content (epoch {report.epoch}, sequence {report.seq}).")
            return None
        return report

    def _set_aside(self, name: str, message: str) -> bool:
        """Write the reason first: a report without a reason explains nothing, a reason alone still does."""
        _log.error("report_set_aside", file=name, message=message)
        try:
            files.make_folder(self._bad)
            files.replace(self._bad / f"{name}.message", message.encode() + b"\n", self._clock.nonce())
            files.move(self._folder / name, self._bad / name)
        except OSError as error:
            _log.error("report_stays_in_outbox", file=name, message=str(error))
            return False
        return True
