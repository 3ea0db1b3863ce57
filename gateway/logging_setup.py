"""The gateway's log: one line an event to stderr, JSON unless a person watches, and never the values of variables."""

import logging
import sys
from typing import TextIO

import structlog

__all__ = ["set_up_logging"]


def set_up_logging(stream: TextIO | None = None) -> None:
    """Set it up; once, before the first event.

    structlog's own default prints an exception's local variables: in a login that is the password.
    """
    stream = stream or sys.stderr
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderers = [plain] if stream.isatty() else [structlog.processors.format_exc_info, _AS_JSON]
    structlog.configure(
        processors=[*_BEFORE, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )


_AS_JSON = structlog.processors.JSONRenderer()
_BEFORE = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
