"""A Debian root of another release is entered and left: nothing stays mounted, running or written."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab.cache import find_cache
from lab.errors import LabError
from lab.processes import Process, find_processes, read_proc_file, stop, wait_until
from lab.roots.enter import USER_ID, build_enter_argv, make_writable, run_in_root
from lab.roots.roots import SUITES, ensure_root, find_mirror, missing_for_roots

needs_root = [pytest.mark.root, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def sid() -> Path:
    if message := missing_for_roots():
        if os.environ.get("CI"):
            pytest.fail(message)  # in CI no part may be missing
        pytest.skip(message)
    return ensure_root(SUITES["sid"], find_cache(os.environ))


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that the user inside may reach: pytest's own are their owner's alone."""
    made = Path(tempfile.mkdtemp(prefix="lab-shared-", dir=tmp_path))
    made.chmod(0o755)
    return made


def shell(root: Path, text: str, **options: object) -> int:
    return run_in_root(root, ["bash", "-c", text], **options)  # type: ignore[arg-type] # run_in_root's own names


def find_marked(mark: str) -> list[Process]:
    return find_processes(lambda pid: read_proc_file(pid, "cmdline").startswith(mark.encode()))


class TestInARoot:
    pytestmark = needs_root

    def test_the_exit_code_is_passed_on_and_the_root_is_the_other_release(self, sid: Path) -> None:
        assert shell(sid, "exit 7") == 7
        assert shell(sid, "kill -KILL $$") == 137
        assert shell(sid, "apptainer --version >/dev/null && slurmctld -V | grep -q ' 2[6-9]'") == 0

    def test_folders_of_the_host_are_there_for_reading_or_writing(self, sid: Path, shared: Path) -> None:
        readable, writable = shared / "read", make_writable(shared / "write")
        readable.mkdir()
        (readable / "given").write_text("given")
        text = f"cp {readable}/given {writable}/got; id -u > {writable}/id"

        assert shell(sid, text, read=[readable], write=[writable]) == 0
        assert shell(sid, f"touch {readable}/no", as_user=False, read=[readable]) != 0
        assert (writable / "got").read_text() == "given"
        assert (writable / "id").read_text() == f"{USER_ID}\n"
        assert [path.name for path in readable.iterdir()] == ["given"]

    def test_nothing_stays_mounted_running_or_written(self, sid: Path) -> None:
        mark = f"lab-mark-{os.getpid()}"
        before = Path("/proc/self/mounts").read_text()

        assert shell(sid, f"exec -a {mark} sleep 600 & touch /etc/{mark} /tmp/{mark} /srv/{mark}", as_user=False) == 0

        assert Path("/proc/self/mounts").read_text() == before
        assert find_marked(mark) == []
        assert not [path for folder in ("etc", "tmp", "srv") for path in (sid / folder).glob(mark)]
        assert not Path(f"/tmp/{mark}").exists()

    def test_what_runs_inside_goes_with_whoever_entered(
        self, sid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mark = f"lab-mark-{os.getpid()}-killed"
        code = f"from pathlib import Path; from lab.roots.enter import run_in_root; run_in_root(Path({str(sid)!r}), "
        code += f"['bash', '-c', 'echo up; exec -a {mark} sleep 600'])"
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as entered:
            assert entered.stdout is not None
            assert entered.stdout.readline() == "up\n"
            entered.kill()
        try:
            assert wait_until(lambda: not find_marked(mark), timeout_s=10), find_marked(mark)
        finally:
            stop(find_marked(mark))

        assert [path.name for path in tmp_path.iterdir()] != []
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert shell(sid, "true") == 0
        assert [path.name for path in tmp_path.iterdir()] == []

    def test_nothing_of_the_callers_environment_comes_through_unasked(
        self, sid: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET", "x")
        assert shell(sid, 'test -z "$SECRET" && test "$GIVEN" = yes', environment={"GIVEN": "yes"}) == 0

    def test_signals_are_not_ignored_inside(self, sid: Path) -> None:
        assert shell(sid, "exec sh -c 'kill -INT $$'") == 130
        assert shell(sid, "exec sh -c 'kill -QUIT $$'") == 131

    def test_the_mirror_is_the_one_that_apt_uses(self) -> None:
        shown = subprocess.run(["apt-get", "indextargets"], capture_output=True, text=True, check=True).stdout
        assert find_mirror() in shown


def test_a_path_that_a_mount_option_cannot_hold_is_refused() -> None:
    with pytest.raises(LabError, match="MLTM_CACHE"):
        build_enter_argv(Path("/a:b"), Path("/tmp/x"), ["true"], as_user=True, read=[], write=[])


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_an_ordinary_user_is_told_what_is_left_out_and_ci_leaves_nothing_out(ci: str, code: int) -> None:
    text = (
        "import os, sys; sys.path.insert(0, '.'); os.geteuid = lambda: 1000; "
        "from lab.__main__ import main; sys.exit(main(['root', 'pytest', 'sid', '--', 'x']))"
    )
    env = {"PATH": os.environ["PATH"], "CI": ci}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, env=env)

    assert done.returncode == code
    assert "takes root" in done.stderr
    assert ("left out here" in done.stderr) is (code == 0)
