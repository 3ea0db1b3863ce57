"""The log of a daemon: one line an event to stderr, JSON unless a person watches, and never the values of variables."""

import logging
import sys
from typing import TextIO

import structlog

__all__ = ["set_up_logging"]


def set_up_logging(stream: TextIO | None = None, *, is_verbose: bool = False) -> None:
    """Set up structlog once, at the start of a command, before the first event.

    structlog's own default prints an exception's local variables: in a login that is the password.
    """
    stream = stream or sys.stderr
    for_people: list[structlog.types.Processor] = [
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    ]
    for_programs = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(for_people if stream.isatty() else for_programs),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if is_verbose else logging.INFO),
        # A line is one write: those of two processes with one stderr do not run into each other.
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
