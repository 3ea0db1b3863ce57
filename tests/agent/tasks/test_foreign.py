"""What does not belong in the spool stops nobody: folders and links where files are looked for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mltm.contract.states import State
from mltm.runtime import files
from tests.agent.protocol.build import exit_record
from tests.agent.spool.build import send
from tests.agent.tasks.slurm_world import CountedSlurm, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World[CountedSlurm]:
    return make_world(tmp_path)


def test_a_folder_among_the_bells_stops_nobody(world: World[CountedSlurm]) -> None:
    (world.kit.spool.bell / "foreign").mkdir()
    send(world.kit)

    result = world.run()

    assert world.slurm.calls["sbatch"] == 1
    assert any("foreign" in message for message in result.problems), result.problems


def test_a_folder_in_the_place_of_a_file_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        with pytest.raises(files.NoFileError, match="not a regular file"):
            files.read_bytes(tmp_path / "folder")

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def make_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("put", [Path.mkdir, make_link])
@pytest.mark.parametrize("name", ["refused.01.foreign", "dup.01.foreign", "amended"])
def test_advice_that_is_no_file_is_passed_over(
    world: World[CountedSlurm], name: str, put: Callable[[Path], None]
) -> None:
    send(world.kit)
    world.run()
    folder = world.kit.spool.task(world.task_id)
    put(folder.control / name)
    folder.attempt(1).exit.write_text(exit_record(0).model_dump_json())
    world.ring()

    world.run(after_s=1)

    assert world.states()[-1] is State.SUCCEEDED
