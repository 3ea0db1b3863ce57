"""Races claims between this host and a compute node, by one job, and times how late each sees the other's changes."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.errors import AgentError
from agent.slurm.client import Slurm
from agent.slurm.request import SubmitRequest
from mltm.runtime import files

__all__ = ["NodeRace", "NodeRaceError", "race_node"]

RACER: Final = Path(__file__).with_name("racer.sh")
CLAIMS: Final = 40
_START_S = 300.0
_ANSWER_S = 130.0  #: nfs(5): names are kept for 60 s by default, and there are two ways
_POLL_S = 0.005


class NodeRaceError(AgentError):
    """The race did not come to its end."""


@dataclass(frozen=True)
class NodeRace:
    """torn: claims that the two sides do not agree on. won: by this host. round_trip_s: there and back, at worst."""

    claims: int
    torn: int
    won: int
    round_trip_s: float


def race_node(folder: Path, slurm: Slurm, *, partition: str | None, account: str | None) -> NodeRace:
    """Submit the other side, race, and cancel what is left of it. Raises NodeRaceError, OSError."""
    name = f"mltm-check-{folder.name.rpartition('.')[2].lower()}"
    output = folder.with_name(f"{folder.name}.out")
    request = SubmitRequest(
        job_name=name, chdir=folder, output=output, script=RACER, args=(str(folder), str(CLAIMS)), time_limit="15",
        partition=partition, account=account,
    )  # fmt: skip
    answer = slurm.submit(request)
    if answer.job_id is None:
        raise NodeRaceError(
            f"Slurm did not accept the job: {answer.message}",
            next_step="Give --partition and --account that you may use.",
        )
    try:
        return _race(folder)
    except TimeoutError as error:
        raise NodeRaceError(
            f"The job {answer.job_id} did not answer within {error}.",
            next_step="If squeue says that it was started, the node does not see the spool. If not, try later.",
        ) from error
    finally:
        slurm.cancel([(answer.job_id, name)])
        files.remove(output)


def _race(folder: Path) -> NodeRace:
    torn = won = 0
    slowest_s = 0.0
    for claim in range(CLAIMS):
        began_s = time.monotonic()
        files.replace(folder / f"go.{claim}", b"", "host")
        if claim % 2:  # every second claim only once the node has begun with it, as far as this host can see
            _wait(folder, f".node.{claim}", _START_S)
        decided = files.link_once(folder / f"claim.{claim}", b"host", "host")
        answered = _wait(folder, f"answer.{claim}", _ANSWER_S if claim else _START_S)
        slowest_s = max(slowest_s, time.monotonic() - began_s) if claim else 0.0  # the first one waits for the start
        torn += answered != decided
        won += decided == b"host"
    return NodeRace(CLAIMS, torn, won, slowest_s)


def _wait(folder: Path, name: str, limit_s: float) -> bytes:
    until_s = time.monotonic() + limit_s
    while (found := files.read_bytes(folder / name)) is None:
        if time.monotonic() > until_s:
            raise TimeoutError(f"{limit_s:g} s")
        files.list_names(folder)  # so that the file server is asked again
        time.sleep(_POLL_S)
    return found
