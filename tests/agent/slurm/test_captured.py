"""What Slurm says to a faulty request is still what was captured, on every version that these tests are run on."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.slurm.commands import build_account_argv, build_environment, build_list_argv
from agent.slurm.parse import parse_accounting, parse_facts, parse_list
from agent.slurm.shell import CommandResult, run_command
from agent.slurm.values import Accounting, JobList, SlurmFacts
from lab.packages import read_slurm_version
from lab.processes import wait_until
from lab.slurm.cluster import running_lab
from lab.slurm.controls import set_partition
from lab.slurm.layout import Lab
from tests.agent.slurm.captured import read_captured
from tests.agent.slurm.clients import put_out_of_reach
from tests.lab.calls import submit, wait_state

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
    "sbatch-many-gpus": "--gres=gpu:9",
    "sbatch-much-memory": "--mem=999G",
}
# Where the site has Slurm refuse them at sbatch; by default they wait for ever.
ENFORCED = {
    "sbatch-long-time": "--time=9-0",
    "sbatch-many-cpus": "--cpus-per-task=99",
    "sbatch-many-nodes": "--nodes=9",
}
SCRIPTS = {
    "sbatch-dos-script": "#!/bin/sh\r\ntrue\r\n",
    "sbatch-empty-script": "",
    "sbatch-no-shebang": "true\n",
    "sbatch-null-script": "#!/bin/sh\n\0true\n",
    "sbatch-white-script": " \n",
}
# The jobs of the captured lists: name, script, options.
JOBS = (
    ("mltm-ok", "true", ()),
    ("mltm-fail", "exit 1", ()),
    ("mltm-three", "exit 3", ()),
    ("mltm-kill", "kill -9 $$", ()),
    ("mltm-held", "true", ("--hold",)),
    ("mltm-a", "sleep 60", ()),
    ("mltm-run", "sleep 60", ()),
    ("mltm-cancelled", "sleep 60", ()),
    ("a|b end|x", "sleep 60", ()),
    ("mltm|bar", "true", ()),
    ("line1\nline2", "sleep 60", ()),
    ("arr", "true", ("--hold", "--array=1-3")),
)
SCANCEL = {"scancel-no-id": "abc", "scancel-unknown-job": "999999"}


def ask(lab: Lab, *argv: str) -> CommandResult:
    environment = build_environment(os.environ, conf=lab.slurm_conf, is_submission=argv[0] == "sbatch")
    return run_command(argv, timeout_s=30, env=environment)


def read_known(name: str) -> CommandResult:
    """Return what was captured of the version that runs here."""
    return read_captured(name, "{}.{:02}".format(*read_slurm_version()))


def compare(name: str, said: CommandResult) -> list[str]:
    known = read_known(name)
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


def test_what_is_beyond_a_partition_is_refused_in_the_captured_words_where_the_site_enforces_it() -> None:
    with running_lab(enforce_part_limits=True) as lab:
        news = [
            line
            for name, option in ENFORCED.items()
            for line in compare(name, ask(lab, "sbatch", "--parsable", option, "--wrap=true"))
        ]
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


def test_jobs_are_listed_and_accounted_as_they_were_captured(slurm_lab_accounting: Lab) -> None:
    lab = slurm_lab_accounting
    ids = {name: submit(lab, script, f"--job-name={name}", *options) for name, script, options in JOBS}
    try:
        wait_state(lab, ids["mltm-cancelled"], "RUNNING")
        ask(lab, "scancel", "--me", ids["mltm-cancelled"])
        assert wait_until(lambda: not list_differences(lab), timeout_s=25, pause_s=0.3), list_differences(lab)
    finally:
        ask(lab, "scancel", "--me", *ids.values())


def list_differences(lab: Lab) -> list[str]:
    """Return each job that squeue or sacct shows otherwise than the captured answers of this version do."""
    names = [name for name, _, _ in JOBS if "\n" not in name]
    user = ask(lab, "id", "-un").stdout.strip()
    sacct = build_account_argv(names, user=user, since=datetime.now(UTC))
    known = read_known("squeue-many"), read_known("sacct-many")
    found = ask(lab, *build_list_argv()), ask(lab, *sacct)
    captured, shown = (read_jobs(*answers) for answers in (known, found))
    return [f"{key}: {shown.get(key)}, captured {job}" for key, job in captured.items() if shown.get(key) != job]


def read_jobs(squeue: CommandResult, sacct: CommandResult) -> dict[tuple[str, str], object]:
    """Return what is shown of each of our jobs besides its id, its node's name and its times."""
    listed, accounted = parse_list(squeue), parse_accounting(sacct)
    assert isinstance(listed, JobList), listed
    assert isinstance(accounted, Accounting), accounted
    jobs: dict[tuple[str, str], object] = {
        ("squeue", job.name): (job.state, job.reason, job.time_limit_s, bool(job.start), bool(job.node))
        for job in listed.jobs
    } | {
        ("sacct", job.name): (job.state.rstrip("0123456789"), job.exit_code, job.signal, job.reason,
                              bool(job.start), bool(job.end), bool(job.node))
        for job in accounted.jobs
    }  # fmt: skip
    return {key: job for key, job in jobs.items() if key[1] in {name for name, _, _ in JOBS}}


def test_the_settings_that_are_read_are_called_as_captured(slurm_lab: Lab, slurm_lab_accounting: Lab) -> None:
    for lab, name in ((slurm_lab, "scontrol-config"), (slurm_lab_accounting, "scontrol-config-accounting")):
        facts, known = (parse_facts(each) for each in (ask(lab, "scontrol", "show", "config"), read_known(name)))
        assert isinstance(facts, SlurmFacts)
        assert isinstance(known, SlurmFacts)
        assert facts == replace(known, version=facts.version, min_job_age_s=10, kill_wait_s=12)
