"""A site's own refusal: its sentence is shown, surely no job was made, and it is judged whether it may pass.

Each case: where it comes from, what the user expects, and why. The sentences are ours, in the manner of the sites'.
"""

import pytest

from agent.protocol.journal import AttemptJournal
from agent.protocol.task_report import describe_task
from mltm.contract.journal_records import Submitted
from tests.agent.protocol.build import NOW, observation, submit, task_journal
from tests.field.slurm.answers import FAILED, answer_to

FILTER = "cli_filter plugin terminated with error"

# (source, why it is for good, the sentence, how it ends)
FOR_GOOD = (
    (
        "faults 2026-11-29, 2.2",
        "lua's slurm.ERROR behind a sentence",
        "Name a project by its account.",
        "Unspecified error",
    ),
    ("faults 2026-11-29, 2.2", "a cli_filter ends before anything is sent", "lua: GPUs need --gres.", None),
    (
        "NVIDIA/cloudai 973",
        "a plugin returns 1, which libc has a text for",
        "Partition big is for big jobs.",
        "Operation not permitted",
    ),
    ("NVIDIA/cloudai 973", "a plugin returns a number of its own", "Give a time limit.", "Unknown error 4711"),
    (
        "BSC-ES/autosubmit 2854",
        "a plugin's words are in lower case",
        "account xyz may not use qos debug",
        "unspecified error",
    ),
    ("RWTH, job_submit", "a sentence of several lines in a box", "*** Rejected ***", "Unspecified error"),
)
# (source, why it may pass, the sentences, how it ends)
MAY_PASS = (
    (
        "faults 2026-11-29, 2.2",
        "the site says that it is not for ever",
        ("Maintenance until Monday.",),
        "Unspecified error",
    ),
    (
        "UDel, job_submit",
        "try again",
        ("The project's budget is being renewed, try again in an hour.",),
        "Unspecified error",
    ),
    (
        "Slurm 26.05, lua",
        "the plugin is broken, which is not the task's fault",
        ("/etc/slurm/job_submit.lua:12: attempt to index a nil value (local 'part')",),
        "Unspecified error",
    ),
    ("Slurm 22.05, lua", "a broken plugin says nothing at all", (), "Unspecified error"),
    ("NVIDIA/cloudai 973", "a number without a word", (), "Unknown error 17171"),
    ("Slurm, cli_filter", "a filter that fails without a word", (), None),
    (
        "Slurm, sbatch",
        "what sbatch says of itself is not the site's",
        ("sbatch: warning: can't run 1 processes on 2 nodes",),
        None,
    ),
)


def end(code: str | None) -> str:
    return FILTER if code is None else f"{FAILED}{code}"


@pytest.mark.parametrize(("source", "why", "sentence", "code"), FOR_GOOD)
def test_a_site_that_says_why_is_believed(source: str, why: str, sentence: str, code: str | None) -> None:
    answer = answer_to(sentence, end(code))
    assert (answer.outcome, answer.job_id, answer.message) == ("permanent", None, sentence), (source, why)


@pytest.mark.parametrize(("source", "why", "sentences", "code"), MAY_PASS)
def test_what_may_pass_is_tried_again_and_shown(
    source: str, why: str, sentences: tuple[str, ...], code: str | None
) -> None:
    answer = answer_to(*sentences, end(code))
    assert (answer.outcome, answer.attention) == ("transient", True), (source, why, answer)
    assert all(sentence.removeprefix("sbatch: warning: ") in answer.message for sentence in sentences)
    assert answer.message


def test_all_of_a_long_sentence_is_kept_and_comes_first() -> None:
    lines = [f"* rule {number} of this cluster is not kept by this request" for number in range(20)]
    message = answer_to(*lines, f"{FAILED}Invalid account or account/partition combination specified").message
    assert message.startswith(lines[0])
    assert lines[-1] in message
    assert "Invalid account" in message


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("Invalid account or account/partition combination specified", "permanent"),
        ("System submissions disabled", "transient"),
        ("Socket timed out on send/recv operation", "ambiguous"),
        ("Requested nodes are busy", "transient"),
        ("Invalid user id", "transient"),
    ],
)
def test_a_code_of_slurms_own_behind_a_sentence_decides(code: str, outcome: str) -> None:
    assert answer_to("Name a project by its account.", f"{FAILED}{code}").outcome == outcome


@pytest.mark.parametrize("attention", [False, True])
def test_the_user_is_shown_the_sites_words_while_it_is_tried_again(attention: bool) -> None:
    record = Submitted(outcome="transient", message="Maintenance until Monday.", attention=attention, at=NOW)
    journal = task_journal(AttemptJournal(1, submit(1), submitted=record))
    note = describe_task(journal, observation(), ()).note
    assert note is not None
    assert note.kind == ("attention" if attention else "waiting_for_slurm")
    assert "Maintenance until Monday." in note.message
