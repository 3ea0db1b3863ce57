"""The route table: every address that the gateway answers, in one place."""

from typing import Final

from gateway.http.endpoints import agents, health_and_docs, outputs, predecessor, tasks, users
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
    users.log_in,
    users.read_me,
    users.change_password,
    users.create_token,
    users.list_tokens,
    users.revoke_token,
    users.list_users,
    users.read_user,
    predecessor.create_task,
    predecessor.list_tasks,
    predecessor.read_task,
    predecessor.read_job_status,
    agents.enrol,
    agents.store_reports,
    agents.heartbeat,
    agents.poll_commands,
    agents.acknowledge,
    agents.deliver_bytes,
    health_and_docs.read_health,
    health_and_docs.read_openapi,
    health_and_docs.read_docs,
    health_and_docs.read_docs_file,
)
