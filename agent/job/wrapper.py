"""The wrapper's place and its arguments. The script itself is wrapper.sh, the only file that sbatch is ever given."""

from pathlib import Path
from typing import Final

from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import PIECE_BYTES

__all__ = ["REFUSED_CODE", "WRAPPER", "build_wrapper_args"]

WRAPPER: Final = Path(__file__).with_name("wrapper.sh")
REFUSED_CODE: Final = 75  #: the code was not started (EX_TEMPFAIL)


def build_wrapper_args(
    root: Path,
    task_id: TaskId,
    attempt: int,
    *,
    has_image: bool,
    warns: bool,
    log_head_bytes: int,
    log_tail_bytes: int,
    beat_every_s: float = 30,
    beat_stop_s: float = 180,
    kill_wait_s: float = 30,
    try_s: int = 600,
) -> tuple[str, ...]:
    """Build the arguments after the script's name. `kill_wait_s` is Slurm's KillWait: TERM, then so long until KILL.

    Two thirds of it are the code's, a sixth is for the end of its output, the rest for the exit record.
    """
    return (
        str(root),
        task_id,
        f"{attempt:02d}",
        str(int(has_image)),
        str(int(warns)),
        str(_pieces(log_head_bytes)),
        str(_pieces(log_tail_bytes)),
        f"{beat_every_s:.3f}",
        str(max(1, round(beat_stop_s))),
        f"{kill_wait_s * 2 / 3:.3f}",
        f"{min(5.0, kill_wait_s / 6):.3f}",
        str(try_s),
    )


def _pieces(size: int) -> int:
    return max(1, -(-size // PIECE_BYTES))
