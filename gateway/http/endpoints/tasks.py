"""Submitting, reading and cancelling tasks."""

from pydantic import Field

from gateway.http.route import Call, Reply, route
from gateway.services.disk import run_to_end
from gateway.values import Accepted, Upload, User
from mltm.contract import routes
from mltm.contract.base_models import Strict
from mltm.contract.ids import TaskId
from mltm.contract.states import State
from mltm.contract.user_api import CancelAnswer, HoldAnswer, TaskAnswer, TaskList

__all__ = ["ListQuery", "accept", "cancel_task", "create_task", "hold_task", "list_tasks", "read_task", "release_task"]


class ListQuery(Strict):
    """Which page of which tasks."""

    state: State | None = Field(default=None, description="only tasks in this state")
    before: str | None = Field(default=None, max_length=64, description="the `next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


async def accept(call: Call, user: User, upload: Upload, key: str | None) -> Accepted:
    """Accept the upload. If this request is cancelled meanwhile, wait for the end: its folder is deleted after that."""
    return await run_to_end(call.services.submissions.accept(user, upload, key))


@route("POST", routes.TASKS, area="tasks", status=201, also=(200,), errors=(409,), headers=("Location",))
async def create_task(call: Call, user: User, idempotency_key: str | None, upload: Upload) -> Reply[TaskAnswer]:
    """Submit a task: its config, its script, and more files if it needs them.

    Answers 201 as soon as the task is stored. If the `Idempotency-Key` was used before, it answers 200 with that task;
    409 if the config or the files are different.
    """
    accepted = await accept(call, user, upload, idempotency_key)
    place = routes.TASK.format(task_id=accepted.task.task_id)
    return Reply(accepted.task, 201 if accepted.created else 200, {"Location": place})


@route("GET", routes.TASKS, area="tasks")
async def list_tasks(call: Call, user: User, query: ListQuery) -> TaskList:
    """Your tasks, newest first. An administrator sees the tasks of all users."""
    return await call.services.tasks.list(user, state=query.state, before=query.before, limit=query.limit)


@route("GET", routes.TASK, area="tasks", errors=(404,))
async def read_task(call: Call, user: User, task_id: TaskId) -> TaskAnswer:
    """One task with its attempts, its history and its config."""
    return await call.services.tasks.read(user, task_id)


@route("POST", routes.TASK_CANCEL, area="tasks", errors=(404, 409, 507))
async def cancel_task(call: Call, user: User, task_id: TaskId) -> CancelAnswer:
    """Cancel the task. The request is stored when this answers; the state follows from the cluster."""
    return await call.services.tasks.request_cancel(user, task_id)


@route("POST", routes.TASK_HOLD, area="tasks", errors=(404, 409, 507))
async def hold_task(call: Call, user: User, task_id: TaskId) -> HoldAnswer:
    """Do not give the task to Slurm until it is released.

    An attempt that Slurm already has still runs. No further attempt follows.
    """
    return await call.services.tasks.request_hold(user, task_id, "hold")


@route("POST", routes.TASK_RELEASE, area="tasks", errors=(404, 409, 507))
async def release_task(call: Call, user: User, task_id: TaskId) -> HoldAnswer:
    """Let a held task continue."""
    return await call.services.tasks.request_hold(user, task_id, "release")
