import os
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "systemd"


@pytest.mark.parametrize("name", ["mltm-gateway.service", "mltm-agent.service"])
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    """The unit as it stands, but for the place of the commands and of its user, which are a site's."""
    text = (UNITS / name).read_text().replace("/opt/mltm/bin", str(Path(sys.executable).parent))
    unit = tmp_path / name
    unit.write_text(text.replace("User=mltm", "User=daemon").replace("Group=mltm", "Group=daemon"))
    scope = ["--user"] if "agent" in name else []
    done = subprocess.run(
        ["systemd-analyze", *scope, "--man=no", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    said = [line for line in done.stderr.splitlines() if name in line]
    assert (done.returncode, said) == (0, [])


def test_systemd_sees_a_wrong_unit(tmp_path: Path) -> None:
    unit = tmp_path / "wrong.service"
    unit.write_text("[Service]\nExecStart=/no/such/program\nRestartSecs=2\n")
    argv = ["systemd-analyze", "--man=no", "verify", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert "RestartSecs" in done.stderr
