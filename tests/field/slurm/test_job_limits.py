"""What of the agent's own shell reaches a job: neither its limits nor its variables. On the lab's real Slurm.

A user expects the limits of the compute node, whatever the agent was started in. The lab has Slurm's default here,
PropagateResourceLimits=ALL: without --propagate=NONE each of these limits is the job's.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.slurm.client import Slurm
from lab.slurm.layout import Lab
from tests.agent.slurm.clients import build_request, connect, read_soon

# (source, why, the limit, bash's letter, what the agent's shell has)
LIMITS = (
    ("faults 2026-11-29, 2.6", "open files: a loader of data fails", resource.RLIMIT_NOFILE, "n", 200),
    ("faults 2026-11-29, 2.6", "core files", resource.RLIMIT_CORE, "c", 1024),
    ("Slurm FAQ, memlock", "locked memory: fast networks fail", resource.RLIMIT_MEMLOCK, "l", 64 * 1024),
    ("Slurm FAQ, stack", "the stack", resource.RLIMIT_STACK, "s", 1024 * 1024),
    ("batchtools 199", "processor seconds: a login node ends what computes for long", resource.RLIMIT_CPU, "t", 900),
    ("RWTH, login nodes", "file size", resource.RLIMIT_FSIZE, "f", 512 * 1024 * 1024),
)
OURS = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "SLURM_CONF"})
# What bash, slurmd and sbatch themselves add to a batch job.
SHELLS = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "SHELL", "TMPDIR", "HOSTNAME", "ENVIRONMENT", "GPU_DEVICE_ORDINAL",
                    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"})  # fmt: skip
# Slurm's own; 24.11 and newer tell MPI's starters to use srun's network.
SLURMS = ("SLURM_", "SLURMD_", "HYDRA_", "I_MPI_HYDRA_", "OMPI_MCA_plm_", "PRTE_MCA_plm_")
# Variables that would change what srun or a second sbatch does in the job; the agent has them if it is a job itself.
STRAY = ("SLURM_EXIT_ERROR", "SLURM_MPI_TYPE", "SLURM_CPU_BIND", "SBATCH_EXPORT", "SLURM_TIME_FORMAT", "SLURM_HINT")


@contextmanager
def lowered(limit: int, value: int) -> Iterator[None]:
    """The soft limit of this process, which a command that it starts has."""
    soft, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(limit, (soft, hard))


def print_in_job(slurm: Slurm, folder: Path, script: str) -> str:
    request = build_request(folder, f"{script}; echo whole", begin=None)
    answer = slurm.submit(request)
    assert answer.outcome == "accepted", answer
    return read_soon(request.output, lambda text: text.endswith("whole\n"))


@pytest.mark.slurm
@pytest.mark.parametrize(("source", "why", "limit", "letter", "value"), LIMITS)
def test_a_job_has_the_nodes_limits_and_not_the_agents(
    slurm_lab: Lab, tmp_path: Path, source: str, why: str, limit: int, letter: str, value: int
) -> None:
    with connect(slurm_lab) as slurm:
        usual = print_in_job(slurm, tmp_path, f"bash -c 'ulimit -S -{letter}'")
        with lowered(limit, value):
            found = print_in_job(slurm, tmp_path, f"bash -c 'ulimit -S -{letter}'")
    assert found == usual, (source, why)


@pytest.mark.slurm
@pytest.mark.parametrize("name", STRAY)
def test_no_variable_of_the_agents_own_job_reaches_a_job(
    slurm_lab: Lab, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "stray")
    with connect(slurm_lab) as slurm:
        said = print_in_job(slurm, tmp_path, "env")
    assert f"{name}=stray" not in said


@pytest.mark.slurm
def test_a_job_has_only_what_is_meant_for_it_and_what_slurm_itself_sets(slurm_lab: Lab, tmp_path: Path) -> None:
    with connect(slurm_lab) as slurm:
        said = print_in_job(slurm, tmp_path, "env")
    names = {line.partition("=")[0] for line in said.splitlines() if "=" in line}
    strange = {name for name in names - OURS - SHELLS if not name.startswith(SLURMS)}
    assert strange == set()
    assert "SLURM_EXIT_ERROR" not in names
