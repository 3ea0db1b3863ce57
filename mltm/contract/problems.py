"""RFC 9457 problem documents: how every error looks on the wire, with a stable key and a next step."""

from pydantic import Field

from mltm.contract.base_models import Message

__all__ = ["CONTENT_TYPE", "FieldProblem", "Problem"]

CONTENT_TYPE = "application/problem+json"


class FieldProblem(Message):
    """One wrong field: where, what was given, what is allowed."""

    field: str = Field(description="path of the field, as in clusters.atena02.infra_config.account")
    given: str = Field(default="", description="what was sent, shortened")
    allowed: str = Field(description="what would be right")
    hint: str = Field(default="", description="did you mean …")

    def __str__(self) -> str:
        given = f" (given: {self.given})" if self.given else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{self.field}: {self.allowed}{given}.{hint}"


class Problem(Message):
    """An error. `key` is stable, for programs; `next_step` tells the person who reads it what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    key: str
    next_step: str = ""
    fields: list[FieldProblem] = Field(default_factory=list)
    request_id: str = ""
