"""A task that Slurm killed for its memory, wrapper and all: the step daemon's own line in the records tells it."""

from pathlib import Path

import pytest

from mltm.contract.journal_records import Note, render_record
from mltm.contract.states import State
from tests.agent.protocol import build
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import make_world

KILLED = "slurmstepd: error: Step 1.4294967294 exceeded memory limit (3000 > 2000), being killed\n"


@pytest.mark.parametrize(("line", "end"), [(KILLED, State.FAILED), ("mltm: stepped aside\n", State.LOST)])
def test_the_line_of_slurms_step_daemon_decides_where_there_is_no_exit_record(
    tmp_path: Path, line: str, end: State
) -> None:
    world = make_world(tmp_path)
    send(world.kit)
    world.run()
    attempt, claim = world.kit.spool.task(world.task_id).attempt(1), build.claim("1")
    attempt.claim.write_bytes(render_record(claim))
    attempt.note.write_bytes(render_record(Note(claim=claim, at=build.NOW)))
    attempt.slurm_output.write_text(line)
    world.slurm.jobs.clear()  # Slurm has forgotten it

    for _ in range(12):
        world.run(after_s=100)

    assert world.states()[-1] is end
