"""Accepts bundles from the inbox, where the agent only reads: a checked private copy, then one rename to tasks/<task>.

A faulty bundle delays no other. If it stays faulty, its task is closed at attempt 1 as rejected. What is not proved to
be the gateway's is set aside: it is named, and never touches the task of its name.
"""

import contextlib
import errno
import json
import os
import re
import socket
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog
from pydantic import ValidationError

from agent.intake.bundle_proof import MAX_MANIFEST_BYTES, BundleProof, UnprovedError
from agent.intake.private_copy import BadSourceError, copy_listed
from agent.intake.quiet_time import QuietWatch, count_scan, is_quiet
from agent.settings import AgentSettings
from agent.spool.inbox import find_inbox_weakness
from agent.spool.os_errors import explain_os_error
from agent.spool.records import link_intent
from agent.spool.staging import StagedTask, discard_folder, make_staged_task, publish_task
from agent.spool.tombstones import has_tombstone
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Author, Closed, Verdict
from mltm.contract.manifest import Manifest
from mltm.contract.retry_delay import exponential_delay_s
from mltm.contract.spool_layout import ENTRYPOINT, MANIFEST, Spool
from mltm.contract.states import State
from mltm.contract.task_config import check_json
from mltm.runtime import files
from mltm.runtime.clock import Clock
from mltm.runtime.hostile_files import open_folder_at, open_folder_below

__all__ = ["BundleIntake"]

_log = structlog.get_logger(__name__)
_TASK_NAME = re.compile(r"[0-9a-f]{32}")
_REMIND_S, _MAX_REMIND_S = 60.0, 3600.0
_MAX_MESSAGES = 20
# The disk's or the folder's trouble, not the bundle's: never a reason to reject a task.
_SPOOL_TROUBLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE}
)


