"""What run_api.srm says and does, with programs of the test in the parts' places: no Slurm is needed for it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.house import wait_until
from tests.ops.service_jobs import SCRIPT

FAILS = "#!/bin/sh\necho started >>{home}/{name}.starts\necho 'The config is wrong.' >&2\nexit 2\n"
STAYS = """#!/bin/bash
trap 'echo ended >>{home}/{name}.ends; exit 0' TERM
echo started >>{home}/{name}.starts
read <> <(:)
"""
# In the script's place, so that a pause of minutes passes at once, and is written down.
SLEEP = "#!/bin/sh\necho $1 >>{home}/pauses\n"


def install(home: Path, **programs: str) -> None:
    for name, text in programs.items():
        program = home / "venv" / "bin" / name.replace("_", "-")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text.format(home=home, name=name))
        program.chmod(0o755)


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text("")
    return tmp_path


class Started:
    """The script as a process; its output as it is printed."""

    def __init__(self, home: Path, role: str) -> None:
        given = {"MLTM_HOME": str(home), "MLTM_ROLE": role, "MLTM_SUCCESSOR": "no", "MLTM_HOST": "127.0.0.1"}
        path = f"{home}/venv/bin:{os.environ['PATH']}"
        self.log = home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", SCRIPT], env={**os.environ, **given, "PATH": path}, stdout=log, stderr=log
            )

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def start(home: Path) -> Iterator[list[Started]]:
    started: list[Started] = []
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


def test_a_part_that_fails_is_tried_again_after_growing_pauses_and_the_other_goes_on(
    home: Path, start: list[Started]
) -> None:
    install(home, mltm_gateway=STAYS, mltm_agent=FAILS, sleep=SLEEP)
    start.append(script := Started(home, "both"))
    wait_until(lambda: len(read_lines(home / "pauses")) >= 9, "nine pauses")

    assert script.stop() == 0
    assert read_lines(home / "pauses")[:9] == ["5", "10", "20", "40", "80", "160", "300", "300", "300"]
    assert read_lines(home / "mltm_gateway.starts") == ["started"]
    assert read_lines(home / "mltm_gateway.ends") == ["ended"]
    text = script.log.read_text()
    assert "The config is wrong." in text
    assert "agent: it ended with exit code 2 after 0 s; its own words are above. Next try in 5 s." in text


@pytest.mark.parametrize("role", ["gateway", "agent", "both"])
def test_a_service_that_is_asked_to_stop_ends_its_parts_and_a_pause(
    home: Path, start: list[Started], role: str
) -> None:
    install(home, mltm_gateway=STAYS, mltm_agent=FAILS)  # the agent's pause is the real sleep
    start.append(script := Started(home, role))
    parts = ["gateway", "agent"] if role == "both" else [role]
    wait_until(lambda: all(read_lines(home / f"mltm_{part}.starts") for part in parts), "all parts run")
    wait_until(lambda: role == "gateway" or "Next try" in script.log.read_text(), "the agent's pause")

    assert script.stop() == 0
    assert read_lines(home / "mltm_agent.starts") == ([] if role == "gateway" else ["started"])


def test_a_part_that_ends_well_was_asked_to_and_ends_the_service(home: Path, start: list[Started]) -> None:
    install(home, mltm_gateway="#!/bin/sh\nexit 0\n", mltm_agent=STAYS)
    start.append(script := Started(home, "both"))

    assert script.process.wait(20) == 0
    assert "ending: a part has ended with 0" in script.log.read_text()
    assert len(read_lines(home / "mltm_agent.starts")) == len(read_lines(home / "mltm_agent.ends"))


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
