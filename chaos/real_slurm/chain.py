"""A house whose agent lives in a chain of Slurm jobs, each of which hands over to the next (run_api.srm)."""

from chaos.product.house import ChaosHouse
from chaos.real_slurm.handover import Life, read_life
from lab.slurm.layout import Lab
from tests.e2e.house import BIN
from tests.ops.service_jobs import cancelled_at_the_end, list_jobs, submit_service

__all__ = ["ChainHouse"]


class ChainHouse(ChaosHouse):
    """The gateway is a process as ever; `start_chain` brings the agent. Slurm's least time limit is a minute."""

    _lab: Lab | None = None
    _name: str
    _jobs: list[str]

    def start(self, part: str) -> None:
        """Start the gateway; the agent is not a process of ours."""
        if part == "gateway":
            super().start(part)

    def start_chain(self, lab: Lab, *, is_warned: bool) -> None:
        """Submit the first job. `is_warned`: Slurm says that the limit is near; otherwise TERM is its first word."""
        self._lab, self._name, self._jobs = lab, f"agent-{self.folder.name}", []
        # The least limit's warning would come at once with run_api.srm's own 120 s. CONT says nothing to a script.
        variables = {
            "MLTM_ROLE": "agent", "MLTM_VENV": str(BIN.parent), "MLTM_TIME": "1",
            "SBATCH_SIGNAL": "B:USR1@10" if is_warned else "B:CONT@1",
        }  # fmt: skip
        submit_service(lab, self._name, self.folder, variables, "--time=1")

    def look(self) -> int:
        """See which job runs now; how often it was handed over so far."""
        for job_id in list_jobs(self._lab, self._name, "RUNNING") if self._lab else []:
            if job_id not in self._jobs:
                self._jobs.append(job_id)
        return len(self._jobs) - 1

    def read_lives(self) -> list[Life]:
        """The agents of all jobs that were seen, as they ran one after the other."""
        paths = ((job_id, self.folder / f"{self._name}-{job_id}.out") for job_id in self._jobs)
        return [
            read_life(job_id, path.read_text(encoding="utf-8", errors="replace") if path.exists() else "")
            for job_id, path in paths
        ]

    def stop(self) -> None:
        """End the chain, then the rest."""
        if self._lab is not None:
            with cancelled_at_the_end(self._lab, self._name):
                pass
        super().stop()
