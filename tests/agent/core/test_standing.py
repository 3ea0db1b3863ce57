from agent.standing import describe_task
from agent.tasklog import AttemptLog
from mltm.contract.log_records import Submitted
from tests.agent.core.build import NOW, fence, observation, submit, task_log

ACCEPTED = Submitted.model_validate({"outcome": "accepted", "job_id": "7", "at": NOW})


def words_of(*attempts: AttemptLog) -> str:
    note = describe_task(task_log(*attempts, held=True), observation(), ()).note
    assert note is not None
    assert note.kind == "held"
    return note.words


def test_a_hold_says_what_it_can_still_keep_back() -> None:
    at_slurm = AttemptLog(1, submit(1), submitted=ACCEPTED)

    assert words_of() == "Held; release it to let it start."
    assert words_of(AttemptLog(1, submit(1), submitted=ACCEPTED, claim=fence())) == words_of()
    assert words_of(at_slurm).startswith("Held after Slurm had taken this attempt")
