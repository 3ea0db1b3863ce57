"""Whether the gateway can accept tasks, and what is wrong if it cannot: the content of /healthz."""

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from gateway.errors import UnavailableError
from gateway.services.publisher import Publisher
from gateway.settings import GatewaySettings
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.joined import count_over_caps
from mltm.contract.user_api import Health

__all__ = ["HealthCheck"]

_VERSION = version("ml-task-manager")  # read here: it reads files
_PATIENCE_S = 0.2  #: so long an answer waits for the newest look; then it shows the one before
_STUCK_S = 30.0  #: a look that takes longer is a trouble of its own
_SEE_LOG = "Administrators see more: send an administrator's token, or read the gateway's log."


class HealthCheck:
    """Looks at the database, the disk, the spools and the publisher. `publishing`: the task that runs the publisher.

    One look at a time, in the database's thread and in one of its own: whatever fills the other threads, it answers.
    """

    def __init__(
        self, database: Database, settings: GatewaySettings, publisher: Publisher, publishing: asyncio.Task[None]
    ) -> None:
        self._database, self._settings = database, settings
        self._publisher, self._publishing = publisher, publishing
        self._thread = ThreadPoolExecutor(1, "health")
        self._looking: asyncio.Task[None] | None = None
        self._began_s = 0.0
        self._seen: dict[str, str] | None = None  # database and disk, at the last look that ended
        self._waiting = self._over_caps = 0

    async def run(self, *, in_full: bool = False) -> Health:
        """Answer at once, from a look of now if that is quick. `in_full`: with the paths of spools and files.

        A spool that cannot be used is `degraded`: the other spools still get their tasks.
        """
        await self._look()
        checks = {"database": "ok", "disk": "ok", "spools": "ok", "publisher": "ok", **(self._seen or {})}
        if (trouble := self._find_stuck_look()) is not None:
            checks["database"] = trouble
        if self._publisher.problem:
            waiting = f" Waiting tasks: {self._waiting}." if self._waiting else ""
            checks["spools"] = f"{self._publisher.problem}{waiting}"
        if self._over_caps:
            checks["reports"] = (
                f"Reports of {self._over_caps} tasks were refused: the gateway keeps a limited number of them of one "
                "task. The gateway's log (reports_over_caps) names tasks and agents."
            )
        if self._publishing.done():
            checks["publisher"] = "The publisher has stopped. Restart the gateway."
        is_failing = any(checks[name] != "ok" for name in ("database", "disk", "publisher"))
        status = "failing" if is_failing else "ok" if checks["spools"] == "ok" else "degraded"
        if not in_full:
            checks = {name: message if message == "ok" else _HIDDEN[name] for name, message in checks.items()}
        return Health.model_validate({"status": status, "version": _VERSION, "checks": checks})

    def close(self) -> None:
        """Leave the thread; a disk that does not answer keeps nobody."""
        if self._looking is not None:
            self._looking.cancel()
        self._thread.shutdown(wait=False)

    async def _look(self) -> None:
        """Begin a look, or join the one that runs. Returns when it ends, but soon in any case."""
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done():
            self._began_s = loop.time()
            self._looking = loop.create_task(self._look_now())
        await asyncio.wait({self._looking}, timeout=_PATIENCE_S)
        if self._looking.done():
            self._looking.result()  # what nobody expected is not hidden

    async def _look_now(self) -> None:
        seen, waiting, over_caps = {"database": "ok", "disk": "ok"}, 0, 0
        try:
            waiting = await self._database.read(outbox.count_waiting)
            over_caps = await self._database.read(count_over_caps)
        except UnavailableError as error:
            seen["database"] = str(error)
        try:
            disk = await asyncio.get_running_loop().run_in_executor(
                self._thread, shutil.disk_usage, self._settings.data_dir
            )
            if disk.free < self._settings.min_free_bytes:
                seen["disk"] = "The disk is nearly full. The gateway accepts no new tasks until there is room."
        except OSError as error:
            seen["disk"] = f"The data folder {self._settings.data_dir} cannot be used: {error.strerror}."
        self._seen, self._waiting, self._over_caps = seen, waiting, over_caps

    def _find_stuck_look(self) -> str | None:
        if self._looking is None or self._looking.done():
            return None
        since_s = asyncio.get_running_loop().time() - self._began_s
        return f"It has not answered for {since_s:.0f} s." if since_s > _STUCK_S else None


_HIDDEN = {
    "database": f"The database cannot be used now. {_SEE_LOG}",
    "disk": "The disk is nearly full or cannot be used. The gateway accepts no new tasks until that is mended.",
    "spools": f"A spool cannot be used; tasks for it wait. {_SEE_LOG}",
    "publisher": "The publisher has stopped. Restart the gateway.",
    "reports": f"Some reports of agents were refused. {_SEE_LOG}",
}
