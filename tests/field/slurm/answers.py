"""What sbatch printed, as these tests need it: error lines, and how it ended. A line that names sbatch is kept."""

from agent.slurm.parse import parse_submission
from agent.slurm.shell import CommandResult
from agent.slurm.values import SbatchAnswer

__all__ = ["FAILED", "answer_to"]

FAILED = "Batch job submission failed: "


def answer_to(*lines: str, code: int | None = 93, stdout: str = "") -> SbatchAnswer:
    """The agent's reading of an sbatch that printed these error lines."""
    text = "".join(f"{line if line.startswith('sbatch: ') else f'sbatch: error: {line}'}\n" for line in lines)
    return parse_submission(CommandResult(("sbatch",), code, stdout, text))
