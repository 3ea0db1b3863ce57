"""The project's images, built by a real Apptainer, and the whole product on a Slurm beside it. Runs inside a root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cache import find_cache
from lab.roots.images import build_image
from lab.roots.pip_settings import carry_pip_settings
from lab.slurm.layout import Lab
from tests.e2e.house import House, open_house

CHECKOUT = Path(__file__).resolve().parents[2]
SKLEARN = ("singularity/sklearn_sample_latest.def", "examples/wine/requirements.lock")
GATEWAY = ("singularity/gateway.def", "singularity/gateway.lock")


@pytest.fixture(scope="session")
def apptainer() -> None:
    if shutil.which("apptainer") is None:
        message = "there is no apptainer here; run these by: python -m lab root pytest sid -- -m apptainer"
        if os.environ.get("CI"):
            pytest.fail(message)  # in CI no part may be missing
        pytest.skip(message)


def copy_sources(folder: Path, names: tuple[str, ...]) -> Path:
    """The checkout may be read-only; and only what an image is made from may decide whether it is made again."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def sklearn_image(apptainer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = copy_sources(tmp_path_factory.mktemp("sklearn"), SKLEARN)
    return build_image("sklearn_sample_latest", sources, find_cache(os.environ), carry_pip_settings(os.environ))


@pytest.fixture(scope="session")
def gateway_image(apptainer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = copy_sources(tmp_path_factory.mktemp("gateway"), GATEWAY)
    wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={sources / 'dist'}", str(CHECKOUT)]
    subprocess.run(wheel, check=True, capture_output=True)
    return build_image("gateway", sources, find_cache(os.environ), carry_pip_settings(os.environ))


def describe_site(images: Path) -> tuple[str, ...]:
    return ('runtime = "apptainer"', f'images_dir = "{images}"')


@pytest.fixture(scope="session")
def container_house(slurm_lab: Lab, sklearn_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Its catalogue: a good image under two keys, and one that is no image."""
    folder = tmp_path_factory.mktemp("site")
    images = folder / "images"
    images.mkdir()
    for key in ("sklearn_sample_latest", "image"):
        (images / f"{key}.sif").symlink_to(sklearn_image)
    (images / "broken.sif").write_bytes(sklearn_image.read_bytes()[:100_000])
    # For --nv: what Apptainer looks for in PATH is there, though no GPU is.
    (folder / "bin").mkdir()
    (folder / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho a GPU of the tests\n")
    (folder / "bin" / "nvidia-smi").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
        with open_house(folder, slurm_lab.env, describe_site(images)) as house:
            yield house
