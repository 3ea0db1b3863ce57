"""SIGTERM ends the real agent cleanly, whatever hangs: nothing that it had to tell is lost."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.processes import wait_until
from mltm.contract.ids import TaskId
from mltm.runtime import files
from tests.agent.spool.build import SpoolKit, send

HANGS = """#!/bin/sh
[ "$1" = --version ] && echo "slurm 22.05.8" && exit 0
trap "" TERM
: >"$(dirname "$0")/$(basename "$0").$$"
while :; do sleep 1; done
"""
SETTINGS = """
spool = "{root}/spool"
cluster = "atena02"
gateway_url = "http://127.0.0.1:9"
credential_file = "{root}/credential"
runtime = "none"
datasets_dir = "{root}"
images = {{ sklearn_sample_latest = "{python}" }}
[slurm]
path = "{root}/bin"
poll_interval_s = 0
"""
CREDENTIAL = {"agent_id": "a", "credential": "secret", "cluster": "atena02", "owner": "ana", "gateway_name": "away"}


@pytest.fixture
def kit(tmp_path: Path) -> SpoolKit:
    """A spool with a task, a Slurm that fails, and a gateway that is away."""
    kit = SpoolKit(tmp_path / "spool")
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "squeue", "scontrol", "sacct", "scancel"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "wine_classification.csv").write_text("a\n1\n")
    (tmp_path / "credential").write_text(json.dumps(CREDENTIAL))
    (tmp_path / "credential").chmod(0o600)
    (tmp_path / "agent.toml").write_text(SETTINGS.format(root=tmp_path, python=sys.executable))
    kit.spool.gateway_name.parent.mkdir(parents=True, exist_ok=True)
    kit.spool.gateway_name.write_text("away\n")
    send(kit, TaskId("1" * 32))
    return kit


@contextmanager
def running(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [str(Path(sys.executable).parent / "mltm-agent"), "run", "--config", str(root / "agent.toml")]
    with (
        (root / "log").open("wb") as log,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as agent,
    ):
        try:
            yield agent
        finally:
            if agent.poll() is None:
                agent.kill()


@pytest.mark.parametrize("hanging", ["sbatch", "squeue"])
def test_sigterm_ends_an_agent_whose_slurm_hangs_and_whose_gateway_is_away(kit: SpoolKit, hanging: str) -> None:
    root = kit.root.parent
    (root / "bin" / hanging).write_text(HANGS)  # and it ignores TERM
    with running(root) as agent:
        assert wait_until(lambda: bool(list((root / "bin").glob(f"{hanging}.*"))), timeout_s=40), (
            root / "log"
        ).read_text()
        told = files.list_names(kit.spool.outbox)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=10) == 0

    assert told
    assert set(told) <= set(files.list_names(kit.spool.outbox))
    log = (root / "log").read_text()
    assert "agent_stopped" in log
    assert "Traceback" not in log
    left = [int(path.suffix[1:]) for path in (root / "bin").glob("*.*")]
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]
