"""The docs' requests and the examples, run letter by letter against gateway, agent and the real Slurm."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.slurm.layout import Lab
from tests.e2e.house import ADMIN_PASSWORD, BIN, House, open_house

pytestmark = [pytest.mark.slurm, pytest.mark.long, pytest.mark.timeout(180)]
CHECKOUT = Path(__file__).resolve().parents[2]
PREDECESSOR = "docs/predecessor.md"
SITE = ('runtime = "none"', f'images = {{ sklearn_sample_latest = "{sys.executable}" }}')
SCRIPT = "import os, pathlib\nprint('ran')\npathlib.Path(os.environ['MLTM_OUTPUT_DIR'], 'made').write_text('x')\n"


@pytest.fixture(scope="module")
def house(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with open_house(folder, slurm_lab.env, SITE) as opened:
        (folder / "datasets" / "wine_classification.csv").write_text("a\n1\n")
        (folder / "script.py").write_text(SCRIPT)
        yield opened


def find_block(word: str, page: str = "README.md") -> str:
    """A page's one indented block that has this word in it."""
    blocks = re.findall(r"(?m)(?:^    .*\n)+", (CHECKOUT / page).read_text())
    (found,) = [block for block in blocks if word in block]
    return textwrap.dedent(found)


def run(house: House, *argv: str) -> str:
    """Run it as a reader would: in the checkout, with the demo's variables. What it printed."""
    env = os.environ | {
        "MLTM_URL": house.url, "MLTM_TOKEN": house.token, "MLTM_USER": "admin", "MLTM_PASSWORD": ADMIN_PASSWORD,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(argv, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no slash"])
def test_the_predecessors_requests_work_with_curl(house: House, slash: str) -> None:
    lines = find_block("TOKEN=$(curl", PREDECESSOR).splitlines()
    assert len(lines) == 5
    submit, listed, task, status = (line.removesuffix("/") + slash for line in lines[1:])
    login = lines[0].replace("/auth/login ", f"/auth/login{slash} ")
    new = run(house, "bash", "-c", f"{login}\n{submit}")
    task_id, job_id = (re.findall(rf'"{name}":"?(\w+)', new)[-1] for name in ("id", "job_id"))

    assert f'"{task_id}"' in run(house, "bash", "-c", f"{login}\n{listed}")
    assert f'"id":"{task_id}"' in run(house, "bash", "-c", f"{login}\n{task.replace('TASK_ID', task_id)}")
    assert '"job_status":"' in run(house, "bash", "-c", f"{login}\n{status.replace('JOB_ID', job_id)}")


def test_the_predecessors_requests_work_with_requests(house: House) -> None:
    assert re.search(
        r"'job_status': '[A-Z]+: ", run(house, sys.executable, "-c", find_block("import os, requests", PREDECESSOR))
    )


def test_a_task_is_sent_with_curl_once_under_its_key(house: House) -> None:
    first, again = (run(house, "bash", "-c", find_block("Idempotency-Key")) for _ in range(2))

    assert re.findall(r'"task_id":"\w+"', first) == re.findall(r'"task_id":"\w+"', again) != []


def test_a_task_is_sent_and_waited_for_with_python(house: House) -> None:
    # The wine script needs scikit-learn, which this Python is without: what counts is that its true end is told.
    assert run(house, sys.executable, "-c", find_block("from mltm.notebook")).strip() in {"succeeded", "failed"}


@pytest.mark.parametrize("example", ["curl.sh", "python_client.py", "predecessor_client.py"])
def test_an_example_takes_a_task_to_its_end(house: House, example: str, tmp_path: Path) -> None:
    program = "sh" if example.endswith(".sh") else sys.executable
    folder = () if example == "predecessor_client.py" else (str(tmp_path / "results"),)

    printed = run(
        house, program, f"examples/{example}", "examples/wine/config.json", str(house.folder / "script.py"), *folder
    )

    assert "succeeded" in printed
    assert not folder or (tmp_path / "results" / "made").read_text() == "x"
