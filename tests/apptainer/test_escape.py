"""User code that tries every way out of a real Apptainer, over two attempts (escape.py); and each guard taken out.

Planned by the agent's own functions and run by the wrapper as slurmd would, in the task's folder. No Slurm is needed.
A control takes one guard out: then the same script has to get out, or it would prove nothing.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.job.isolation import check_isolation
from agent.job.launch import Launch, plan_launch, write_launch
from agent.job.wrapper import WRAPPER
from agent.settings import AgentSettings
from agent.uplink.outputs import list_outputs, read_output
from lab.processes import wait_until
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from tests.agent.job.planning import BARE, folder_of, make_config, make_settings
from tests.agent.job.running import INTENT, Prepared, started

pytestmark = [pytest.mark.apptainer, pytest.mark.long, pytest.mark.timeout(240)]

SCRIPT = Path(__file__).with_name("escape.py")
SECRET, WRITTEN = "a secret of the test", "written by user code"
OTHER = TaskId("f" * 32)
SHM_KEY, SHM_BYTES = 0x4D4C544D, 4096
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Node:
    """What is on the node beside the task. folder: of the test."""

    folder: Path
    settings: AgentSettings
    shared: Path  # in the node's /tmp
    process: subprocess.Popen[bytes]

    @property
    def owned(self) -> Path:
        """Grows when a program that user code made runs outside of a container."""
        return self.folder / "owned"

    def reads(self) -> dict[str, Path]:
        spool, folder = Spool(self.settings.spool), folder_of(self.settings)
        return {
            "credential": self.settings.credential_file, "record": folder.control / "secret",
            "record of another task": spool.task(OTHER).control / "claim.01",
            "output of another task": spool.task(OTHER).outputs / "model.bin", "log": folder.logs / "a01" / "secret",
            "agent's file": spool.agent / "secret", "key in the home folder": Path.home() / ".escape" / "key",
            "file in /tmp": self.shared, "file in /dev/shm": Path("/dev/shm", self.shared.name),
        }  # fmt: skip

    def writes(self) -> dict[str, Path]:
        spool, folder = Spool(self.settings.spool), folder_of(self.settings)
        return {
            "credential": self.settings.credential_file, "exit record": folder.control / "exit.99",
            "note": spool.notes / "planted", "report": spool.outbox / "planted", "bell": spool.bell / "planted",
            "settings in the home folder": Path.home() / ".escape" / "planted", "log": folder.logs / "planted",
            "output of another task": spool.task(OTHER).outputs / "planted",
        }  # fmt: skip

    def aims(self) -> dict[str, object]:
        return {
            "read": {name: str(path) for name, path in self.reads().items()},
            "write": {name: str(path) for name, path in self.writes().items()},
            "secret": SECRET, "written": WRITTEN, "process": str(self.shared), "shm_key": SHM_KEY,
            "owned": str(self.owned), "socket": str(self.folder / "socket"), "stays": False,
        }  # fmt: skip


@pytest.fixture
def node(sklearn_image: Path, tmp_path: Path) -> Iterator[Node]:
    settings = make_settings(tmp_path, images={"sklearn_sample_latest": sklearn_image})
    spool, folder = Spool(settings.spool), folder_of(settings)
    for path in (*folder.folders, *spool.agent_folders, *spool.task(OTHER).folders, folder.attempt_logs(1)):
        path.mkdir(parents=True, exist_ok=True)
    shared = Path("/tmp", f"mltm-escape-{os.getpid()}")  # that all share it is the point
    with ExitStack() as stack:
        number = stack.enter_context(shared_memory())
        stack.enter_context(listening(tmp_path / "socket"))
        program = [sys.executable, "-c", "import time; time.sleep(200)", str(shared)]
        process = stack.enter_context(subprocess.Popen(program, env={"TOKEN": SECRET}))
        stack.callback(process.kill)
        made = Node(tmp_path, settings, shared, process)
        for path in made.reads().values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SECRET)
        stack.callback((Path("/dev/shm") / shared.name).unlink)
        stack.callback(shared.unlink)
        (folder.input / "entrypoint.py").write_bytes(SCRIPT.read_bytes())
        (folder.input / "aims.json").write_text(json.dumps(made.aims()))
        assert number >= 0
        yield made
        (folder.checkpoint / "stop").touch()


@contextmanager
def shared_memory() -> Iterator[int]:
    """A System V segment of this user, as another task's program may have one."""
    libc.shmat.restype = ctypes.c_void_p
    number = libc.shmget(SHM_KEY, SHM_BYTES, 0o600 | 0o1000)
    address = ctypes.c_void_p(libc.shmat(number, None, 0))
    ctypes.memmove(address, SECRET.encode(), len(SECRET))
    try:
        yield number
    finally:
        libc.shmdt(address)
        libc.shmctl(number, 0, None)


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """A socket as munge has one."""
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(path.parent)
        made.bind(path.name)
        os.chdir(before)
        made.listen()
        yield


