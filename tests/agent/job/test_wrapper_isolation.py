"""What the wrapper does outside of the container uses nothing that user code left in an earlier attempt."""

import os
import subprocess
from pathlib import Path

import pytest

from mltm.contract.journal_records import Exit
from tests.agent.job.running import Prepared, prepare, read_exit, run, write_list

USED = ("apptainer", "bash", "chmod", "date", "dd", "ln", "mkdir", "rm", "sleep", "stat", "sync", "touch", "wc")


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run_in_its_folder(task: Prepared, path: str) -> int:
    """As slurmd does: the current folder is the task's."""
    environment = {**os.environ, "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "PATH": path}
    return subprocess.run(
        [str(task.script), *task.args], cwd=task.folder.path, env=environment, check=False, timeout=25
    ).returncode


@pytest.mark.parametrize("part", ["", ".", "work", "./work/", "../../tasks/{task}/work", "work/bin"])
def test_no_program_is_taken_from_a_folder_that_only_the_current_folder_names(tmp_path: Path, part: str) -> None:
    task = prepare(tmp_path / "spool", "", has_image=True)
    write_program(tmp_path / "bin" / "apptainer", f"pwd >{tmp_path}/right")
    for folder in (task.folder.work, task.folder.work / "bin"):
        for name in USED:
            write_program(folder / name, f'echo "$0" >>{tmp_path}/wrong; exec /usr/bin/{name} "$@"')
    write_list(task.records.argv, ["apptainer"])
    first = part.format(task=task.folder.task_id)

    code = run_in_its_folder(task, f"{first}:{tmp_path}/bin:{os.environ['PATH']}")

    assert not (tmp_path / "wrong").exists(), (tmp_path / "wrong").read_text()
    assert (code, (tmp_path / "right").read_text()) == (0, "/\n")  # nor does Apptainer start where user code wrote


def test_a_path_without_a_whole_part_gives_the_usual_one(tmp_path: Path) -> None:
    task = prepare(tmp_path, "import os; print(os.environ['PATH'])")

    assert run_in_its_folder(task, "bin:.:") == 0

    assert (task.folder.attempt_logs(1) / "out.000000").read_text() == "/usr/local/bin:/usr/bin:/bin\n"


@pytest.mark.parametrize("target", ["/", "/no/such/place"])
def test_a_link_in_the_place_of_the_marker_does_not_tell_what_exists_outside(tmp_path: Path, target: str) -> None:
    task = prepare(tmp_path, "", has_image=True)
    (task.folder.control / "started.01").mkdir()
    (task.folder.control / "started.01" / "image").symlink_to(target)

    assert run(task) == 0

    found: Exit = read_exit(task)
    assert found.image_started is True
