"""Every route of the gateway, once: the server registers them, client and agent call them."""

from typing import Final

__all__ = [
    "AGENT_ACK",
    "AGENT_BYTES",
    "AGENT_COMMANDS",
    "AGENT_ENROL",
    "AGENT_HEARTBEAT",
    "AGENT_REPORTS",
    "CURRENT_TOKEN",
    "DOCS",
    "HEALTH",
    "LOGIN",
    "OPENAPI",
    "PASSWORD",
    "PREDECESSOR_JOB_STATUS",
    "PREDECESSOR_NEW_TASK",
    "PREDECESSOR_TASK",
    "PREDECESSOR_TASKS",
    "PREDECESSOR_USER",
    "PREDECESSOR_USERS",
    "TASK",
    "TASKS",
    "TASK_CANCEL",
    "TASK_HOLD",
    "TASK_LOG",
    "TASK_OUTPUT",
    "TASK_OUTPUTS",
    "TASK_RELEASE",
    "TOKEN",
    "TOKENS",
    "WHOAMI",
]  # fmt: skip

TASKS: Final = "/v1/tasks"
TASK: Final = "/v1/tasks/{task_id}"
TASK_CANCEL: Final = "/v1/tasks/{task_id}/cancel"
TASK_HOLD: Final = "/v1/tasks/{task_id}/hold"
TASK_RELEASE: Final = "/v1/tasks/{task_id}/release"
TASK_LOG: Final = "/v1/tasks/{task_id}/log"
TASK_OUTPUTS: Final = "/v1/tasks/{task_id}/outputs"
TASK_OUTPUT: Final = "/v1/tasks/{task_id}/outputs/{path:.+}"
WHOAMI: Final = "/v1/me"
PASSWORD: Final = "/v1/me/password"  # noqa: S105 - an address
TOKENS: Final = "/v1/tokens"
TOKEN: Final = "/v1/tokens/{token_id}"  # noqa: S105 - an address
CURRENT_TOKEN: Final = "current"  # noqa: S105 - in place of a token's id: the token of the request itself
OPENAPI: Final = "/openapi.json"
DOCS: Final = "/docs"
HEALTH: Final = "/healthz"

LOGIN: Final = "/auth/login"
PREDECESSOR_NEW_TASK: Final = "/new_task"
PREDECESSOR_TASKS: Final = "/tasks"
PREDECESSOR_TASK: Final = "/task/{task_id}"
PREDECESSOR_JOB_STATUS: Final = "/job_status/{job_id}"
PREDECESSOR_USERS: Final = "/users"
PREDECESSOR_USER: Final = "/users/{username}"

AGENT_ENROL: Final = "/v1/agent/enrol"
AGENT_REPORTS: Final = "/v1/agent/reports"
AGENT_HEARTBEAT: Final = "/v1/agent/heartbeat"
AGENT_COMMANDS: Final = "/v1/agent/commands"
AGENT_ACK: Final = "/v1/agent/commands/{command_id}/ack"
AGENT_BYTES: Final = "/v1/agent/commands/{command_id}/bytes"
