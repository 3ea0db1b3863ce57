"""Tasks in a real image, by a real Apptainer, in real Slurm jobs: what they get, what they cannot reach, how they end.

All are submitted at once; each test is a claim on one of them.
"""

import json
import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lab.slurm.daemons import run_client
from lab.slurm.layout import Lab
from tests.e2e.house import SEED, House, wait_until

pytestmark = [pytest.mark.apptainer, pytest.mark.long, pytest.mark.timeout(420)]
WINE = Path(__file__).resolve().parents[2] / "examples" / "wine"

ODD = {
    "SPACES": "  a  b ", "QUOTES": "'\"`'", "LINES": "\na\n\nb\n", "DOLLAR": "$HOME $(id) ${X} $$", "COMMA": "a,b=c,,d",
    "BACKSLASH": "a\\b\\n\\", "EMPTY": "", "LETTERS": "äß漢", "MARKS": "!#&*;<>?[]^{|}~%",
}  # fmt: skip
TELL = textwrap.dedent("""
    import json, os, pathlib, sys
    told = {
        "argv": sys.argv[1:], "env": dict(os.environ), "folder": os.getcwd(),
        "data": pathlib.Path(os.environ["MLTM_DATASET"]).read_text(),
        "params": json.loads(pathlib.Path(os.environ["MLTM_PARAMS"]).read_text()),
        "uid": os.getuid(), "node": os.uname().nodename,
    }
    pathlib.Path("left.txt").write_text("in the work folder")
    pathlib.Path(os.environ["MLTM_CHECKPOINT_DIR"], "step").write_text("1")
    pathlib.Path(os.environ["MLTM_OUTPUT_DIR"], "told.json").write_text(json.dumps(told))
""")
ATTACK = textwrap.dedent("""
    import glob, json, os, pathlib, shutil
    task = pathlib.Path(os.environ["MLTM_INPUT_DIR"]).parent
    spool = task.parent.parent
    seen = {}
    for name in ("..", "../control"):
        try:
            seen[name] = sorted(os.listdir(name))
        except OSError as error:
            seen[name] = type(error).__name__
    seen["spool"] = sorted(os.listdir(spool))
    seen["tasks"] = [path.name for path in (spool / "tasks").iterdir() if path != task]
    # by way of what runs outside, the wrapper among them, which is of the same user
    records = [pathlib.Path(f"{place}/{task}/control/claim.01") for place in glob.glob("/proc/[0-9]*/root")]
    records += [pathlib.Path(f"{place}/../control/claim.01") for place in glob.glob("/proc/[0-9]*/cwd")]
    seen["records"] = []
    for path in records:
        try:
            path.read_bytes()
            seen["records"].append(str(path))
        except OSError:
            pass
    seen["others"] = sorted({
        pathlib.Path(place).read_bytes().split(b"\\0")[0].decode() for place in glob.glob("/proc/[0-9]*/cmdline")
    })
    seen["written"] = []
    for path in (task / "control" / "exit.01", task / "input" / "more.py", spool / "agent" / "notes" / "x",
                 pathlib.Path(os.environ["MLTM_PARAMS"]), pathlib.Path(os.environ["MLTM_DATASET"])):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
            seen["written"].append(str(path))
        except OSError:
            pass
    for path in (spool / "agent", task / "control", task / "input"):
        shutil.rmtree(path, ignore_errors=True)
    pathlib.Path(os.environ["MLTM_OUTPUT_DIR"], "seen.json").write_text(json.dumps(seen))
""")
ROOM = textwrap.dedent("""
    import os
    for place in ("/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"]):
        with open(f"{place}/big", "wb") as file:
            for _ in range(150):
                file.write(bytes(1 << 20))
""")
GPUS = "import os, shutil\nprint('gpu', os.environ.get('CUDA_VISIBLE_DEVICES'), shutil.which('nvidia-smi'))\n"
SLOW = "import time\nprint('started', flush=True)\ntime.sleep(600)\n"
WARNED = (
    textwrap.dedent("""
    import signal, sys
    signal.signal(signal.SIGUSR1, lambda *_: (print("warned", flush=True), sys.exit(3)))
""")
    + SLOW
)
SCRIPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "wine": ((WINE / "script.py").read_text(), {**json.loads((WINE / "config.json").read_text())}),
    "tell": (TELL, {"env": ODD}),
    "args": (
        "import sys\nprint(sys.argv[2:])\n" + GPUS,
        {"params_as_args": True, "model_params": {"a": 1, "b": "x 'y'", "l": [1, None]}},
    ),
    "attack": (ATTACK, {}),
    "room": (ROOM, {}),
    "bad": ("import sys\nsys.exit(7)\n", {}),
    "codes": ("import sys\nsys.exit(255)\n", {}),
    "killed": ("import os\nos.kill(os.getpid(), 9)\n", {}),
    "broken": ("print('never')\n", {"image": "broken"}),
    "gpus": (GPUS, {"resources": {"gpus": 1}, "partition": "gpu"}),
    "cancelled": (SLOW, {}),
    "limited": (SLOW, {"resources": {"time_limit": "1"}}),
    "warned": (WARNED, {"resources": {"time_limit": "60"}, "warn_before_end_s": 60}),
}  # fmt: skip


def describe(name: str) -> dict[str, object]:
    changes = dict(SCRIPTS[name][1])
    if name == "wine":
        return changes
    infra = {"instance_type": changes.pop("partition", "cpu"), "image_name": changes.pop("image", "image")}
    return {**SEED, "clusters": {"atena02": {"infra_config": infra}}, **changes}