class BundleIntake:
    """Brings bundles in. One per process; scan() is called by the tick."""

    def __init__(self, spool: Spool, settings: AgentSettings, clock: Clock, *, author: Author | None = None) -> None:
        self._spool, self._waits, self._clock, self._cluster = spool, settings.waits, clock, settings.cluster
        self._inbox, self._proof = settings.inbox_folder, BundleProof(spool, clock)
        self._author = author or Author(epoch=0, host=socket.gethostname(), pid=os.getpid())
        self._faulty: dict[TaskId, QuietWatch] = {}
        self._remind: dict[TaskId, tuple[float, int]] = {}  # when next (boot clock), and how often before
        self._aside: dict[TaskId, tuple[float, str]] = {}  # when to look again (boot clock), and why not now
        self._warned: set[str] = set()
        self._find_weakness, self._weakness = partial(find_inbox_weakness, settings), ""
        self._judge_again_s = 0.0  # boot clock

    def scan(self) -> list[str]:
        """Accept what is in the inbox; returns what is wrong, as sentences. Raises OSError if it cannot be listed."""
        names = files.list_names(self._inbox.new)
        if names and self._is_open_to_others():
            return [self._explain_weakness()]
        for kept in (self._faulty, self._remind, self._aside):
            for gone in set(kept) - set(names):
                del kept[gone]
        messages = [message for name in names if (message := self._take_if_new(name))]
        rest = [f"{len(messages) - _MAX_MESSAGES} more entries of {self._inbox.new} wait."]
        return messages[:_MAX_MESSAGES] + (rest if len(messages) > _MAX_MESSAGES else [])

    def _is_open_to_others(self) -> bool:
        """True if somebody has made the inbox writable for others since the agent began."""
        now_s = self._clock.boot_s()
        if now_s >= self._judge_again_s:
            self._weakness, self._judge_again_s = self._find_weakness(), now_s + self._waits.rescan_s
        return bool(self._weakness)

    def _explain_weakness(self) -> str:
        return self._warn_once("", f"No task is accepted: others could put tasks there. {self._weakness}")

    def _take_if_new(self, name: str) -> str:
        """Accept one bundle; returns what is wrong, as a sentence."""
        if not _TASK_NAME.fullmatch(name):
            return self._warn_once(name, f"{name!a} in {self._inbox.new} is not a task's name. It is ignored.")
        task_id = TaskId(name)
        again_s, message = self._aside.get(task_id, (0.0, ""))
        if self._clock.boot_s() < again_s:
            return message
        try:
            if not self._remind_if_known(task_id):
                self._take(task_id)
            self._faulty.pop(task_id, None)
        except UnprovedError as error:
            return self._set_aside(task_id, str(error))
        except BadSourceError as error:
            return self._judge_fault(task_id, str(error))
        except OSError as error:
            if error.errno not in _SPOOL_TROUBLE and os.path.lexists(self._inbox.bundle(task_id)):
                return self._judge_fault(task_id, f"The bundle is incomplete: {error.strerror} ({_basename(error)!a}).")
            return self._explain_wait(task_id, error)
        return ""

    def _set_aside(self, task_id: TaskId, why: str) -> str:
        message = (
            f"{self._inbox.bundle(task_id)} is ignored, because it may not be the gateway's. {why}. Find out who can "
            f"write to {self._inbox.new}, then remove it. If it was the gateway's, the gateway puts it there again."
        )
        self._aside[task_id] = (self._clock.boot_s() + 3 * self._waits.faulty_look_s, message)
        return self._warn_once(task_id, message)

    def _remind_if_known(self, task_id: TaskId) -> bool:
        """True for a task that is here already, or was: from time to time it is marked active, and reported again."""
        folder = self._spool.task(task_id)
        is_here = folder.manifest.exists() or folder.attempt(1).intent.exists()
        if not is_here and not has_tombstone(self._spool, task_id):
            return False
        now_s = self._clock.boot_s()
        due_s, times = self._remind.setdefault(task_id, (now_s + _REMIND_S, 0))
        if now_s >= due_s:
            with open_folder_below(self._inbox.new, [task_id]) as bundle:
                self._proof.read_manifest(bundle)
            # For a task that has ended, each time is a report in the outbox, and the gateway may be away for days.
            pause_s = exponential_delay_s(times + 1, _REMIND_S, _MAX_REMIND_S)
            self._remind[task_id] = (now_s + pause_s, times + 1)
            self._mark_active(task_id)
        return True

    def _take(self, task_id: TaskId) -> None:
        nonce = self._clock.nonce()
        staged = make_staged_task(self._spool, task_id, nonce)
        try:
            self._copy(task_id, staged)
            is_ours = publish_task(self._spool, task_id, staged)
            if not is_ours:
                self._complete(task_id, staged)
        finally:
            discard_folder(self._spool, staged.path, nonce)
        if has_tombstone(self._spool, task_id) and not self._spool.task(task_id).attempt(1).intent.exists():
            # It ended long ago and is listed again (a restored gateway, a stale listing). Only this copy is removed.
            if is_ours:
                discard_folder(self._spool, self._spool.tasks / task_id, self._clock.nonce())
            files.remove(self._spool.active / task_id)
            return
        self._remind[task_id] = (self._clock.boot_s() + _REMIND_S, 0)
        _log.info("task_taken", task_id=task_id, won=is_ours)

    def _copy(self, task_id: TaskId, staged: StagedTask) -> None:
        with open_folder_below(self._inbox.new, [task_id]) as bundle:
            raw = self._proof.read_manifest(bundle)
            manifest = _parse_manifest(raw, task_id)
            with open_folder_at(bundle, "files") as sources:
                for listed in manifest.files:
                    copy_listed(sources, listed, staged.input / listed.name)
        files.replace(staged.control / MANIFEST, raw, self._clock.nonce(), 0o600)

    def _complete(self, task_id: TaskId, staged: StagedTask) -> None:
        """Fill a folder that a command (a cancel, a hold) made before the bundle came. The manifest comes last.

        Empty folders are made, not renamed: rename(2) replaces an empty folder, which may be a running job's.
        """
        folder = self._spool.task(task_id)
        files.move(staged.input, folder.input)
        for wanted in folder.folders:
            files.make_folder(wanted)
        files.sync_folder(folder.path)
        raw = files.read_bytes(staged.control / MANIFEST)
        if raw is not None:
            files.link_once(folder.manifest, raw, self._clock.nonce(), 0o600)

    def _judge_fault(self, task_id: TaskId, message: str) -> str:
        """Wait for a faulty bundle to become right; reject its task if it does not."""
        if not self._is_the_gateways(task_id):
            return self._set_aside(task_id, message.rstrip("."))
        now_s, waits = self._clock.boot_s(), self._waits
        watch = count_scan(self._faulty.get(task_id), (), now_s, waits.faulty_look_s)
        self._faulty[task_id] = watch
        if not is_quiet(watch, now_s, 3 * waits.faulty_look_s):
            return self._warn_once(task_id, f"The bundle of task {task_id} is faulty: {message}")
        self._judge_again_s = now_s
        if self._is_open_to_others():  # then it may be somebody else's work
            return self._explain_weakness()
        if not self._remind_if_known(task_id):
            self._reject(task_id, message)
        return ""

    def _is_the_gateways(self, task_id: TaskId) -> bool:
        """Without a key nobody can tell of what cannot be read."""
        try:
            with open_folder_below(self._inbox.new, [task_id]) as bundle:
                self._proof.read_manifest(bundle)
        except UnprovedError:
            return False
        except (BadSourceError, OSError):
            return not self._proof.has_key
        return True

    def _reject(self, task_id: TaskId, message: str) -> None:
        """Close the journal at attempt 1, unless an agent with a good copy has linked an intent there."""
        self._mark_active(task_id)
        attempt, nonce, now = self._spool.task(task_id).attempt(1), self._clock.nonce(), self._clock.now()
        files.make_folder(attempt.control.parent)
        files.make_folder(attempt.control, 0o700)
        fault = f"The bundle is faulty: {message}"
        self._keep_manifest(task_id, fault, nonce)
        verdict = Verdict(state=State.REJECTED, reason=fault, evidence="bundle")
        closed = Closed(nonce=nonce, attempt=1, author=self._author, at=now, verdict=verdict)
        is_ours = link_intent(attempt, closed) == closed
        _log.error("bundle_rejected", task_id=task_id, message=message, won=is_ours)

    def _keep_manifest(self, task_id: TaskId, fault: str, nonce: str) -> None:
        """Keep what can be read of the manifest, so that a gateway that lost its rows can list it. Raises OSError."""
        try:
            with open_folder_below(self._inbox.new, [task_id]) as bundle:
                raw = self._proof.read_manifest(bundle)
        except (BadSourceError, UnprovedError, OSError):
            return
        manifest = _salvage_manifest(raw, task_id, fault, self._cluster, self._clock.now())
        if manifest is not None:
            files.link_once(self._spool.task(task_id).manifest, manifest.model_dump_json().encode(), nonce, 0o600)

    def _explain_wait(self, task_id: TaskId, error: OSError) -> str:
        if not os.path.lexists(self._inbox.bundle(task_id)):
            return ""  # the gateway has removed its entry meanwhile
        place = Path(error.filename) if isinstance(error.filename, str) else self._spool.root
        return self._warn_once(task_id, f"Cannot accept task {task_id} yet. {explain_os_error(error, place)}")

    def _mark_active(self, task_id: TaskId) -> None:
        files.replace(self._spool.active / task_id, b"", self._clock.nonce(), 0o600)

    def _warn_once(self, name: str, message: str) -> str:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning("bundle_waits", name=ascii(name), message=message)
        return message


