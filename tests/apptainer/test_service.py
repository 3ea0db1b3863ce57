"""run_api.srm with the gateway in its image and the agent from a virtual environment, as one Slurm job."""

import os
import re
from pathlib import Path

import pytest
import requests

from lab.daemons import run_client
from lab.layout import Lab
from tests.apptainer.fixtures import describe_site
from tests.e2e.house import wait_until
from tests.ops.test_run_api import Service, list_jobs, submit_service

pytestmark = [pytest.mark.apptainer, pytest.mark.long, pytest.mark.timeout(240)]


def test_the_gateway_serves_from_its_image(
    slurm_lab: Lab, gateway_image: Path, sklearn_image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, spool, site = (tmp_path / name for name in ("images", "spool", "site"))
    for folder in (images, spool, site):
        folder.mkdir()
    (site / "spool").symlink_to(spool)  # outside MLTM_HOME, as at most sites
    (images / "image.sif").symlink_to(sklearn_image)
    house = Service(site, slurm_lab.env, describe_site(images))
    house.stop()
    name = f"svc-{os.getpid()}"
    options = {
        "MLTM_GATEWAY_IMAGE": str(gateway_image), "MLTM_SINGULARITY": "apptainer", "MLTM_SUCCESSOR": "no",
        "MLTM_GATEWAY_BINDS": str(spool),
    }  # fmt: skip
    for variable, value in options.items():
        monkeypatch.setenv(variable, value)
    try:
        job = submit_service(house, slurm_lab, name)
        wait_until(house._answers, "the gateway serves from its image", 90)
        printed = (house.folder / f"service-{job}.out").read_text()
        address = re.search(r"http://127\.0\.0\.1:\d+/docs", printed)
        assert address is not None
        assert "swagger" in requests.get(address[0], timeout=10).text.lower()
        command = run_client(slurm_lab, ["ps", "-eo", "args"]).stdout
        assert "/opt/mltm/bin/mltm-gateway serve" in command

        assert house.wait_final(house.submit("print('from the image')\n"))["state"] == "succeeded"
    finally:
        run_client(slurm_lab, ["scancel", f"--name={name}"])
        wait_until(lambda: list_jobs(slurm_lab, name) == [], "the service has ended")
