"""Every error of the gateway: HTTP status, stable key, message and next step. `gateway.http` renders it (RFC 9457)."""

from collections.abc import Iterable, Mapping

from mltm.contract.problems import FieldProblem

__all__ = [
    "AgentSilentError", "ConflictError", "DiskFullError", "ForbiddenError", "GatewayError", "InvalidError",
    "NotFoundError", "TooLargeError", "TooManyError", "UnauthorizedError", "UnavailableError",
]  # fmt: skip


class GatewayError(Exception):
    """The root. `detail` says what is wrong and where, `next_step` what the reader can do.

    `public_detail`: the same for people outside, if the detail is for administrators only (paths). The log has both.
    `evidence` is for the security log alone: the caller may not know that somebody else's thing exists.
    """

    status = 500
    key = "internal_error"
    title = "Something went wrong in the gateway"
    next_step = "Try again. If the error stays, tell the gateway's administrator."

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        key: str | None = None,
        title: str | None = None,
        next_step: str | None = None,
        fields: Iterable[FieldProblem] = (),
        retry_after_s: int | None = None,
        public_detail: str | None = None,
        evidence: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.public_detail = detail if public_detail is None else public_detail
        self.status = self.status if status is None else status
        self.key = self.key if key is None else key
        self.title = self.title if title is None else title
        self.next_step = self.next_step if next_step is None else next_step
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s
        self.evidence = evidence or {}


class UnauthorizedError(GatewayError):
    """401: the caller is not known."""

    status = 401
    key = "unauthorized"
    title = "Not logged in"
    next_step = "Log in (POST /auth/login, or `mltm login`) and send the token as `Authorization: Bearer <token>`."


class ForbiddenError(GatewayError):
    """403: the caller is known, but may not do this."""

    status = 403
    key = "forbidden"
    title = "Not allowed"
    next_step = "Ask an administrator of this gateway."


class NotFoundError(GatewayError):
    """404. A task of another user looks like a task that does not exist."""

    status = 404
    key = "task_not_found"
    title = "Not found"
    next_step = "List your tasks (GET /v1/tasks, or `mltm list`) and check the id."


class ConflictError(GatewayError):
    """409: the request contradicts what is stored."""

    status = 409
    key = "conflict"
    title = "The request contradicts what is stored"
    next_step = "Check the task's current state."


class TooLargeError(GatewayError):
    """413: above a limit."""

    status = 413
    key = "too_large"
    title = "Too large"
    next_step = "Send less. Put large data into the cluster's datasets folder."


class InvalidError(GatewayError):
    """422: the request is readable, but something in it is wrong."""

    status = 422
    key = "invalid"
    title = "The request cannot be accepted"
    next_step = "Correct the named fields and send the request again."


class TooManyError(GatewayError):
    """429, with `retry_after_s`."""

    status = 429
    key = "too_many_requests"
    title = "Too many attempts"
    next_step = "Wait, then try again."


class UnavailableError(GatewayError):
    """503: the gateway cannot do it now."""

    status = 503
    key = "unavailable"
    title = "The gateway cannot do this now"


class DiskFullError(UnavailableError):
    """507: the gateway's disk is full."""

    status = 507
    key = "disk_full"
    title = "No space at the gateway"
    next_step = "Ask the gateway's administrator to make room. Then send it again (with the same Idempotency-Key)."


class AgentSilentError(GatewayError):
    """504: only the agent on the cluster can answer, and it did not."""

    status = 504
    key = "agent_silent"
    title = "The agent on the cluster did not answer"
    next_step = "Try again. If the error stays, check on the cluster that `mltm-agent` runs (`mltm-agent check`)."
