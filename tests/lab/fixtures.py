"""The labs as fixtures: a real Slurm without and with accounting (one a session), and the stand-in (one a test)."""

from collections.abc import Iterator

import pytest

from lab.slurm.cluster import running_lab
from lab.slurm.layout import Lab
from lab.standin.control import Standin, running_standin


@pytest.fixture(scope="session")
def slurm_lab() -> Iterator[Lab]:
    with running_lab(min_job_age_s=10, kill_wait_s=12) as lab:
        yield lab


@pytest.fixture(scope="session")
def slurm_lab_accounting() -> Iterator[Lab]:
    with running_lab(accounting=True, min_job_age_s=10, kill_wait_s=12) as lab:
        yield lab


@pytest.fixture
def standin() -> Iterator[Standin]:
    with running_standin(min_job_age_s=10, kill_wait_s=1) as standin:
        yield standin
