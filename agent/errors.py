"""Everything that the agent raises on purpose."""

__all__ = ["AgentError", "GatewayAwayError", "RevokedError", "SettingsError", "SiteAwayError", "SpoolError"]


class AgentError(Exception):
    """Root of the agent's errors.

    message: what is wrong and where, as a sentence. next_step: what a person can do. transient: a retry may help.
    """

    transient = False

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class SettingsError(AgentError):
    """The agent's config file is wrong or incomplete."""


class SpoolError(AgentError):
    """The spool cannot be used: it is not writable, it is full, or it belongs to another gateway."""


class SiteAwayError(AgentError):
    """What a task needs of the site cannot be looked at: the folder of its images or datasets is away."""

    transient = True


class GatewayAwayError(AgentError):
    """The gateway does not answer, or answers 5xx or 429. Reports wait in the outbox."""

    transient = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RevokedError(AgentError):
    """The gateway does not know this credential (any more): 401 or 403."""
