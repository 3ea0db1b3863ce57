"""Where the wrapper is, and which arguments it gets. wrapper.sh is the only file that sbatch is ever given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import PIECE_BYTES

__all__ = ["REFUSED_CODE", "WRAPPER", "WrapperSettings", "build_wrapper_args"]

WRAPPER: Final = Path(__file__).with_name("wrapper.sh")
REFUSED_CODE: Final = 75  #: the code was not started (EX_TEMPFAIL)


@dataclass(frozen=True)
class WrapperSettings:
    """How the wrapper runs the code of one attempt."""

    has_image: bool  #: the code runs in a container
    warns: bool  #: the code is told before the time limit ends
    log_head_bytes: int  #: of a long log, so much of its beginning is kept …
    log_tail_bytes: int  #: … and so much of its end
    beat_every_s: float = 30
    beat_stop_s: float = 180  #: the code is stopped if no beat could be written for so long
    kill_wait_s: float = 30  #: Slurm's KillWait: TERM, then so long until KILL
    try_s: int = 600  #: how long a record is tried to be written


def build_wrapper_args(spool_root: Path, task_id: TaskId, attempt: int, settings: WrapperSettings) -> tuple[str, ...]:
    """Build the arguments after the script's name.

    Two thirds of `kill_wait_s` are for the code, a sixth for the end of its output, the rest for the exit record.
    """
    return (
        str(spool_root),
        task_id,
        f"{attempt:02d}",
        str(int(settings.has_image)),
        str(int(settings.warns)),
        str(_count_pieces(settings.log_head_bytes)),
        str(_count_pieces(settings.log_tail_bytes)),
        f"{settings.beat_every_s:.3f}",
        str(max(1, round(settings.beat_stop_s))),
        f"{settings.kill_wait_s * 2 / 3:.3f}",
        f"{min(5.0, settings.kill_wait_s / 6):.3f}",
        str(settings.try_s),
    )


def _count_pieces(size: int) -> int:
    return max(1, -(-size // PIECE_BYTES))
