"""run_api.srm with the gateway in its image and the agent from a virtual environment, as one Slurm job."""

import os
import re
from pathlib import Path

import pytest
import requests

from lab.slurm.daemons import run_client
from lab.slurm.layout import Lab
from tests.apptainer.fixtures import describe_site
from tests.e2e.house import BIN, wait_until
from tests.ops.service_jobs import cancelled_at_the_end, submit_service
from tests.ops.test_run_api import Service

pytestmark = [pytest.mark.apptainer, pytest.mark.long, pytest.mark.timeout(240)]


def test_the_gateway_serves_from_its_image(
    slurm_lab: Lab, gateway_image: Path, sklearn_image: Path, tmp_path: Path
) -> None:
    images, spool, site = (tmp_path / name for name in ("images", "spool", "site"))
    for folder in (images, spool, site):
        folder.mkdir()
    (site / "spool").symlink_to(spool)  # outside MLTM_HOME, as at most sites
    (images / "image.sif").symlink_to(sklearn_image)
    house = Service(site, slurm_lab.env, describe_site(images))
    house.stop()
    name = f"svc-{os.getpid()}"
    variables = {
        "MLTM_VENV": str(BIN.parent), "MLTM_PORT": house.url.rpartition(":")[2], "MLTM_SUCCESSOR": "no",
        "MLTM_GATEWAY_IMAGE": str(gateway_image), "MLTM_SINGULARITY": "apptainer", "MLTM_GATEWAY_BINDS": str(spool),
    }  # fmt: skip
    with cancelled_at_the_end(slurm_lab, name):
        job = submit_service(slurm_lab, name, house.folder, variables)
        wait_until(house._answers, "the gateway serves from its image", 90)
        printed = (house.folder / f"{name}-{job}.out").read_text()
        address = re.search(r"http://127\.0\.0\.1:\d+/docs", printed)
        assert address is not None
        assert "swagger" in requests.get(address[0], timeout=10).text.lower()
        command = run_client(slurm_lab, ["ps", "-eo", "args"]).stdout
        assert "/opt/mltm/bin/mltm-gateway serve" in command

        assert house.wait_final(house.submit("print('from the image')\n"))["state"] == "succeeded"
