"""The definitions of singularity/ are buildable as they are, and what their tests claim is so."""

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.apptainer, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.mark.parametrize("name", ["sklearn_image", "gateway_image"])
def test_each_image_is_built_and_passes_its_own_test(name: str, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(name)

    done = subprocess.run(["apptainer", "test", str(image)], capture_output=True, text=True, check=False)
    helped = subprocess.run(["apptainer", "run-help", str(image)], capture_output=True, text=True, check=True)

    assert (done.returncode, done.stdout) == (0, "")
    assert "apptainer build" in helped.stdout


def test_the_gateways_image_runs_the_gateways_command(gateway_image: Path) -> None:
    done = subprocess.run(
        ["apptainer", "run", str(gateway_image), "--help"], capture_output=True, text=True, check=True
    )

    assert "serve" in done.stdout
