"""A complete row of a job that is not ours never spoils a poll; a strange row of ours is kept; a cut one is no answer.

Each case: where it comes from, what a user of this agent expects, and why.
"""

from typing import NamedTuple

import pytest

from agent.protocol.journal import AttemptJournal
from agent.protocol.observation import Observation, Reading, update_observation
from agent.settings import Waits
from agent.slurm.commands import ACCOUNTING_COLUMNS, build_list_argv
from agent.slurm.parse import parse_accounting, parse_list
from agent.slurm.shell import CommandResult
from agent.slurm.states import classify_state
from agent.slurm.values import Accounting, JobList, PollFailed
from tests.agent.protocol.build import submit

HEADER = "JOBID|STATE|TIME|TIME_LIMIT|START_TIME|SUBMIT_TIME|NODELIST|REASON|NAME|end\n"
OURS = f"mltm-{'a' * 32}-a01"
OUR_ROW = f"5|RUNNING|0:02|1:00|2026-11-24T01:48:11|2026-11-24T01:48:11|n1|None|{OURS}|end\n"
MARK = "|end-7f"
OUR_ACCOUNT = f"5|RUNNING|0:0|2026-11-24T01:48:11|Unknown|2|n1|None|{OURS}\n"


class Foreign(NamedTuple):
    """A row of another job of this user."""

    source: str
    why: str
    job_id: str
    state: str = "RUNNING"
    reason: str = "None"
    name: str = "training"


FOREIGN = (
    Foreign("faults 2026-11-29, 2.1", "a heterogeneous job's leader has an offset in its id", "4+0"),
    Foreign("faults 2026-11-29, 2.1", "a component of it, too, and may wait", "4+11", "PENDING", "Resources"),
    Foreign("Slurm, squeue(1)", "a pending array that is throttled is one row", "7_[1-9%3]", "PENDING", "Priority"),
    Foreign("Slurm, squeue(1)", "a long list of array elements is cut with dots", "7_[1,3,5,...]", "PENDING"),
    Foreign("Slurm, federation", "ids of a federation hold the cluster in their high bits", "67108869"),
    Foreign("Slurm, federation", "a sibling's component of a heterogeneous job", "67108869+1", "REVOKED"),
    Foreign("Slurm, sacct(1)", "a step may be listed where a site's wrapper asks for steps", "12.batch"),
    Foreign("Slurm, sacct(1)", "and a step of an array's element", "12_4.extern", "COMPLETED"),
    Foreign("Slurm 26.05, SLUID", "a newer Slurm may show an id that is not a number", "s5JNZXBX2T0W00"),
    Foreign("DataBiosphere/toil 2381", "a state without a name is shown as a question mark", "13", "?"),
    Foreign("Slurm, job_state_string", "a state that no version has yet", "14", "HIBERNATED-2"),
    Foreign(
        "ReFrame 1595",
        "Slurm's own sentence stands where a reason stands",
        "15",
        "PENDING",
        "uid 7 not in group permitted to use this partition (a). groups allowed: b,c",
    ),
    Foreign("submitit 1660", "names are free: bars", "16", name="a|b|c|d|e|f|g|h|i|j"),
    Foreign("submitit 1660", "names are free: line feeds", "17", name="one\ntwo\n\nthree"),
    Foreign("submitit 1660", "names are free: bytes that are no text", "18", name="caf\ufffd \x00\x1b[31m \u2028"),
    Foreign("submitit 1660", "names are free: the mark that ends a row of an earlier agent", "19", name="x|end\ny"),
    Foreign("submitit 1660", "names are free: none at all", "20", name=""),
)


def listed(*rows: str) -> CommandResult:
    return CommandResult(("squeue",), 0, "".join((HEADER, *rows)))


@pytest.mark.parametrize("job", FOREIGN, ids=lambda job: f"{job.job_id}-{job.name[:8]!r}")
def test_a_foreign_row_hides_none_of_ours_in_squeue(job: Foreign) -> None:
    # The mark is the call's own: no name can hold it.
    ours, header = (text.replace("|end\n", f"{MARK}\n") for text in (OUR_ROW, HEADER))
    foreign = f"{job.job_id}|{job.state}|0:02|1:00|N/A|N/A|n1|{job.reason}|{job.name}{MARK}\n"
    found = parse_list(CommandResult(("squeue",), 0, header + ours + foreign + ours), MARK)
    assert isinstance(found, JobList), (job.source, job.why, found)
    assert [each.state for each in found.named(OURS)] == ["RUNNING", "RUNNING"]
    assert [each.name for each in found.jobs] == [OURS, job.name, OURS]


