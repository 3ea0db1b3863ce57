"""What Slurm says to a faulty request is still what was captured, on every version that these tests are run on."""

import os
from pathlib import Path

import pytest

from agent.shell import CommandResult, run_command
from agent.slurm.commands import build_environment
from lab.controls import set_partition
from lab.layout import Lab
from lab.packages import read_slurm_version
from tests.agent.slurm.captured import read_captured
from tests.agent.slurm.clients import put_out_of_reach

pytestmark = pytest.mark.slurm

OPTIONS = {
    "sbatch-bad-account": "--account=nope",
    "sbatch-bad-array": "--array=x",
    "sbatch-bad-begin": "--begin=foo",
    "sbatch-bad-constraint": "--constraint=nope",
    "sbatch-bad-dependency": "--dependency=nope",
    "sbatch-bad-license": "--licenses=nope",
    "sbatch-bad-memory": "--mem=x",
    "sbatch-bad-nodes": "--nodes=x",
    "sbatch-bad-partition": "--partition=nope",
    "sbatch-bad-qos": "--qos=nope",
    "sbatch-bad-reservation": "--reservation=nope",
    "sbatch-bad-time": "--time=abc",
    "sbatch-long-time": "--time=9-0",
    "sbatch-many-cpus": "--cpus-per-task=99",
    "sbatch-many-gpus": "--gres=gpu:9",
    "sbatch-many-nodes": "--nodes=9",
    "sbatch-much-memory": "--mem=999G",
}
SCRIPTS = {
    "sbatch-dos-script": "#!/bin/sh\r\ntrue\r\n",
    "sbatch-empty-script": "",
    "sbatch-no-shebang": "true\n",
    "sbatch-null-script": "#!/bin/sh\n\0true\n",
    "sbatch-white-script": " \n",
}
SCANCEL = {"scancel-no-id": "abc", "scancel-unknown-job": "999999"}


def ask(lab: Lab, *argv: str) -> CommandResult:
    environment = build_environment(os.environ, conf=lab.slurm_conf, is_submission=argv[0] == "sbatch")
    return run_command(argv, timeout_s=30, env=environment)


def compare(name: str, said: CommandResult) -> list[str]:
    version = "{}.{:02}".format(*read_slurm_version())
    known = read_captured(name, version)
    told = f"{name}.{said.exit_code}\n{said.stdout}{said.stderr}"
    return [] if told == f"{name}.{known.exit_code}\n{known.stdout}{known.stderr}" else [told]


def test_what_slurm_refuses_it_refuses_in_the_captured_words(slurm_lab_accounting: Lab, tmp_path: Path) -> None:
    lab = slurm_lab_accounting
    script = tmp_path / "script.sh"
    news = list[str]()
    for name, option in OPTIONS.items():
        news += compare(name, ask(lab, "sbatch", "--parsable", option, "--wrap=true"))
    for name, text in SCRIPTS.items():
        script.write_text(text)
        news += compare(name, ask(lab, "sbatch", "--parsable", str(script)))
    for name, job_id in SCANCEL.items():
        news += compare(name, ask(lab, "scancel", "--me", job_id))
    set_partition(lab, "gpu", "inactive")
    try:
        news += compare("sbatch-partition-inactive", ask(lab, "sbatch", "--parsable", "--partition=gpu", "--wrap=true"))
    finally:
        set_partition(lab, "gpu", "up")

    assert not news, "\n".join(news)


def test_an_absent_slurmctld_is_told_in_the_captured_words(slurm_lab: Lab, tmp_path: Path) -> None:
    away = put_out_of_reach(slurm_lab, tmp_path, SlurmctldPort="1", MessageTimeout="1")
    asked = {
        "sbatch-slurmctld-down": ("sbatch", "--parsable", "--wrap=true"),
        "squeue-slurmctld-down": ("squeue", "--me"),
        "scancel-slurmctld-down": ("scancel", "--me", "--name=x", "1"),
        "scontrol-slurmctld-down": ("scontrol", "show", "config"),
    }
    news = [line for name, argv in asked.items() for line in compare(name, ask(away, *argv))]
    assert not news, "\n".join(news)


def test_a_site_without_accounting_says_so_in_the_captured_words(slurm_lab: Lab) -> None:
    news = compare("sacct-without-accounting", ask(slurm_lab, "sacct", "--parsable2"))
    assert not news, "\n".join(news)
