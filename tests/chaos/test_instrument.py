"""A plan strikes once, where it is meant, before or after the effect."""

import dataclasses
import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from agent.job.wrapper import WRAPPER
from chaos.faults.plan import Plan, build_plans, fired_path, plan_path, read_victim, set_plan, take_back
from chaos.faults.points import NEVER_RETURN, POINTS
from chaos.product.instrument import arm, render_wrapper
from lab.processes import wait_until
from mltm.runtime import files
from tests.agent.job import running

REPLACE = next(point for point in POINTS if point.name == "agent.file-replace")
CLAIM = next(point for point in POINTS if point.name == "wrapper.take_claim")
FORKS = get_context("fork")


def write_armed(folder: Path) -> None:
    arm("agent", folder)
    for name in ("one", "two"):
        try:
            files.replace(folder / name, b"whole", "0" * 32)
        except OSError:
            (folder / f"{name}.failed").touch()


def run_armed(folder: Path, plan: Plan) -> int | None:
    set_plan(folder, plan)
    process = FORKS.Process(target=write_armed, args=(folder,))
    process.start()
    process.join(30)
    return process.exitcode


@pytest.mark.parametrize(
    ("when", "act", "exit_code", "left"),
    [
        ("before", "kill", -signal.SIGKILL, []),
        ("after", "kill", -signal.SIGKILL, ["one"]),
        ("before", "fail", 0, ["one.failed", "two"]),
        ("after", "fail", 0, ["one", "one.failed", "two"]),
    ],
)
def test_a_plan_strikes_once_at_its_point(tmp_path: Path, when: str, act: str, exit_code: int, left: list[str]) -> None:
    plan = Plan(REPLACE, when, act)  # type: ignore[arg-type] # a table's words

    assert run_armed(tmp_path, plan) == exit_code
    assert sorted(path.name for path in tmp_path.iterdir() if "agent." not in path.name) == left
    assert read_victim(tmp_path, plan) is not None
    assert not take_back(tmp_path, plan)


def wait_until_stopped(pid: int) -> None:
    assert wait_until(lambda: "State:\tT" in Path(f"/proc/{pid}/status").read_text(encoding="ascii"), timeout_s=30)


def test_who_is_stopped_at_a_point_goes_on_from_there(tmp_path: Path) -> None:
    set_plan(tmp_path, Plan(REPLACE, "before", "stop"))
    process = FORKS.Process(target=write_armed, args=(tmp_path,))
    process.start()
    assert process.pid is not None
    wait_until_stopped(process.pid)

    assert [path.name for path in tmp_path.iterdir() if "agent." not in path.name] == []
    os.kill(process.pid, signal.SIGCONT)
    process.join(30)
    assert process.exitcode == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "agent." not in path.name) == ["one", "two"]


def prepare_armed(folder: Path) -> running.Prepared:
    """A task whose wrapper looks for plans in `folder`."""
    script = folder / "wrapper.sh"
    script.write_text(render_wrapper(WRAPPER.read_text(encoding="utf-8"), folder), encoding="utf-8")
    script.chmod(0o755)
    return dataclasses.replace(running.prepare(folder / "spool", "print('hello')"), script=script)


def test_a_wrapper_that_is_stopped_at_a_point_goes_on_from_there(tmp_path: Path) -> None:
    task = prepare_armed(tmp_path)
    set_plan(tmp_path, Plan(CLAIM, "before", "stop"))
    with running.started(task) as process:
        wait_until_stopped(process.pid)
        assert not task.records.claim.exists()
        process.send_signal(signal.SIGCONT)

        assert running.finish(process) == 0
    assert running.read_exit(task).code == 0


def test_the_wrapper_dies_at_its_point_and_says_whose_it_was(tmp_path: Path) -> None:
    task = prepare_armed(tmp_path)
    plan = Plan(CLAIM, "after", "kill")
    set_plan(tmp_path, plan)

    assert running.run(task) == -signal.SIGKILL
    assert read_victim(tmp_path, plan) == task.folder.task_id
    assert task.records.claim.exists()
    assert not task.records.exit.exists()


def test_the_wrapper_with_points_and_no_plan_is_the_wrapper(tmp_path: Path) -> None:
    task = prepare_armed(tmp_path)

    assert running.run(task) == 0
    assert running.read_exit(task).code == 0
    assert running.read_log(task) == b"hello\n"


def test_a_seed_decides_the_order_and_every_outcome_is_planned() -> None:
    plans = build_plans(7, 1)

    assert plans == build_plans(7, 1)
    assert plans != build_plans(8, 1)
    for point in POINTS:
        outcomes = {(plan.when, plan.act) for plan in plans if plan.point == point}
        wanted = {("before", "kill"), ("after", "kill")}
        if point.role != "wrapper":
            wanted |= {("before", "fail"), ("after", "fail")}
        if point.name in NEVER_RETURN:
            wanted -= {("after", "kill")}
        assert outcomes == wanted


def test_setting_a_plan_forgets_that_it_struck_before(tmp_path: Path) -> None:
    plan = Plan(REPLACE, "before", "kill")
    set_plan(tmp_path, plan)
    plan_path(tmp_path, REPLACE.name, "before").rename(fired_path(tmp_path, REPLACE.name, "before", "1"))
    set_plan(tmp_path, plan)

    assert read_victim(tmp_path, plan) is None
    assert take_back(tmp_path, plan)
