"""The addresses of the predecessor: the same requests, and the same keys beside ours."""

from pydantic import Field

from gateway.errors import NotFoundError
from gateway.http.endpoints.tasks import accept
from gateway.http.route import Call, route
from gateway.values import Upload, User
from mltm.contract import routes
from mltm.contract.base_models import Message
from mltm.contract.ids import parse_task_id
from mltm.contract.states import State
from mltm.contract.user_api import TaskAnswer

__all__ = ["JobStatus", "create_task", "list_tasks", "read_job_status", "read_task", "render_job_status"]

MAX_ROWS = 1000
_PAGE = 200


class JobStatus(Message):
    """The predecessor's answer: its own state, a colon, and our state."""

    job_status: str = Field(description="PENDING, RUNNING, COMPLETED or FAILED, then our state and its reason")
    run_id: str | None = None


@route("POST", routes.PREDECESSOR_NEW_TASK, area="predecessor", errors=(409,))
async def create_task(call: Call, user: User, idempotency_key: str | None, upload: Upload) -> TaskAnswer:
    """Submit a task and wait a few seconds for its job id.

    If Slurm has not answered by then, `job_id` is the task's id. Every address accepts it instead of a job id.
    """
    accepted = await accept(call, user, upload, idempotency_key)
    task_id = accepted.task.task_id
    task = await call.services.tasks.wait_for_job_id(user, task_id, call.settings.legacy_wait_s)
    return task.model_copy(update={"job_id": task_id}) if task.job_id is None else task


@route("GET", routes.PREDECESSOR_TASKS, area="predecessor")
async def list_tasks(call: Call, user: User) -> list[TaskAnswer]:
    """Your newest tasks, at most 1,000. `GET /v1/tasks` has all of them, in pages."""
    rows: list[TaskAnswer] = []
    before: str | None = None
    while len(rows) < MAX_ROWS:
        page = await call.services.tasks.list(user, before=before, limit=_PAGE)
        rows += page.tasks
        before = page.next
        if before is None:
            break
    return rows


@route("GET", routes.PREDECESSOR_TASK, area="predecessor", errors=(404,))
async def read_task(call: Call, user: User, task_id: str) -> TaskAnswer:
    """One task, by its id or its job id."""
    return await _find(call, user, task_id)


@route("GET", routes.PREDECESSOR_JOB_STATUS, area="predecessor", errors=(404,))
async def read_job_status(call: Call, user: User, job_id: str) -> JobStatus:
    """The state of a job, by its job id or its task's id."""
    return JobStatus(job_status=render_job_status(await _find(call, user, job_id)))


def render_job_status(task: TaskAnswer) -> str:
    """Render the predecessor's state, then our state and its reason."""
    match task.state:
        case State.ACCEPTED | State.SUBMITTING | State.PENDING:
            old_state = "PENDING"
        case State.RUNNING | State.FINISHING:
            old_state = "RUNNING"
        case State.SUCCEEDED:
            old_state = "COMPLETED"
        case _:
            old_state = "FAILED"
    reason = f", {task.reason}" if task.reason else ""
    return f"{old_state}: {task.state}{reason}"


async def _find(call: Call, user: User, text: str) -> TaskAnswer:
    try:
        task_id = parse_task_id(text)
    except ValueError:
        if not text.isascii() or len(text) > 64:
            raise NotFoundError(f"{text[:80]!r} is neither a task id nor a job id.") from None
        return await call.services.tasks.find_by_job_id(user, text)
    return await call.services.tasks.read(user, task_id)