@pytest.mark.parametrize("job", FOREIGN, ids=lambda job: f"{job.job_id}-{job.name[:8]!r}")
def test_a_foreign_row_hides_none_of_ours_in_sacct(job: Foreign) -> None:
    foreign = f"{job.job_id}|{job.state}|0:0|Unknown|Unknown|0|None assigned|{job.reason}|{job.name}\n"
    for rows in (foreign + OUR_ACCOUNT, OUR_ACCOUNT + foreign):
        found = parse_accounting(CommandResult(("sacct",), 0, "|".join(ACCOUNTING_COLUMNS) + "\n" + rows))
        assert isinstance(found, Accounting), (job.source, job.why, found)
        assert [each.job_id for each in found.named(OURS)] == ["5"]


def test_each_call_of_squeue_has_a_mark_of_its_own() -> None:
    first, second = build_list_argv("|end-1"), build_list_argv("|end-2")
    assert first != second
    assert first[-1].endswith("|end-1")


# Ours, and strange: (source, why, id, state, what the state is to the agent, the id that is kept)
STRANGE_OURS = (
    ("faults 2026-11-29, 2.1", "a plugin made a heterogeneous job of it", "5+0", "RUNNING", "running", "5"),
    ("faults 2026-11-29, 2.1", "a component is not the leader", "5+1", "RUNNING", "running", "5+1"),
    ("Slurm, squeue(1)", "an array that somebody made of it", "5_[1-2%1]", "PENDING", "pending", "5_[1-2%1]"),
    ("Slurm, job_state_string", "a state without a name ends nothing", "5", "?", "unknown", "5"),
    ("Slurm, newer than 26.05", "a state that nobody knows ends nothing", "5", "DONE2", "unknown", "5"),
    ("Slurm, sacct(1)", "who cancelled it stands behind the state", "5", "CANCELLED by 1000", "ended", "5"),
)


@pytest.mark.parametrize(("source", "why", "job_id", "state", "kind", "kept"), STRANGE_OURS)
def test_a_strange_row_of_ours_is_kept(source: str, why: str, job_id: str, state: str, kind: str, kept: str) -> None:
    found = parse_list(listed(f"{job_id}|{state}|0:02|1:00|N/A|N/A|n1|None|{OURS}|end\n"))
    assert isinstance(found, JobList), (source, why, found)
    (job,) = found.named(OURS)
    assert (job.job_id, job.state, classify_state(job.state).kind) == (kept, state, kind), (source, why)


def test_a_strange_row_of_ours_is_no_absence() -> None:
    found = parse_list(listed(f"5|?|0:02|1:00|N/A|N/A|n1|None|{OURS}|end\n"))
    assert isinstance(found, JobList)
    before = Observation("boot", 1, 0.0, absent_polls=2, absent_since_s=0.0)
    after = update_observation(
        before, AttemptJournal(1, submit(1)), Reading(found.named(OURS), None, 100.0), Waits(), 300.0
    )
    assert (after.absent_polls, after.ended) == (0, None)


# A row that is cut off: (source, why, what stands behind a good row)
CUT = (
    ("AiiDA 4326", "the last row ends within its name", "6|RUNNING|0:02|1:00|N/A|N/A|n1|None|mltm-"),
    ("AiiDA 4326", "a row ends within its columns, though a mark follows", "6|RUNNING|x|end\n"),
    ("Cromwell 5400", "columns are empty that Slurm never leaves empty", "||||||||x|end\n"),
    ("Cromwell 5400", "a row without an id", "|RUNNING|0:02|1:00|N/A|N/A|n1|None|x|end\n"),
    ("Cromwell 5400", "a row without a state", "6||0:02|1:00|N/A|N/A|n1|None|x|end\n"),
    ("faults 2026-11-29, 2.1", "only its id arrived", "4+0"),
    ("Cromwell 5400", "text behind the last row", "slurm_load_jobs error: Zero Bytes were transmitted\n"),
)


@pytest.mark.parametrize(("source", "why", "tail"), CUT)
def test_a_row_that_is_cut_off_is_no_answer(source: str, why: str, tail: str) -> None:
    assert isinstance(parse_list(listed(OUR_ROW, tail)), PollFailed), (source, why)


@pytest.mark.parametrize(
    "tail", ["6|COMPLETED|0:0|Unknown", "6|COMPLETED|0:0|Unknown\n", "sacct: error\n", "|||||||||\n", "6\n"]
)
def test_a_line_of_sacct_that_is_cut_off_is_no_answer(tail: str) -> None:
    text = "|".join(ACCOUNTING_COLUMNS) + "\n" + OUR_ACCOUNT + tail
    assert isinstance(parse_accounting(CommandResult(("sacct",), 0, text)), PollFailed)