Change = Callable[[Node, list[str]], list[str]]


def plan(node: Node, number: int) -> Launch:
    launch = plan_launch(make_config(BARE), folder_of(node.settings), number, node.settings)
    assert isinstance(launch, Launch), launch
    return launch


@contextmanager
def start(node: Node, number: int, launch: Launch, script: Path = WRAPPER) -> Iterator[subprocess.Popen[str]]:
    folder = folder_of(node.settings)
    folder.attempt(number).intent.write_text(INTENT)
    write_launch(launch, folder, number, f"{number}")
    task = Prepared(Spool(node.settings.spool), folder, launch.request.args, script)
    with started(task, PATH=f":.:work:{os.environ['PATH']}") as process:
        yield process


def run_attempt(node: Node, number: int, change: Change, script: Path) -> None:
    folder, launch = folder_of(node.settings), plan(node, number)
    with start(node, number, replace(launch, argv=tuple(change(node, list(launch.argv)))), script) as process:
        _, errors = process.communicate(timeout=100)
    logged = [path.read_text(errors="replace") for path in sorted(folder.attempt_logs(number).glob("out.*"))]
    assert process.returncode == 0, (errors, logged)


def escape(
    node: Node, change: Change = lambda _, argv: argv, script: Path = WRAPPER, attempts: tuple[int, ...] = (1, 2)
) -> set[str]:
    """Run the attempts; everything that user code reached."""
    reached: set[str] = set()
    for number in attempts:
        run_attempt(node, number, change, script)
        reached |= set(json.loads((folder_of(node.settings).outputs / f"reached.{number}.json").read_text()))
    reached |= {f"wrote {name}" for name, path in node.writes().items() if was_written(path)}
    return reached | ({"ran a program of its own"} if node.owned.exists() else set())


def was_written(path: Path) -> bool:
    return path.is_file() and path.read_text(errors="replace") == WRITTEN


def read_kept(node: Node) -> Mapping[str, bytes | None]:
    """Everything below the test's folder that is not the task's own to write."""
    folder = folder_of(node.settings)
    own = (folder.work, folder.outputs, folder.checkpoint, folder.control, folder.logs, Spool(node.settings.spool).bell)
    paths = [path for path in node.folder.rglob("*") if not any(path.is_relative_to(place) for place in own)]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def test_user_code_gets_out_by_no_way_in_two_attempts(node: Node) -> None:
    folder, before = folder_of(node.settings), read_kept(node)
    check_isolation(node.settings, os.environ, is_shared=True)

    assert escape(node) == set()

    assert read_kept(node) == before
    assert node.process.poll() is None
    written = {path.name.partition(".")[0] for path in folder.control.iterdir()}
    assert written == {"intent", "argv", "env", "checks", "params", "started", "claim", "beat", "exit", "secret"}
    assert not list(folder.path.glob("tmp.*"))  # with the folders that user code had closed
    records = [json.loads(folder.attempt(number).exit.read_text()) for number in (1, 2)]
    assert [record["image_started"] for record in records] == [True, True]


def test_what_user_code_leaves_in_its_outputs_neither_stops_the_agent_nor_hands_out_a_file(node: Node) -> None:
    folder = folder_of(node.settings)
    escape(node)

    listing = list_outputs(folder)

    assert {"reached.1.json", "reached.2.json"} <= {file.path for file in listing.files}
    assert {"pipe", "link", "socket", "two\nlines"}.isdisjoint({file.path for file in listing.files})
    assert not [file.path for file in listing.files if file.path.startswith("folder-link")]
    for name in ("pipe", "link", "socket", "folder-link/credential", "../control/secret"):
        with pytest.raises(OSError, match=r"not|link|No such"):
            read_output(folder, name, 0, 100)


