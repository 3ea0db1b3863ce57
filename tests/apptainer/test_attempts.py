"""Two attempts of one task by a real Apptainer: what the first leaves behind opens nothing to the second.

Planned by the agent's own functions and run by the wrapper, as slurmd would; no Slurm is needed for it.
"""

import json
import textwrap
from pathlib import Path

import pytest

from agent.job.launch import Launch, plan_launch, write_launch
from agent.settings import AgentSettings
from mltm.contract.spool_layout import Spool
from tests.agent.job.planning import BARE, folder_of, make_config, make_settings
from tests.agent.job.running import INTENT, Prepared, run

pytestmark = [pytest.mark.apptainer, pytest.mark.long, pytest.mark.timeout(240)]

# Attempt 1 puts links to the agent's folders wherever it can write; attempt 2 looks where they lead.
SCRIPT = textwrap.dedent("""
    import contextlib, json, os, pathlib, shutil
    task = pathlib.Path(os.environ["MLTM_INPUT_DIR"]).parent
    agent = task.parent.parent / "agent"
    aims = {"tmp": task / "control", "var_tmp": agent}
    places = [pathlib.Path("/tmp"), pathlib.Path("/var/tmp"), task]
    places += [task / name for name in ("work", "outputs", "checkpoint")]
    places += [task / "control" / f"started.0{number}" for number in (1, 2)]

    def plant(spot, aim):
        with contextlib.suppress(OSError):
            shutil.rmtree(spot, ignore_errors=True)
            spot.unlink(missing_ok=True)
            spot.parent.mkdir(parents=True, exist_ok=True)
            spot.symlink_to(aim)

    if os.environ["MLTM_ATTEMPT"] == "1":
        for place in places:
            for name, aim in aims.items():
                plant(place / name, aim)
                for inner in (".tmp", "tmp.01", "tmp.02", "work"):
                    plant(place / inner / name, aim)
    else:
        read = []
        for place in places:
            for spot in (place, *(place / name for name in aims)):
                with contextlib.suppress(OSError):
                    read.append(f"{spot}: {(spot / 'credential').read_text()}")
                with contextlib.suppress(OSError):
                    (spot / "exit.99").write_text("{}")
                with contextlib.suppress(OSError):
                    (spot / "planted").write_text("{}")
        pathlib.Path(os.environ["MLTM_OUTPUT_DIR"], "read.json").write_text(json.dumps(read))
""")


def run_attempt(settings: AgentSettings, number: int) -> int:
    folder = folder_of(settings)
    launch = plan_launch(make_config(BARE), folder, number, settings)
    assert isinstance(launch, Launch), launch
    folder.attempt(number).intent.write_text(INTENT)
    write_launch(launch, folder, number, f"{number}")
    return run(Prepared(Spool(settings.spool), folder, launch.request.args))


def test_links_that_attempt_1_left_do_not_lead_attempt_2_out_of_its_container(
    sklearn_image: Path, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, images={"sklearn_sample_latest": sklearn_image})
    spool, folder = Spool(settings.spool), folder_of(settings)
    for path in (*folder.folders, spool.notes, spool.bell):
        path.mkdir(parents=True)
    (spool.agent / "credential").write_text("secret")
    (folder.input / "entrypoint.py").write_text(SCRIPT)

    codes = [run_attempt(settings, number) for number in (1, 2)]

    assert codes == [0, 0], [path.read_text() for path in sorted(folder.logs.glob("*/*"))]
    assert (folder.work / ".tmp" / "tmp").is_symlink()  # the links are there, and lead nowhere
    assert json.loads((folder.outputs / "read.json").read_text()) == []
    assert not {"exit.99", "planted", "tmp", "var_tmp"} & {path.name for path in folder.control.iterdir()}
    assert {path.name for path in spool.agent.iterdir()} == {"credential", "notes"}
    assert not [path.name for path in folder.path.iterdir() if path not in folder.folders]
