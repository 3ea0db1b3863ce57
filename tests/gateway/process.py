"""The command `mltm-gateway serve` as a process of its own."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass
class Server:
    """A gateway that has started, and the address that it says it has."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    url: str = ""

    def wait_for(self, message: str) -> str:
        """Read its output up to the line with these words; the test's time limit is the deadline."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if message in line:
                return line
        raise AssertionError("".join(self.lines))

    def read_rest(self) -> str:
        """What it still says until it ends."""
        assert self.process.stdout is not None
        return self.process.stdout.read()


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Serve for the length of the block."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    argv = [str(BIN / "mltm-gateway"), "serve", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True) as process:
        try:
            server = Server(process)
            found = re.search(r'"url": "([^"]+)"', server.wait_for("gateway_started"))
            assert found is not None
            server.url = found[1]
            yield server
        finally:
            process.kill()
