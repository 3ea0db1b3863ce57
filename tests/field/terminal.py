"""A command on a terminal of its own: what it shows, and what a person types."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

__all__ = ["run_on_terminal"]


def run_on_terminal(
    argv: Sequence[str], env: Mapping[str, str], answers: Sequence[tuple[str, bytes]]
) -> tuple[int, str]:
    """Run argv with a terminal as stdin, stdout and stderr. Type each answer when its question stands there.

    Returns the exit code and all that was shown.
    """
    ours, theirs = pty.openpty()
    # The leader of a session gets the first terminal that it opens as its own: so Ctrl-C reaches it.
    whole = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs), *argv]
    program = subprocess.Popen(whole, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    shown, waiting, until = "", list(answers), time.monotonic() + 30
    try:
        while time.monotonic() < until:
            if not select.select([ours], [], [], 0.1)[0]:
                if program.poll() is not None:
                    break
                continue
            data = os.read(ours, 65536)
            shown += data.decode(errors="replace")
            if waiting and waiting[0][0] in shown:
                os.write(ours, waiting.pop(0)[1])
        return program.wait(timeout=10), shown
    finally:
        program.kill()
        program.wait()
        os.close(ours)
        os.close(theirs)
