"""What is wrong around the agent is said in words with a way out; no task that could run ends, no traceback shows."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lab.slurm.layout import Lab
from lab.standin.control import Standin
from tests.agent.slurm.clients import put_out_of_reach
from tests.e2e.house import BIN, SEED, open_house, run, wait_until
from tests.ops.agent_process import NOBODY, AgentSite

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
FULL = "head -c 2000000 /dev/zero >big 2>/dev/null"
RUNS = ["check", "once", "run"]


@pytest.fixture
def site(tmp_path: Path) -> AgentSite:
    return AgentSite(tmp_path)


@pytest.mark.parametrize("word", RUNS)
def test_a_spool_that_is_not_writable(site: AgentSite, word: str) -> None:
    done = site.run_on_disk(word, "ro,mode=700")

    assert done.returncode == 1
    assert f"The file system is read-only: {site.spool}" in done.stdout + done.stderr
    assert "set another spool in the config" in done.stdout + done.stderr


@pytest.mark.parametrize("word", RUNS)
def test_a_full_disk(site: AgentSite, word: str) -> None:
    done = site.run_on_disk(word, "size=1m,mode=700", FULL)

    assert done.returncode == 1
    assert f"The disk is full: {site.spool}" in done.stdout + done.stderr
    assert "Free some space" in done.stdout + done.stderr


@pytest.mark.parametrize("word", RUNS)
def test_a_file_in_place_of_the_spool(site: AgentSite, word: str) -> None:
    site.spool.touch()

    done = site.run(word)

    assert done.returncode == 1
    assert "A file is where a folder should be" in done.stdout + done.stderr


def test_no_sbatch_in_path(site: AgentSite) -> None:
    site.env = {"PATH": str(site.folder / "empty")}
    task = site.send()

    checked, first = site.run("check"), site.run("once")

    assert checked.returncode == 1
    assert "FAIL  programs: Cannot find sbatch, squeue, scancel, scontrol in PATH" in checked.stdout
    assert "slurm.path in the config" in checked.stdout
    assert first.returncode == 0
    assert "1 active tasks" in first.stdout
    assert "There is no program sbatch in PATH" in first.stdout
    assert not (site.spool / "done" / task).exists()


@pytest.mark.slurm
def test_slurmctld_is_down(site: AgentSite, slurm_lab: Lab) -> None:
    (site.folder / "conf").mkdir()
    away = put_out_of_reach(slurm_lab, site.folder / "conf", SlurmctldPort="9", MessageTimeout="2")
    site.env = {"SLURM_CONF": str(away.slurm_conf)}
    task = site.send()

    checked, once = site.run("check"), site.run("once")

    assert checked.returncode == 1
    assert "FAIL  slurm: " in checked.stdout
    assert "Unable to contact slurm controller" in checked.stdout
    assert "Ask the site whether slurmctld is up" in checked.stdout
    assert "1 active tasks" in once.stdout
    assert "Unable to contact slurm controller" in once.stdout
    assert not (site.spool / "done" / task).exists()


def test_a_broken_manifest_and_a_wrong_hash_stop_nothing_else(site: AgentSite, standin: Standin) -> None:
    site.env = {"PATH": f"{standin.bin_dir}:{os.environ['PATH']}", "SLURM_CONF": str(standin.slurm_conf)}
    wrong = site.send(task_id="1" * 32, given=b"something else")  # type: ignore[arg-type] # an id
    broken = site.send(task_id="2" * 32)  # type: ignore[arg-type] # an id
    (site.spool / "in" / "new" / broken / "manifest.json").write_text("{")
    good = site.send(task_id="3" * 32)  # type: ignore[arg-type] # an id

    said = site.run("once").stdout + site.run("once").stdout + site.run("once").stdout

    assert wrong in said
    assert broken in said
    assert (site.spool / "tasks" / good / "control" / "submitted.01").exists()


def test_a_gateway_that_is_away(site: AgentSite, standin: Standin) -> None:
    site.env = {"PATH": f"{standin.bin_dir}:{os.environ['PATH']}", "SLURM_CONF": str(standin.slurm_conf)}
    task = site.send()

    checked, once = site.run("check"), site.run("once")

    assert checked.returncode == 1
    assert "FAIL  gateway: " in checked.stdout
    assert "reports wait in the outbox" in once.stdout
    assert f"problem: Cannot reach the gateway at {NOBODY}" in once.stdout
    assert (site.spool / "tasks" / task / "control" / "submitted.01").exists()


@pytest.mark.slurm
def test_an_account_that_slurm_does_not_know(slurm_lab_accounting: Lab, tmp_path: Path) -> None:
    infra = {"instance_type": "cpu", "image_name": "image", "account": "nobody"}
    config: dict[str, object] = {**SEED, "clusters": {"atena02": {"infra_config": infra}}}
    with open_house(tmp_path, slurm_lab_accounting.env) as house:
        ended = house.wait_final(house.submit("pass\n", config=config))

    assert ended["state"] == "rejected"
    assert "Invalid account" in str(ended["reason"])


def test_a_credential_that_was_revoked(standin: Standin, tmp_path: Path) -> None:
    with open_house(tmp_path, standin.env) as house:
        gateway = ("--config", str(tmp_path / "gateway.toml"))
        (agent,) = json.loads(run("mltm-gateway", "agent", "list", "--json", *gateway))
        go_on = tmp_path / "go-on"
        task = house.submit(f"import os, time\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.1)\n")
        house.wait_state(task, "running")
        run("mltm-gateway", "agent", "revoke", agent["agent_id"], *gateway)
        spoken = {
            word: subprocess.run(
                [str(BIN / "mltm-agent"), word, "--config", str(tmp_path / "agent.toml")],
                env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False, timeout=50,
            )
            for word in ("check", "once")
        }  # fmt: skip
        go_on.touch()
        wait_until((house.spool / "done" / task).exists, "the running agent brings the task to its end")

    assert (spoken["check"].returncode, spoken["once"].returncode) == (1, 0)
    for done in spoken.values():
        assert "does not accept this agent (401)" in done.stdout
        assert "then `mltm-agent enroll`" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
