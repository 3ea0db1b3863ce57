"""Whether the gateway can accept tasks, and what is wrong if it cannot: the content of /healthz."""

import asyncio
import shutil
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


class HealthCheck:
    """Checks the database, the disk, the spools and the publisher. `publishing`: the task that runs the publisher."""

    def __init__(
        self, database: Database, settings: GatewaySettings, publisher: Publisher, publishing: asyncio.Task[None]
    ) -> None:
        self._database, self._settings = database, settings
        self._publisher, self._publishing = publisher, publishing

    async def run(self) -> Health:
        """Check everything now. A spool that cannot be used is `degraded`: the other spools still get their tasks."""
        problem = self._publisher.problem
        checks = {"database": "ok", "disk": "ok", "spools": problem or "ok", "publisher": "ok"}
        try:
            waiting = await self._database.read(outbox.count_waiting)
        except UnavailableError as error:
            checks["database"], waiting = str(error), 0
        if (await asyncio.to_thread(shutil.disk_usage, self._settings.data_dir)).free < self._settings.min_free_bytes:
            checks["disk"] = "The disk is nearly full. The gateway accepts no new tasks until there is room."
        over_caps = await self._count_over_caps()
        if over_caps:
            checks["reports"] = (
                f"Reports of {over_caps} tasks were refused: the gateway keeps a limited number of them of one task. "
                "The gateway's log (reports_over_caps) names tasks and agents."
            )
        if problem and waiting:
            checks["spools"] = f"{problem} Waiting tasks: {waiting}."
        if self._publishing.done():
            checks["publisher"] = "The publisher has stopped. Restart the gateway."
        is_failing = any(checks[name] != "ok" for name in ("database", "disk", "publisher"))
        status = "failing" if is_failing else "ok" if checks["spools"] == "ok" else "degraded"
        return Health.model_validate({"status": status, "version": _VERSION, "checks": checks})

    async def _count_over_caps(self) -> int:
        try:
            return await self._database.read(count_over_caps)
        except UnavailableError:  # the check of the database says it
            return 0
