"""run_api.srm allows plain HTTP only if the gateway's config has no certificate, and says so."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "run_api.srm"


@pytest.mark.parametrize(
    ("config", "is_plain"), [('name = "x"\n', True), ('tls_cert = "c"\ntls_key = "k"\n', False), ("#tls_cert\n", True)]
)
def test_plain_http_is_allowed_only_without_a_certificate(tmp_path: Path, config: str, is_plain: bool) -> None:
    gateway = tmp_path / "venv" / "bin" / "mltm-gateway"
    gateway.parent.mkdir(parents=True)
    gateway.write_text('#!/bin/bash\necho "asked: $*"\n')
    gateway.chmod(0o755)
    (tmp_path / "gateway.toml").write_text(config)
    env = {"MLTM_HOME": str(tmp_path), "MLTM_ROLE": "gateway", "MLTM_SUCCESSOR": "no", "MLTM_HOST": "192.0.2.1"}

    done = subprocess.run(
        ["/bin/bash", str(SCRIPT)],
        env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip

    (asked,) = [line for line in done.stdout.splitlines() if line.startswith("asked: ")]
    assert ("--allow-plain-http" in asked, "plain HTTP" in done.stdout) == (is_plain, is_plain)
    assert f"gateway: {'http' if is_plain else 'https'}://192.0.2.1:8008/docs" in done.stdout
