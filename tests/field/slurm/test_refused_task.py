"""A refusal from sbatch to the user: through a whole agent, whose Slurm refuses first and accepts later.

The refusals are those of test_whose_fault.py and test_sites_words.py; here, what becomes of the task.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.slurm.request import SubmitRequest
from agent.slurm.values import SbatchAnswer
from mltm.contract.reports import Report, StatusNote
from mltm.contract.states import State
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, build_hands, open_world
from tests.field.slurm.answers import FAILED, answer_to


@dataclass
class RefusingSlurm(CountedSlurm):
    """Refuses each job with this answer, until it is None."""

    refusal: SbatchAnswer | None = None
    refused: list[str] = field(default_factory=list)

    def submit_many(
        self, requests: Sequence[SubmitRequest], *, wait_s: float = 20.0
    ) -> Iterator[tuple[str, SbatchAnswer]]:
        if self.refusal is None:
            yield from super().submit_many(requests, wait_s=wait_s)
            return
        for request in requests:
            self.refused.append(request.job_name)
            yield request.job_name, self.refusal


# (source, lines, the note's kind while it is refused)
TRIED_AGAIN = (
    ("faults 2026-11-29, 2.4", ("Unable to open file /x/wrapper.sh",), "waiting_for_slurm"),
    ("faults 2026-11-29, 2.4", (f"{FAILED}Invalid user id",), "attention"),
    ("faults 2026-11-29, 2.4", (f"{FAILED}Incompatible versions of client and server code",), "attention"),
    ("faults 2026-11-29, 2.2", ("Maintenance until Monday", f"{FAILED}Unspecified error"), "attention"),
    ("faults 2026-11-29, 2.2", (f"{FAILED}Unspecified error",), "attention"),
    ("Slurm, newer than 26.05", (f"{FAILED}Quantum not set",), "attention"),
)
FOR_GOOD = (
    ("faults 2026-11-29, 2.2", ("Name a project by its account.", f"{FAILED}Unspecified error")),
    ("faults 2026-11-29, 2.2", ("lua: GPUs need a type.", "cli_filter plugin terminated with error")),
    ("ReFrame 1704", ("QOSMaxGRESPerUser", f"{FAILED}Job violates accounting/QOS policy (job submit limit, …)")),
    ("reliability.md 6.3", (f"{FAILED}Invalid partition name specified",)),
    ("reliability.md 6.3", (f"{FAILED}Invalid feature specification",)),
)


def start(folder: Path, refusal: SbatchAnswer) -> World[RefusingSlurm]:
    world = open_world(build_hands(folder), RefusingSlurm(refusal=refusal))
    send(world.kit)
    while not world.slurm.refused:
        world.run(after_s=1)
    return world


def last_report(world: World[RefusingSlurm]) -> Report:
    return world.outbox.read_oldest(500)[-1]


@pytest.mark.parametrize(("source", "lines", "kind"), TRIED_AGAIN)
def test_a_task_that_is_refused_for_no_fault_of_its_own_goes_on(
    source: str, lines: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    world = start(tmp_path, answer_to(*lines))
    told, problems = last_report(world), world.run(after_s=1).problems
    assert (told.state, (told.note or StatusNote()).kind) == (State.SUBMITTING, kind), source
    said = lines[0].removeprefix(FAILED)
    assert said in (told.note or StatusNote()).message
    assert any(said in problem for problem in problems), "the agent's operator is told"

    world.slurm.refusal = None
    world.run_for(700)
    assert last_report(world).state is State.PENDING
    assert len(set(world.slurm.refused)) == 1, "it is the same attempt: nothing was ambiguous"
    assert world.run(after_s=1).problems == ()


@pytest.mark.parametrize(("source", "lines"), FOR_GOOD)
def test_a_task_that_asks_for_what_is_not_to_be_had_ends_at_once_with_the_reason(
    source: str, lines: tuple[str, ...], tmp_path: Path
) -> None:
    world = start(tmp_path, answer_to(*lines))
    world.run_for(5)
    told = last_report(world)
    assert (told.state, told.closed) == (State.REJECTED, True), source
    assert lines[0].removeprefix(FAILED) in told.message
    assert len(world.slurm.refused) == 1