def _parse_manifest(raw: bytes, task_id: TaskId) -> Manifest:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BadSourceError(f"{MANIFEST} is longer than {MAX_MANIFEST_BYTES:,} bytes.")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "JSON"
        raise BadSourceError(f"{MANIFEST} is not valid: {field}: {first['msg']}.") from error
    names = [listed.name for listed in manifest.files]
    if manifest.task_id != task_id:
        raise BadSourceError(f"{MANIFEST} belongs to another task, {manifest.task_id}.")
    if len(set(names)) != len(names):
        raise BadSourceError(f"{MANIFEST} lists a file twice.")
    if ENTRYPOINT not in names:
        raise BadSourceError(f"{MANIFEST} does not list {ENTRYPOINT}.")
    return manifest


def _salvage_manifest(raw: bytes, task_id: TaskId, fault: str, cluster: str, now: datetime) -> Manifest | None:
    """Build a manifest from what a faulty one still says; None if it does not say its owner and its config."""
    known = {"task_id": task_id, "cluster": cluster, "files": [], "source": "gateway", "fault": fault}
    try:
        given = json.loads(raw)
        check_json(given)
        if given["task_id"] != task_id:
            return None
        minimal = {"owner": given["owner"], "config": given["config"], "script_name": "", "submitted_at": now}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    for fields in ({**given, **known}, {**minimal, **known}):
        with contextlib.suppress(ValidationError):
            return Manifest.model_validate(fields)
    return None


def _basename(error: OSError) -> str:
    return Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else ""
