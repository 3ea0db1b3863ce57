"""What is planned for a task: the command, its variables, what Slurm is asked for, and the files of it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from agent.job.container import build_container_argv, check_bind_paths, rename_variables
from agent.job.environment import params_path
from agent.job.launch import Refusal, write_launch
from agent.job.wrapper import WRAPPER, WrapperSettings, build_wrapper_args
from tests.agent.job.planning import SEED, TASK, folder_of, make_config, make_settings, plan


def test_the_seed_config_without_an_image_runtime(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    settings = make_settings(tmp_path, runtime="none", images={"sklearn_sample_latest": python})
    folder, dataset = folder_of(settings), tmp_path / "datasets" / "wine_classification.csv"

    launch = plan(make_config(SEED), settings)

    script = str(folder.input / "entrypoint.py")
    assert launch.argv == (str(python), script, f"--input_path={dataset}", f"--output_path={folder.outputs}")
    assert launch.checks == (Path(script), params_path(folder, 1), python, dataset)
    assert launch.folders == ()
    assert json.loads(launch.params) == {"n_estimators": 2, "random_state": 42}
    assert set(launch.env) == {
        f"MLTM_TASK_ID={TASK}",
        "MLTM_ATTEMPT=1",
        f"MLTM_DATASET={dataset}",
        f"MLTM_INPUT_DIR={folder.input}",
        f"MLTM_OUTPUT_DIR={folder.outputs}",
        f"MLTM_CHECKPOINT_DIR={folder.checkpoint}",
        f"MLTM_PARAMS={params_path(folder, 1)}",
        "PYTHONUNBUFFERED=1",
        f"MLFLOW_TRACKING_URI={folder.outputs}/experiments",
        "MLFLOW_ALLOW_FILE_STORE=true",
        "MLFLOW_EXPERIMENT_NAME=atena_test",
    }


def test_what_slurm_is_asked_for_holds_no_user_text(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    folder = folder_of(settings)

    request = plan(make_config(SEED, warn_before_end_s=120), settings).request

    assert (request.job_name, request.partition, request.account) == (f"mltm-{TASK}-a01", "cpu", "twinscie")
    assert (request.script, request.chdir, request.output) == (WRAPPER, folder.path, folder.control / "slurm.01.out")
    assert request.warn_before_end_s == 120
    assert request.args[:5] == (str(settings.spool), TASK, "01", "1", "1")


def test_the_wrapper_leaves_the_code_two_thirds_of_the_sites_kill_wait(tmp_path: Path) -> None:
    request = plan(make_config(SEED), make_settings(tmp_path, slurm={"kill_wait_s": 60})).request

    assert request.args[9:] == ("40.000", "5.000", "600")


def test_wrapper_arguments_count_the_log_in_whole_pieces() -> None:
    settings = WrapperSettings(
        has_image=False, warns=False, log_head_bytes=1, log_tail_bytes=(1 << 20) + 1, beat_stop_s=0.2
    )
    args = build_wrapper_args(Path("/s"), TASK, 7, settings)

    assert args == ("/s", TASK, "07", "0", "0", "1", "2", "30.000", "1", "20.000", "5.000", "600")


def test_the_image_gets_the_tasks_folders_and_no_record(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, binds=["/scratch:/scratch"])
    folder, dataset = folder_of(settings), tmp_path / "datasets" / "wine_classification.csv"
    image = tmp_path / "images" / "sklearn_sample_latest.sif"

    launch = plan(make_config(SEED, resources={"gpus": 1}), settings)

    argv = list(launch.argv)
    assert argv[:2] == ["apptainer", "exec"]
    assert "--nv" in argv
    assert argv[argv.index("--home") + 1] == f"{folder.work}:{folder.work}"
    binds = [argv[place + 1] for place, item in enumerate(argv) if item == "--bind"]
    params, marker = params_path(folder, 1), folder.control / "started.01"
    assert binds == [
        *(f"{path}:{path}:ro" for path in (folder.input, params)),
        *(f"{path}:{path}" for path in (folder.outputs, folder.checkpoint, marker)),
        f"{dataset}:{dataset}:ro",
        "/scratch:/scratch",
    ]
    inside = argv[argv.index(str(image)) + 1 :]
    assert inside[:2] == ["/bin/sh", "-c"]
    assert inside[3:5] == ["mltm", str(marker / "image")]
    names, command = inside[5 : inside.index("--")], inside[inside.index("--") + 1 :]
    assert command[:2] == ["python3", str(folder.input / "entrypoint.py")]
    assert [item.partition("=")[0] for item in launch.env] == [f"MLTMENV_{name}" for name in names]
    assert {image, dataset, marker} <= set(launch.checks)


@pytest.mark.parametrize(("gpus", "gpu_flag", "has_flag"), [(1, True, True), (1, False, False), (0, True, False)])
def test_nv_is_for_tasks_with_gpus_at_sites_that_want_it(
    tmp_path: Path, gpus: int, gpu_flag: bool, has_flag: bool
) -> None:
    settings = make_settings(tmp_path, runtime="singularity", gpu_flag=gpu_flag)

    launch = plan(make_config(SEED, resources={"gpus": gpus}), settings)

    assert launch.argv[0] == "singularity"
    assert ("--nv" in launch.argv) is has_flag


def test_the_marker_is_made_and_values_and_arguments_stay_what_they_are(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    folder = folder_of(settings)
    (folder.control / "started.01").mkdir(parents=True)
    argv = build_container_argv(
        settings, folder, 1, image=Path("/i.sif"), dataset=None, with_gpus=False, names=["ODD", "UID", "LAST"],
        command=["printenv", "--null", "ODD", "LAST", "MLTMENV_ODD", "$(touch x)", "'"],
    )  # fmt: skip
    odd = " a'\"`$(touch x) $HOME\\\n"
    env = {**os.environ, **rename_variables({"ODD": odd, "UID": "1", "LAST": "1"}), "ODD": "the image's own"}

    shown = subprocess.run(
        argv[argv.index("/i.sif") + 1 :], check=False, capture_output=True, text=True, env=env, cwd=tmp_path
    )

    assert shown.stdout.split("\0") == [odd, "1", ""]
    assert not (tmp_path / "x").exists()
    assert (folder.control / "started.01" / "image").exists()


@pytest.mark.parametrize("path", ["/a:b", "/a,b", '/a"b', "/a\\b", "/a\nb"])
def test_a_path_that_would_be_read_as_a_bind_option_is_refused(path: str) -> None:
    refusal = check_bind_paths([Path("/fine"), Path(path)])

    assert isinstance(refusal, Refusal)
    assert repr(path) in refusal.message


def test_written_files_are_private_and_repeatable(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    folder = folder_of(settings)
    folder.control.mkdir(parents=True)
    launch = plan(make_config(SEED, env={"A": "b\nc"}), settings)

    for nonce in ("1", "1", "2"):
        write_launch(launch, folder, 1, nonce)

    records = folder.attempt(1)
    assert records.argv.read_bytes().split(b"\0") == [*(item.encode() for item in launch.argv), b""]
    assert b"MLTMENV_A=b\nc\0" in records.env.read_bytes()
    assert records.checks.read_bytes().split(b"\0")[:-1] == [str(path).encode() for path in launch.checks]
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.control.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(["argv.01", "env.01", "checks.01", "params.01.json"], 0o600)
    assert (folder.control / "started.01").is_dir()
    assert folder.attempt_tmp(1).is_dir()
    assert {folder.control / "started.01", folder.attempt_tmp(1)} <= set(launch.checks)


@pytest.mark.parametrize("name", ["tmp.01", "control/started.01"])
def test_a_link_in_the_place_of_an_attempts_own_folder_is_not_used(tmp_path: Path, name: str) -> None:
    settings = make_settings(tmp_path)
    folder, elsewhere = folder_of(settings), tmp_path / "elsewhere"
    for path in (folder.control, elsewhere):
        path.mkdir(parents=True)
    (folder.path / name).symlink_to(elsewhere)
    launch = plan(make_config(SEED), settings)

    with pytest.raises(NotADirectoryError, match="not a folder; move it away"):
        write_launch(launch, folder, 1, "1")

    assert not folder.attempt(1).argv.exists()


def test_an_attempt_that_an_older_version_planned_is_planned_again(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    folder = folder_of(settings)
    for path in (folder.control / "started.01", folder.work / ".tmp" / "tmp"):
        path.mkdir(parents=True)
    launch = plan(make_config(SEED), settings)

    write_launch(launch, folder, 1, "1")

    assert list(launch.folders) == [folder.control / "started.01", folder.attempt_tmp(1)]
    assert all(path.is_dir() for path in launch.folders)
    assert (folder.work / ".tmp" / "tmp").is_dir()  # a copy may be running in it
