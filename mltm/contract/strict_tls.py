"""Explains a certificate that only Python 3.13 and newer refuse, and how to check it. Pure.

Their `ssl.create_default_context()` sets VERIFY_X509_STRICT (RFC 5280), which older Pythons leave out.
"""

from urllib.parse import urlsplit

__all__ = ["explain_strictness"]

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
