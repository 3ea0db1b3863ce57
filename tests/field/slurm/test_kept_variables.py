"""Variables that a site's sbatch needs reach it if the agent's config names them, and never reach the task.

A user of a site with Kerberos or with Slurm's tokens expects that his tasks are submitted; the site, that the agent's
own ticket or token is not given to them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.settings import SlurmSettings, read_settings
from agent.slurm.commands import build_environment
from lab.standin.control import Standin
from mltm.contract.spool_layout import ENTRYPOINT
from tests.agent.job.planning import BARE, folder_of, make_config, make_settings, plan
from tests.agent.slurm.clients import build_request, connect, read_soon

# (source, why a site needs it, the variable, a value)
NEEDED = (
    ("faults 2026-11-29, 2.11", "AUKS and NFS with Kerberos", "KRB5CCNAME", "FILE:/tmp/krb5cc_1000_a b"),
    ("faults 2026-11-29, 2.11", "authentication by Slurm's tokens", "SLURM_JWT", "aaa.bbb-_.ccc"),
    ("Slurm, auth/munge", "a socket in another place", "MUNGE_SOCKET", "/run/other/munge.socket"),
    ("NVIDIA/cloudai 973", "a cli_filter that asks for a project", "SITE_PROJECT", "physik = 1"),
    ("AiiDA, prepend_text", "a directory of users over TLS", "LDAPTLS_CACERT", "/etc/ssl/site.pem"),
)
# (source, why it is refused, the name)
REFUSED = (
    ("reliability.md 1.2, NorduGrid ARC", "it would change each task's partition", "SBATCH_PARTITION"),
    ("reliability.md 1.2, NorduGrid ARC", "it would hide jobs from the agent", "SQUEUE_STATES"),
    ("faults 2026-11-29, 2.6", "it would be srun's in the job", "SLURM_EXIT_ERROR"),
    ("protocol.md, A scrubbed environment", "it would change what sacct prints", "SACCT_FORMAT"),
    ("style.md, Talking to programs", "another language's messages are not known", "LC_ALL"),
    ("images.md", "it would run a file in every program of the job", "LD_PRELOAD"),
    ("style.md, Talking to programs", "it is made of the agent's and slurm.path", "PATH"),
    ("TOML", "it is not a name", "A=B"),
    ("TOML", "it is not a name", ""),
)


@pytest.mark.parametrize(("source", "why", "name", "value"), NEEDED)
@pytest.mark.parametrize("is_submission", [True, False])
def test_what_a_site_names_reaches_slurms_programs_and_nothing_else_does(
    source: str, why: str, name: str, value: str, is_submission: bool
) -> None:
    settings = SlurmSettings(keep_variables=[name, "NOT_SET_HERE"])
    outer = {"PATH": "/usr/bin", name: value, "AGENT_TOKEN": "secret", "SBATCH_QOS": "x"}
    found = build_environment(outer, keep=settings.keep_variables, is_submission=is_submission)
    assert found[name] == value, (source, why)
    assert not {"NOT_SET_HERE", "AGENT_TOKEN", "SBATCH_QOS"} & set(found)
    assert name not in build_environment(outer, is_submission=is_submission)


@pytest.mark.parametrize(("source", "why", "name"), REFUSED)
def test_a_variable_that_would_change_the_question_is_refused_in_words(
    source: str, why: str, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        f'spool = "/s"\ncluster = "c"\ncredential_file = "/c"\n[slurm]\nkeep_variables = ["{name}"]\n', encoding="utf-8"
    )
    with pytest.raises(SettingsError) as caught:
        read_settings(file)
    assert "slurm.keep_variables" in str(caught.value), (source, why)


@pytest.mark.standin
@pytest.mark.parametrize(("source", "why", "name", "value"), NEEDED)
def test_sbatch_is_called_with_it(
    source: str, why: str, name: str, value: str, standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with connect(standin, keep_variables=[name]) as slurm:
        request = build_request(tmp_path, "env; echo whole", begin=None)
        assert slurm.submit(request).outcome == "accepted", (source, why)
        said = read_soon(request.output, lambda text: "whole\n" in text)
    assert f"{name}={value}\n" in said


def run_launch(tmp_path: Path, inherited: dict[str, str], names: list[str], own: dict[str, str]) -> dict[str, str]:
    """What the user's process sees that the wrapper starts by the launch's argv and variables, with runtime `none`."""
    image = tmp_path / "python"
    image.symlink_to(sys.executable)
    settings = make_settings(
        tmp_path, runtime="none", images={"sklearn_sample_latest": image}, slurm=SlurmSettings(keep_variables=names)
    )
    launch = plan(make_config(BARE, env=own), settings)
    script = folder_of(settings).input / ENTRYPOINT
    script.parent.mkdir(parents=True)
    script.write_text("import json, os; print(json.dumps(dict(os.environ)))", encoding="utf-8")
    variables = {**inherited, **dict(each.split("=", 1) for each in launch.env)}
    done = subprocess.run(launch.argv, env=variables, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("source", "why", "name", "value"), NEEDED)
def test_a_task_does_not_see_it(source: str, why: str, name: str, value: str, tmp_path: Path) -> None:
    inherited = {"PATH": "/usr/bin:/bin", name: value, "SLURM_JOB_ID": "7"}
    seen = run_launch(tmp_path, inherited, [name, "NOT_SET_HERE"], {})
    assert name not in seen, (source, why)
    assert seen["SLURM_JOB_ID"] == "7"


def test_a_task_keeps_a_variable_of_its_own_of_that_name(tmp_path: Path) -> None:
    seen = run_launch(tmp_path, {"PATH": "/usr/bin:/bin"}, ["SITE_PROJECT"], {"SITE_PROJECT": "mine"})
    assert seen["SITE_PROJECT"] == "mine"


def test_a_container_is_started_without_it_and_nothing_changes_where_nothing_is_kept(tmp_path: Path) -> None:
    kept = make_settings(tmp_path, slurm=SlurmSettings(keep_variables=["SLURM_JWT", "KRB5CCNAME"]))
    argv = plan(make_config(BARE), kept).argv
    assert argv[:4] == ("env", "--unset=SLURM_JWT", "--unset=KRB5CCNAME", "apptainer")
    assert argv[3:] == plan(make_config(BARE), make_settings(tmp_path)).argv
