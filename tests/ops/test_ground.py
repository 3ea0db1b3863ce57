"""`mltm-agent check` finds out whether the spool's folder can be trusted, and notices one that cannot."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.check.folder import judge_node, judge_race, judge_visibility, judge_watching
from agent.check.measurements import Race
from agent.check.node_race import NodeRace
from agent.settings import Waits
from lab.slurm.layout import Lab
from tests.ops.agent_process import AgentSite

pytestmark = pytest.mark.timeout(90)
# Faults of a file system, put in the place of the call in a process of its own.
REPLACES = "os.link = lambda a, b, **_: shutil.copyfile(a, b)"
REFUSES = "def refuse(*_, **__): raise PermissionError(1, 'Operation not permitted')\nos.link = refuse"
HIDES = "old = os.listdir\nos.listdir = lambda p='.': [n for n in old(p) if not n.startswith('change')]"
# This host believes that it has won, whatever was decided.
DISAGREES = """
from mltm.runtime import files
made = files.link_once
def link_once(path, data, *others):
    decided = made(path, data, *others)
    return data if data == b"host" else decided
files.link_once = link_once
"""
HALF_WINS = """
old = os.link
def link(a, b, **_):
    if os.getpid() % 2: return old(a, b)
    try: os.unlink(b)
    except OSError: pass
    return old(a, b)
os.link = link
"""


def check(site: AgentSite, fault: str = "", *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = f"import os, shutil\n{fault}\nfrom agent.cli import main\nmain()"
    argv = [sys.executable, "-c", code, *site.argv("check")[1:], *options]
    env = {**os.environ, "PATH": "/nowhere", "COLUMNS": "200", **variables}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert list((site.spool / "agent").glob("check.*")) == []
    return done


def read_line(done: subprocess.CompletedProcess[str], what: str) -> str:
    (line,) = [line for line in done.stdout.splitlines() if re.match(rf"\w+ +{what}: ", line)]
    return line


@pytest.fixture
def site(tmp_path: Path) -> AgentSite:
    return AgentSite(tmp_path)


def test_a_good_folder_can_be_trusted(site: AgentSite) -> None:
    said = check(site, "", "--processes=64", "--claims=30")

    assert read_line(said, "claims") == "ok    claims: 30 claims raced by 64 processes, exactly one winner each"
    assert read_line(said, "visibility").startswith("ok ")
    assert read_line(said, "watching").startswith("ok ")
    assert f"{site.spool} can be trusted on this host; --with-job" in read_line(said, "folder")


@pytest.mark.parametrize("fault", [REPLACES, HALF_WINS])
def test_a_link_that_replaces_is_noticed(site: AgentSite, fault: str) -> None:
    said = check(site, fault, "--processes=16", "--claims=30")

    assert re.search(r"FAIL +claims: \d+ of \d+ claims .* a task could start twice", said.stdout)
    assert "Set a spool on another file system" in read_line(said, "claims")
    assert f"FAIL  folder: {site.spool} cannot be trusted: see claims above." in said.stdout
    assert said.returncode == 1


def test_a_folder_where_nothing_can_be_linked_is_noticed(site: AgentSite) -> None:
    check(site)  # makes the spool: without its id no folder could be tried

    said = check(site, REFUSES, "--processes=4", "--claims=3")

    assert read_line(said, "claims").startswith("FAIL ")
    assert "cannot be trusted" in read_line(said, "folder")


def test_a_folder_that_hides_what_others_make_is_noticed(site: AgentSite) -> None:
    said = check(site, HIDES, "--processes=4", "--claims=30")

    assert read_line(said, "claims").startswith("ok ")
    assert read_line(said, "visibility").startswith("FAIL ")
    assert "cannot be trusted: see visibility above" in read_line(said, "folder")


@pytest.mark.parametrize(("race", "grade"), [
    (Race(64, 100, 0), "ok"), (Race(64, 100, 1), "FAIL"), (Race(64, 0, 0, "Operation not permitted"), "FAIL"),
    (Race(64, 19, 0), "warn"),
])  # fmt: skip
def test_one_winner_each_is_the_least(race: Race, grade: str) -> None:
    assert judge_race(race).grade == grade


@pytest.mark.parametrize(("delay_s", "grade"), [(0.0, "ok"), (60.0, "ok"), (61.0, "FAIL"), (None, "FAIL")])
def test_the_wait_for_an_exit_record_has_to_be_twice_the_delay(delay_s: float | None, grade: str) -> None:
    assert judge_visibility(delay_s, Waits().look_again_s).grade == grade


@pytest.mark.parametrize(("kind", "hears", "is_used", "grade"), [
    ("ext4", True, True, "ok"), ("ext4", False, True, "warn"), ("nfs4", False, False, "ok"), ("", True, False, "ok"),
])  # fmt: skip
def test_an_inotify_that_hears_nothing_is_told(kind: str, grade: str, *, hears: bool, is_used: bool) -> None:
    assert judge_watching(kind, hears=hears, is_used=is_used).grade == grade


@pytest.mark.slurm
@pytest.mark.parametrize(("fault", "grade"), [("", "ok"), (DISAGREES, "FAIL")])
def test_a_compute_node_is_raced_when_asked_for(site: AgentSite, slurm_lab: Lab, fault: str, grade: str) -> None:
    slurm = {**slurm_lab.env, "PATH": os.environ["PATH"]}

    said = check(site, fault, "--processes=2", "--claims=20", "--with-job", **slurm)

    assert read_line(said, "node claims").startswith(f"{grade} ")
    assert ("can be trusted by this host and its compute nodes" in said.stdout) is (grade == "ok")


@pytest.mark.slurm
def test_a_node_that_cannot_be_raced_is_told(site: AgentSite, slurm_lab: Lab) -> None:
    slurm = {**slurm_lab.env, "PATH": os.environ["PATH"]}

    said = check(site, "", "--processes=2", "--claims=20", "--with-job", "--partition=nowhere", **slurm)

    assert "invalid partition" in read_line(said, "node").lower()
    assert "Give --partition and --account" in read_line(said, "node")
    assert said.returncode == 1


@pytest.mark.parametrize(("torn", "round_trip_s", "grades"), [
    (0, 0.1, ["ok", "ok"]), (1, 0.1, ["FAIL"]), (0, 90, ["ok", "FAIL"]),
])  # fmt: skip
def test_both_sides_have_to_agree(torn: int, round_trip_s: float, grades: list[str]) -> None:
    found = judge_node(NodeRace(40, torn, 20, round_trip_s), Waits().look_again_s)

    assert [finding.grade for finding in found] == grades
