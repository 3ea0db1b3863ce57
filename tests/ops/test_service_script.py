"""What run_api.srm says, with a gateway in its place that only ends: no Slurm is needed for it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.ops.service_jobs import SCRIPT


@pytest.mark.parametrize(("setting", "scheme"), [("tls_cert = 'cert.pem'\n", "https"), ("# tls_cert\n", "http")])
def test_the_address_has_the_scheme_of_the_gateways_config(tmp_path: Path, setting: str, scheme: str) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    gateway = tmp_path / "venv" / "bin" / "mltm-gateway"
    gateway.write_text("#!/bin/sh\n")
    gateway.chmod(0o755)
    (tmp_path / "gateway.toml").write_text(setting)
    given = {"MLTM_HOME": str(tmp_path), "MLTM_ROLE": "gateway", "MLTM_SUCCESSOR": "no", "MLTM_HOST": "127.0.0.1"}

    done = subprocess.run(["bash", SCRIPT], env={**os.environ, **given}, capture_output=True, text=True, check=True)

    assert f"gateway: {scheme}://127.0.0.1:8008/docs" in done.stdout
