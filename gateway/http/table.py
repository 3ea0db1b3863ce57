"""The route table: everything that the gateway answers, in one place."""

from typing import Final

from gateway.http import agents, legacy, outputs, people, service, tasks
from gateway.http.route import Route

__all__ = ["ROUTES"]

ROUTES: Final[tuple[Route, ...]] = (
    tasks.create_task,
    tasks.list_tasks,
    tasks.read_task,
    tasks.cancel_task,
    tasks.hold_task,
    tasks.release_task,
    outputs.read_log,
    outputs.list_outputs,
    outputs.read_output,
    people.log_in,
    people.read_me,
    people.create_token,
    people.list_tokens,
    people.revoke_token,
    people.list_users,
    people.read_user,
    legacy.create_task,
    legacy.list_tasks,
    legacy.read_task,
    legacy.read_job_status,
    agents.enrol,
    agents.store_reports,
    agents.heartbeat,
    agents.poll_commands,
    agents.acknowledge,
    agents.deliver_bytes,
    service.read_health,
    service.read_openapi,
    service.read_docs,
    service.read_docs_file,
)
