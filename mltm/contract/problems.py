"""How errors are told: RFC 9457 problem documents with a stable key and a next step; a certificate that is refused.

Python 3.13 and newer set VERIFY_X509_STRICT (RFC 5280) in `ssl.create_default_context()`; older ones leave it out.
"""

from urllib.parse import urlsplit

from pydantic import Field

from mltm.contract.base_models import Message

__all__ = ["CONTENT_TYPE", "FieldProblem", "Problem", "explain_strictness"]

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


# Codes 80 to 93 of OpenSSL 3's x509_vfy.h (X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA and on): what check_extensions() in
# x509_vfy.c says with X509_V_FLAG_X509_STRICT only.
_STRICT_ONLY = range(80, 94)


def explain_strictness(certificate_error: Exception, url: str) -> str:
    """Explain an error of strict verification. "" for every other error."""
    if getattr(certificate_error, "verify_code", 0) not in _STRICT_ONLY:
        return ""
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port or 443}"
    return (
        "Python 3.13 and newer check certificates strictly: an authority's needs keyUsage with keyCertSign and a "
        "critical basicConstraints, and all need their key identifiers. Ask who made it for a new one. To check: "
        f"openssl s_client -x509_strict -verify_return_error -CAfile FILE -connect {address} </dev/null"
    )
