"""`python -m lab.demo`, as `make demo`, `demo-up` and `demo-down` run it, in a folder and at a port of its own."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.demo.parts import build_image
from lab.demo.place import Place, find_process
from lab.processes import find_processes, read_proc_file, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What takes longest, made once: the Python environment of the task's image."""
    place = Place(CHECKOUT, tmp_path_factory.mktemp("image"))
    build_image(place)
    return place.image


class Demo:
    """A demo of the test's own."""

    def __init__(self, folder: Path, image: Path, kind: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.place, self.kind = Place(CHECKOUT, folder / "demo", port), kind
        self.place.root.mkdir(mode=0o700)
        self.place.image.symlink_to(image)

    def do(self, *arguments: str) -> str:
        """Run a command of the demo; it must not fail. What it printed."""
        # Not what another demo was told: make test-fresh names a port for its own.
        named = {name: value for name, value in os.environ.items() if not name.startswith("DEMO_")}
        named["DEMO_DIR"] = str(self.place.root)
        if arguments != ("down",):  # that is told neither the port nor which Slurm was used
            named |= {"DEMO_PORT": str(self.place.port), "DEMO_SLURM": self.kind}
        done = subprocess.run(
            [sys.executable, "-m", "lab.demo", *arguments],
            cwd=CHECKOUT, env=named, capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line of a person's shell that has sourced the demo's environment."""
        script = f"source {shlex.quote(str(self.place.env))}; {line}"
        return subprocess.run(
            ["bash", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=100
        )

    def submit(
        self, name: str, script: str, *, account: str = "twinscie", more: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Submit a script of the test's own."""
        config = json.loads((CHECKOUT / "examples" / "wine" / "config.json").read_text())
        config["clusters"]["atena02"]["infra_config"]["account"] = account
        config["script_path"] = f"{name}.py"
        sent = self.place.root / f"{name}.json", self.place.root / f"{name}.py"
        for path, text in zip(sent, (json.dumps(config), f"{script}\n"), strict=True):
            path.write_text(text)
        return self.shell(shlex.join(["mltm", "submit", *map(str, sent), *more.split()]))

    def pids(self) -> dict[str, int]:
        """The processes that run, by part, as their files say."""
        running = [part for part in ("gateway", "agent") if find_process(self.place, part)]
        return {part: int((self.place.root / f"{part}.pid").read_text()) for part in running}

    def left(self) -> list[int]:
        """Every process that has anything to do with this demo."""
        mark = os.fsencode(self.place.root)
        found = find_processes(lambda pid: mark in read_proc_file(pid, "cmdline") + read_proc_file(pid, "environ"))
        return [process.pid for process in found]


@pytest.fixture
def demo(tmp_path: Path, image: Path, request: pytest.FixtureRequest) -> Iterator[Demo]:
    made = Demo(tmp_path, image, request.param)
    yield made
    made.do("down")


@pytest.mark.parametrize("demo", ["standin"], indirect=True)
def test_the_demo_runs_twice_comes_up_again_and_goes_without_a_trace(demo: Demo) -> None:
    assert re.search(r"The model's accuracy: 0\.\d", demo.do())
    first = demo.pids()
    assert sorted(first) == ["agent", "gateway"]
    assert all(f"mltm-{part}".encode() in read_proc_file(pid, "cmdline") for part, pid in first.items())
    assert demo.place.env.stat().st_mode & 0o777 == 0o600
    named = dict(re.findall(r"(?m)^export (\w+)='([^']*)'", demo.place.env.read_text()))
    assert named["MLTM_URL"] == demo.place.url
    assert named.keys() >= {"MLTM_TOKEN", "MLTM_USER", "MLTM_PASSWORD", "MLTM_SPOOL", "SLURM_CONF", "PATH"}

    assert "succeeded" in demo.do()
    assert demo.pids() == first
    tasks = json.loads(demo.shell("mltm list --json").stdout)["tasks"]
    assert [task["state"] for task in tasks] == ["succeeded", "succeeded"]

    os.kill(first["agent"], signal.SIGKILL)
    assert wait_until(lambda: "agent" not in demo.pids(), timeout_s=10)
    assert f"up at {demo.place.url}/docs; `source {demo.place.env}` to use it" in demo.do("up")
    again = demo.pids()
    assert again["gateway"] == first["gateway"]
    assert again["agent"] != first["agent"]

    refused = demo.submit("wrong", "", account="nobody", more="--wait")
    assert refused.returncode == 4
    assert "account" in refused.stderr
    assert "twinscie" in refused.stderr

    task_id = demo.submit("long", "import time; time.sleep(600)").stdout.strip()
    assert wait_until(lambda: "running" in demo.shell(f"mltm status {task_id}").stdout, timeout_s=60, pause_s=0.5)
    assert "the agent is stopped" in demo.do("down")
    assert demo.left() == []
    assert "`make demo-up` starts it" in demo.shell("mltm --patience 0 list").stderr
    assert demo.do("down") == "demo: Slurm is down\n"


@pytest.mark.slurm
@pytest.mark.parametrize("demo", ["lab"], indirect=True)
def test_the_demo_runs_on_a_real_slurm_and_goes_without_a_trace(demo: Demo) -> None:
    assert re.search(r"The model's accuracy: 0\.\d", demo.do())
    assert demo.shell("squeue --noheader").returncode == 0
    demo.do("down")
    assert demo.left() == []