def without(option: str) -> Change:
    return lambda _, argv: [item for item in argv if item != option]


def with_bind(argv: list[str], bind: str) -> list[str]:
    return [*argv[:2], "--bind", bind, *argv[2:]]


def temporary_in_work(node: Node, argv: list[str]) -> list[str]:
    """As it was once: /tmp was a folder in the work folder, and stayed."""
    place = folder_of(node.settings).work / ".tmp"
    place.mkdir(exist_ok=True)
    argv[argv.index("--workdir") + 1] = str(place)
    return argv


def bind_whole_spool(node: Node, argv: list[str]) -> list[str]:
    return with_bind(argv, str(node.settings.spool))


def bind_folder_of_socket(node: Node, argv: list[str]) -> list[str]:
    return with_bind(argv, str(node.folder / "socket"))


CONTROLS: list[tuple[str, Change, set[str]]] = [
    ("no --pid", without("--pid"), {"saw a process", "signalled a process", "left a process behind"}),
    ("no --ipc", without("--ipc"), {"read shared memory"}),
    ("no --contain", without("--contain"), {"read file in /tmp", "read file in /dev/shm"}),
    ("/tmp in the work folder", temporary_in_work, {"read credential", "wrote credential", "wrote exit record"}),
    (
        "a bind of the spool", bind_whole_spool,
        {"read record of another task", "wrote output of another task", "wrote exit record", "read agent's file"},
    ),
    ("a bind of a socket", bind_folder_of_socket, {"connected to a socket"}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [each[1:] for each in CONTROLS], ids=[each[0] for each in CONTROLS])
def test_without_a_guard_the_same_script_gets_out(node: Node, change: Change, expected: set[str]) -> None:
    # After one attempt with the spool, a link is in the place of a folder of the next: that is refused by itself.
    reached = escape(node, change, attempts=(1,) if change is bind_whole_spool else (1, 2))

    assert expected <= reached


def test_without_its_guards_the_wrapper_runs_a_program_of_user_code(node: Node, tmp_path: Path) -> None:
    script, text = tmp_path / "wrapper.sh", WRAPPER.read_text()
    for guard in ("  clean_path\n", "else cd /; fi"):
        assert text.count(guard) == 1
    script.write_text(text.replace("  clean_path\n", "").replace("else cd /; fi", 'else cd -- "$folder/work"; fi'))
    script.chmod(0o755)

    assert "ran a program of its own" in escape(node, script=script)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_process_that_was_left_ends_with_its_attempt(node: Node, is_killed: bool) -> None:
    folder = folder_of(node.settings)
    (folder.input / "aims.json").write_text(json.dumps({**node.aims(), "stays": is_killed}))
    launch = plan(node, 1)

    with start(node, 1, launch) as process:
        if is_killed:
            assert wait_until(lambda: is_locked(folder.checkpoint / "lock"), timeout_s=60)
            process.kill()
        process.communicate(timeout=60)

        assert (folder.checkpoint / "lock").exists()
        assert wait_until(lambda: not is_locked(folder.checkpoint / "lock"), timeout_s=15)
    assert process.returncode == (-signal.SIGKILL if is_killed else 0)


def is_locked(path: Path) -> bool:
    return path.exists() and subprocess.run(["flock", "--nonblock", str(path), "true"], check=False).returncode != 0


def test_an_image_that_is_a_folder_stays_as_it_is(node: Node, sklearn_image: Path) -> None:
    """It belongs to the agent's user, so only the runtime keeps user code from writing to it."""
    image = node.folder / "images" / "folder"
    command = ["apptainer", "build", "--sandbox", str(image), str(sklearn_image)]
    subprocess.run(command, check=True, capture_output=True)
    before = {path: path.lstat().st_ctime_ns for path in image.rglob("*")}
    changed = replace(node, settings=node.settings.model_copy(update={"images": {"sklearn_sample_latest": image}}))

    assert escape(changed) == set()
    assert {path: path.lstat().st_ctime_ns for path in image.rglob("*")} == before
