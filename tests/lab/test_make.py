"""`make test`: the programs that it calls are small scripts here."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.programs import write_program

CHECKOUT = Path(__file__).resolve().parents[2]
PARTS = ["python -m lab install", "pytest", "python -m lab root pytest sid --"]


def make_test(folder: Path, *, fails: str = "nothing", how: str = "exit 1") -> tuple[int, str, list[str]]:
    """Run it where calls that have this word in them fail: the exit code, what was said, which parts were begun."""
    ready, calls = folder / "ready", folder / "calls"
    for name in ("python", "pytest"):
        write_program(folder / "bin", name, f'echo "{name} $*" >>{calls}\ncase "$*" in *{fails}*) {how} ;; esac')
    ready.touch()
    argv = ["make", "--no-print-directory", "-C", str(CHECKOUT), "test", f"BIN={folder / 'bin'}", f"READY={ready}"]
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, start_new_session=True)
    begun = [line.split(" -n ")[0] for line in calls.read_text().splitlines()]
    return done.returncode, done.stdout + done.stderr, begun


def test_all_parts_are_run(tmp_path: Path) -> None:
    code, said, parts = make_test(tmp_path)

    assert (code, parts, "failed" in said) == (0, PARTS, False)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("install", "installing what the tests need"),
        ("not?apptainer", "the tests on this machine"),
        ("sid", "the tests with Apptainer"),
        ("", "installing what the tests need, the tests on this machine, the tests with Apptainer"),
    ],
)
def test_a_part_that_fails_stops_no_other_and_is_named_at_the_end(tmp_path: Path, word: str, named: str) -> None:
    code, said, parts = make_test(tmp_path, fails=word)

    assert (code, parts) == (2, PARTS)
    assert f"make test: failed: {named}.\n" in said


def test_whoever_interrupts_one_part_gets_no_other(tmp_path: Path) -> None:
    code, _, parts = make_test(tmp_path, fails="not?apptainer", how="kill -INT $PPID; exit 2")

    assert (code, parts) == (2, PARTS[:2])