class Ends:
    """How each of the tasks ended."""

    def __init__(self, house: House, lab: Lab) -> None:
        self.house = house
        self.ids = {name: house.submit(script, config=describe(name)) for name, (script, _) in SCRIPTS.items()}
        self._wait_started("cancelled")
        assert house.ask("POST", f"/v1/tasks/{self.ids['cancelled']}/cancel").status_code in {200, 202}
        self._wait_started("warned")
        # What Slurm itself does a minute or two before the time limit, now.
        run_client(lab, ["scancel", "--batch", "--signal=USR1", f"--name=mltm-{self.ids['warned']}-a01"])

    def _wait_started(self, name: str) -> None:
        wait_until(lambda: "started" in self.log(name), f"{name} has started")

    def __getitem__(self, name: str) -> tuple[object, str]:
        task = self.house.wait_final(self.ids[name], 180)
        return task["state"], f"{task['reason']}"

    def log(self, name: str) -> str:
        return self.house.ask("GET", f"/v1/tasks/{self.ids[name]}/log?length=100000").text

    def output(self, name: str, path: str) -> Any:
        assert self[name][0] == "succeeded", (self[name], self.log(name))
        return self.house.ask("GET", f"/v1/tasks/{self.ids[name]}/outputs/{path}").json()

    def folder(self, name: str) -> Path:
        return self.house.spool / "tasks" / self.ids[name]


@pytest.fixture(scope="module")
def ends(container_house: House, slurm_lab: Lab, sklearn_image: Path) -> Ends:
    made = container_house.folder / "datasets" / "wine_classification.csv"
    options = ["--bind", f"{made.parent},{WINE}:{WINE}:ro"]
    subprocess.run(
        ["apptainer", "exec", *options, str(sklearn_image), "python3", str(WINE / "make_dataset.py"), str(made)],
        check=True,
    )
    return Ends(container_house, slurm_lab)


def test_the_wine_example_runs_in_its_image(ends: Ends) -> None:
    assert ends.output("wine", "metrics.json")["accuracy"] > 0.8
    assert "trained a random forest with {'n_estimators': 2, 'random_state': 42}" in ends.log("wine")


def test_a_task_gets_data_parameters_folders_and_its_variables(ends: Ends) -> None:
    told = ends.output("tell", "told.json")

    folder = ends.folder("tell")
    assert told["data"] == "a,b\n1,2\n"
    assert told["params"] == SEED["model_params"]
    assert told["folder"] == told["env"]["HOME"] == str(folder / "work")
    assert (told["env"]["MLTM_TASK_ID"], told["env"]["MLTM_ATTEMPT"]) == (ends.ids["tell"], "1")
    assert told["env"]["SLURM_JOB_ID"].isdigit()
    assert (folder / "work" / "left.txt").read_text() == "in the work folder"
    assert (folder / "checkpoint" / "step").read_text() == "1"


def test_odd_values_of_variables_arrive_as_they_are(ends: Ends) -> None:
    told = ends.output("tell", "told.json")

    assert {name: told["env"].get(name) for name in ODD} == ODD


def test_parameters_arrive_as_arguments(ends: Ends) -> None:
    assert ends["args"] == ("succeeded", "")
    assert """'--a=1', "--b=x 'y'", '--l=[1, null]']""" in ends.log("args")


def test_no_record_can_be_reached_from_inside(ends: Ends) -> None:
    seen = ends.output("attack", "seen.json")

    assert seen["../control"] == ["params.01.json", "started.01"]
    assert seen[".."] == ["checkpoint", "control", "input", "outputs", "work"]
    assert (seen["spool"], seen["tasks"], seen["records"]) == (["tasks"], [], [])
    assert not [name for name in seen["others"] if "slurm" in name or "mltm" in name or name.endswith("bash")]
    control = ends.folder("attack") / "control"
    assert (control / "exit.01").read_text().startswith('{"kind":"exit"')
    assert (control / "claim.01").read_text().startswith('{"kind":"job"')
    assert [path.name for path in (ends.folder("attack") / "input").iterdir()] == ["entrypoint.py"]
    assert (ends.house.folder / "datasets" / "wine.csv").read_text() == "a,b\n1,2\n"
    assert json.loads((control / "params.01.json").read_text()) == SEED["model_params"]


def test_there_is_room_for_temporary_files(ends: Ends) -> None:
    assert ends["room"] == ("succeeded", ""), ends.log("room")


@pytest.mark.parametrize(
    ("name", "state", "message"),
    [
        ("bad", "failed", "exit code 7"),
        ("codes", "failed", "The script ended with exit code 255"),
        ("killed", "failed", "signal 9"),
        ("broken", "failed", "The image did not start"),
        ("cancelled", "cancelled", "cancelled"),
        ("limited", "timeout", "time limit"),
    ],
)
def test_each_end_is_the_true_one(ends: Ends, name: str, state: str, message: str) -> None:
    found, reason = ends[name]

    assert (found, message in reason) == (state, True), (found, reason, ends.log(name))


def test_an_image_that_did_not_start_says_why_in_the_log(ends: Ends) -> None:
    assert ends["broken"][0] == "failed"
    assert "broken.sif" in ends.log("broken") or "FATAL" in ends.log("broken")
    assert "never" not in ends.log("broken")


def test_the_warning_before_the_time_limit_reaches_the_script(ends: Ends) -> None:
    assert ends["warned"] == ("failed", "The script ended with exit code 3; its log says why.")
    assert ends.log("warned").count("warned") == 1


def test_only_a_task_that_asks_for_gpus_gets_them_into_its_image(ends: Ends) -> None:
    assert (ends["gpus"], ends["args"]) == (("succeeded", ""), ("succeeded", ""))
    assert re.search(r"gpu [01] /usr/bin/nvidia-smi", ends.log("gpus"))
    assert "gpu None None" in ends.log("args")
