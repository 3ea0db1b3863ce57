"""Reading, listing and cancelling tasks."""

from gateway.services.wake import Wake
from gateway.store import routing
from gateway.store import tasks as rows
from gateway.store.commands import HoldKind, request_cancel, request_hold
from gateway.store.database import Database
from gateway.values import User
from mltm.contract.states import State
from mltm.contract.user_api import CancelAnswer, HoldAnswer, TaskAnswer, TaskList
from mltm.runtime.clock import Clock
from mltm.runtime.events import wait_for_event

__all__ = ["Tasks"]


class Tasks:
    """A task of another user is NotFoundError, like a task that does not exist. An admin sees all tasks."""

    def __init__(self, database: Database, clock: Clock, wake: Wake) -> None:
        self._database, self._clock, self._wake = database, clock, wake

    async def read(self, user: User, task_id: str) -> TaskAnswer:
        """Read one task with its attempts, history and config. Raises NotFoundError."""
        return await self._database.read(rows.read_task, user, task_id, self._clock.now())

    async def find_by_job_id(self, user: User, job_id: str) -> TaskAnswer:
        """Find the newest task with an attempt of this Slurm job id. Raises NotFoundError."""
        return await self._database.read(rows.find_by_job_id, user, job_id, self._clock.now())

    async def request_cancel(self, user: User, task_id: str) -> CancelAnswer:
        """Record the request, durably, once. Raises NotFoundError, ConflictError (already_final)."""
        answer = await self._database.call(request_cancel, user, task_id, self._clock.new_id(), self._clock.now())
        self._wake.ring("commands")
        return answer

    async def request_hold(self, user: User, task_id: str, kind: HoldKind) -> HoldAnswer:
        """Record a hold or a release, durably. Raises NotFoundError, ConflictError (already_final)."""
        new = self._clock.new_id()
        answer = await self._database.call(request_hold, user, task_id, kind, new, self._clock.now())
        self._wake.ring("commands")
        return answer

    async def find_owner(self, text: str) -> dict[str, str]:
        """Whose a task is, by its id or a job id, for the security log; empty if there is no such task."""
        return await self._database.read(rows.find_owner, text)

    async def list_clusters(self, user: User) -> list[str]:
        """List the clusters where this user's tasks can run."""
        return await self._database.read(routing.list_user_clusters, user)

    async def wait_for_job_id(self, user: User, task_id: str, timeout_s: float) -> TaskAnswer:
        """Read the task as soon as it has a job id or is final, at the latest after `timeout_s`."""
        until_s = self._clock.boot_s() + timeout_s
        with self._wake.listen(f"task:{task_id}") as changed:
            while True:
                task = await self.read(user, task_id)
                if task.job_id is not None or task.final:
                    return task
                if not await wait_for_event(changed, until_s - self._clock.boot_s()):
                    return await self.read(user, task_id)

    async def list(
        self, user: User, *, state: State | None = None, before: str | None = None, limit: int = 50
    ) -> TaskList:
        """List a page, newest first; `before` is the `next` of the page before."""
        return await self._database.read(rows.list_tasks, user, state, before, limit, self._clock.now())
