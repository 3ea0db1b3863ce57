"""The program around the commands: its streams, and an exit code for whatever happens."""

import os
import sys
import traceback
from collections.abc import Callable
from io import TextIOWrapper
from typing import NoReturn

import typer

from mltm.cli import exit_codes
from mltm.cli.screen import print_error, print_note
from mltm.contract.problems import Problem

__all__ = ["describe_bad_file", "describe_bad_text", "describe_fault", "run_program"]


def run_program(app: Callable[..., object]) -> NoReturn:
    """Run the commands, and end with a code of exit_codes. Python's own 1 would say that a task failed."""
    _prepare_streams()
    code = exit_codes.OWN_FAULT
    try:
        code = _run(app)
        sys.stdout.flush()
    except BrokenPipeError:
        code = exit_codes.NO_READER
    except OSError as error:  # what was left to print
        code = _tell(*describe_bad_file(error))
    finally:
        _end(code)


def _run(app: Callable[..., object]) -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.TyperException as error:  # wrong usage; its own text has the usage
        _show_usage(error)
        return exit_codes.WRONG
    except typer.Abort as error:
        return _explain_no_answer(error)
    except KeyboardInterrupt:
        print_note("Interrupted.")
        return exit_codes.INTERRUPTED
    except (SystemExit, BrokenPipeError):  # typer makes an exit of a pipe that nobody reads
        return exit_codes.NO_READER
    except OSError as error:
        return _tell(*describe_bad_file(error))
    except UnicodeError as error:
        return _tell(*describe_bad_text(error))
    except Exception as error:  # noqa: BLE001 - a traceback would end with 1, which says that a task failed
        return _tell(*describe_fault(error))


def describe_bad_file(error: OSError) -> tuple[Problem, int]:
    """Describe a local file that cannot be used."""
    name = f"{error.filename}: " if error.filename else ""
    is_missing = isinstance(error, FileNotFoundError)
    problem = Problem(
        title="file error", status=400, key="file_error", detail=f"{name}{error.strerror or error}.",
        next_step="Check the path." if is_missing else "",
    )  # fmt: skip
    return problem, exit_codes.WRONG if is_missing else exit_codes.LOCAL_FILE


def describe_bad_text(error: UnicodeError) -> tuple[Problem, int]:
    """Describe a text that cannot be read or sent: its bytes are not of the encoding."""
    start = getattr(error, "start", None)
    place = "" if start is None else f", at position {start + 1}"  # the text may be a password: it is not shown
    problem = Problem(
        title="not text", status=400, key="bad_text", detail=f"A text that was given is not valid UTF-8{place}.",
        next_step="Give it in UTF-8, or set the locale to one of UTF-8, for example LC_ALL=C.UTF-8.",
    )  # fmt: skip
    return problem, exit_codes.WRONG


def describe_fault(error: Exception) -> tuple[Problem, int]:
    """Describe an error that nobody has foreseen. With MLTM_DEBUG its traceback is printed, too."""
    if os.environ.get("MLTM_DEBUG"):
        traceback.print_exception(error)
    problem = Problem(
        title="fault of mltm", status=500, key="own_fault",
        detail=f"This is a fault of mltm itself: {type(error).__name__}: {error}",
        next_step="Please report it with what you typed. MLTM_DEBUG=1 shows where it happened.",
    )  # fmt: skip
    return problem, exit_codes.OWN_FAULT


def _show_usage(error: typer.TyperException) -> None:
    show = getattr(error, "show", None)
    if show is None:
        print_note(f"mltm: {error.format_message()}")
    else:
        show()


def _explain_no_answer(abort: typer.Abort) -> int:
    if isinstance(abort.__context__, KeyboardInterrupt):
        print_note("Interrupted.")
        return exit_codes.INTERRUPTED
    print_note("mltm: There is nobody to answer, because stdin has ended.")
    print_note("Give a name with --user, and the password with --password-stdin.", indent="  ")
    return exit_codes.WRONG


def _tell(problem: Problem, code: int) -> int:
    print_error(problem, as_json=False)
    return code


def _prepare_streams() -> None:
    """Give every stream that was closed a place to go, and stdout a replacement for what it cannot encode."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free one: this one, as we go in their order
            setattr(sys, name, os.fdopen(descriptor, "r" if number == 0 else "w", encoding="utf-8"))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _end(code: int) -> NoReturn:
    """Exit. What cannot be written any more is dropped: Python would complain, and change the code to 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
