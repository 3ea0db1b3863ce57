"""Before the code starts: what refuses, who steps aside, and that of many copies one starts."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.job.wrapper import WRAPPER
from mltm.contract.journal_records import Dup, JobClaim
from tests.agent.job.running import (
    Prepared,
    finish,
    prepare,
    read_exit,
    read_kinds,
    read_log,
    read_refusal,
    read_written,
    run,
    started,
    write_list,
)

MARK = "open('mark', 'a').write('x')"


def _run_at_once(task: Prepared, number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        copies = [stack.enter_context(started(task)) for _ in range(number)]
        return [finish(copy) for copy in copies]


def _mutate(task: Prepared, tmp_path: Path, old: str, new: str) -> Prepared:
    text = task.script.read_text()
    assert text.count(old) == 1
    script = tmp_path / "mutated.sh"
    script.write_text(text.replace(old, new))
    script.chmod(0o755)
    return Prepared(task.spool, task.folder, task.args, script)


def test_of_eight_copies_at_once_one_starts(tmp_path: Path) -> None:
    task = prepare(tmp_path, MARK)

    assert _run_at_once(task, 8) == [0] * 8
    assert (task.folder.work / "mark").read_text() == "x"
    assert read_kinds(task) == {"job": 1, "dup": 7, "exit": 1}


def test_a_ten_thousandth_attempt_starts_like_the_first(tmp_path: Path) -> None:
    task = prepare(tmp_path, MARK)
    later = replace(task, args=(*task.args[:2], "10000", *task.args[3:]))
    for path in task.folder.control.glob("*.01"):
        path.rename(path.with_suffix(".10000"))

    assert run(later) == 0
    assert (task.folder.work / "mark").read_text() == "x"


def test_without_the_claim_all_copies_would_start(tmp_path: Path) -> None:
    task = _mutate(
        prepare(tmp_path, MARK, try_s=1), tmp_path, """[[ $decided == "$2" ]] || step_aside 'the claim is taken'""", ":"
    )

    _run_at_once(task, 2)

    assert (task.folder.work / "mark").read_text() == "xx"


def test_a_later_copy_steps_aside_and_says_so(tmp_path: Path) -> None:
    task = prepare(tmp_path, MARK)
    assert run(task) == 0

    assert run(task, SLURM_JOB_ID="8") == 0
    (dup,) = read_written(task)["dup"]
    assert isinstance(dup, Dup)
    assert dup.job_id == "8"
    assert (task.folder.work / "mark").read_text() == "x"


def test_the_claim_names_job_and_node(tmp_path: Path) -> None:
    task = prepare(tmp_path, "")
    run(task, SLURM_JOB_ID="6", SLURM_ARRAY_JOB_ID="6", SLURM_ARRAY_TASK_ID="4")

    claim = JobClaim.model_validate_json(task.records.claim.read_bytes())
    assert (claim.job_id, claim.array_index, claim.node) == ("6_4", 4, "n1")
    assert claim.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert read_exit(task).job_id == "6_4"


def _fence(task: Prepared) -> None:
    task.records.claim.write_text('{"kind":"fence","nonce":"' + "0" * 32 + '","reason":"cancel"}\n')


def _note(task: Prepared) -> None:
    task.records.note.write_text("{}")


def _dangling_note(task: Prepared) -> None:
    task.records.note.symlink_to("nowhere")


@pytest.mark.parametrize("owned", [_fence, _note, _dangling_note])
def test_an_owned_attempt_is_left_alone(tmp_path: Path, owned: Callable[[Prepared], None]) -> None:
    task = prepare(tmp_path, MARK)
    owned(task)

    assert run(task) == 0
    assert len(list(task.folder.control.glob("dup.01.*"))) == 1
    assert not (task.folder.work / "mark").exists()
    assert not task.records.exit.exists()
    assert (task.spool.bell / task.folder.task_id).exists()


@pytest.mark.parametrize("torn", [b"", b'{"kind":"job","non', b'{"kind":"exit","code":0}\n'])
def test_a_torn_claim_starts_nothing_and_stays(tmp_path: Path, torn: bytes) -> None:
    task = prepare(tmp_path, MARK)
    task.records.claim.write_bytes(torn)

    assert run(task) == 75
    assert len(list(task.folder.control.glob("refused.01.*"))) == 1
    assert not (task.folder.work / "mark").exists()
    assert task.records.claim.read_bytes() == torn


def _close_intent(task: Prepared) -> None:
    task.records.intent.write_text('{"kind":"closed","nonce":"0"}\n')


def _cut_intent(task: Prepared) -> None:
    task.records.intent.write_text('{"kind":"submit"')


def _cut_argv(task: Prepared) -> None:
    task.records.argv.write_bytes(b"")


def _break_env(task: Prepared) -> None:
    write_list(task.records.env, ["1a=b"])


def _missing_program(task: Prepared) -> None:
    write_list(task.records.argv, ["/nowhere/python", "x"])


def _missing_path(task: Prepared) -> None:
    write_list(task.records.checks, ["/etc/passwd", '/nowhere/a "b"\n\\c'])


def _replace_logs(task: Prepared) -> None:
    task.folder.logs.rmdir()
    task.folder.logs.write_text("")


REFUSALS: list[tuple[str, Callable[[Prepared], object]]] = [
    ("intent", lambda task: task.records.intent.unlink()),
    ("intent", _close_intent),
    ("intent", _cut_intent),
    ("argv", lambda task: task.records.argv.unlink()),
    ("argv", _cut_argv),
    ("env", lambda task: task.records.env.unlink()),
    ("env", _break_env),
    ("checks", lambda task: task.records.checks.unlink()),
    ("program", _missing_program),
    ("path", _missing_path),
    ("notes", lambda task: task.spool.notes.rmdir()),
    ("work", lambda task: task.folder.work.rmdir()),
    ("logs", _replace_logs),
]


@pytest.mark.parametrize(("check", "harm"), REFUSALS, ids=[f"{name}{i}" for i, (name, _) in enumerate(REFUSALS)])
def test_trouble_before_the_claim_is_75_and_leaves_the_claim_free(
    tmp_path: Path, check: str, harm: Callable[[Prepared], object]
) -> None:
    task = prepare(tmp_path, MARK)
    harm(task)

    assert run(task) == 75
    refused = read_refusal(task)
    assert (refused.check, refused.job_id, refused.node) == (check, "7", "n1")
    assert not (task.folder.work / "mark").exists()


SYNC = """#!/bin/sh
for last; do :; done
[ "$last" = "$CONTROL" ] && [ -e "$CONTROL/claim.01" ] && exit 1
exec /bin/sync "$@"
"""


def test_a_claim_that_could_not_be_synced_is_refused_by_its_own_nonce(tmp_path: Path) -> None:
    task, programs = prepare(tmp_path / "spool", MARK), tmp_path / "bin"
    programs.mkdir()
    (programs / "sync").write_text(SYNC)
    (programs / "sync").chmod(0o755)

    assert run(task, PATH=f"{programs}:{os.environ['PATH']}", CONTROL=str(task.folder.control)) == 75

    written = read_written(task)
    assert {kind: len(records) for kind, records in written.items()} == {"job": 1, "refused": 1}
    assert written["job"][0].nonce == written["refused"][0].nonce
    assert not (task.folder.work / "mark").exists()


def _read_functions() -> dict[str, str]:
    text = WRAPPER.read_text()
    found = re.findall(r"^(\w+)\(\) (?:\{ ([^\n]*) \}|\{\n(.*?)^\})", text, re.MULTILINE | re.DOTALL)
    return {name: one or many for name, one, many in found}


def test_nothing_can_refuse_once_the_code_may_have_started() -> None:
    """A refusal of the claim's own nonce reads as "never started" (docs/decisions/0008)."""
    bodies = _read_functions()
    steps = bodies["main"].split()
    after = steps[steps.index("take_claim") + 1 :]
    assert "start_code" in after
    reached, left = set(), {*after, "note_stop", "note_warning", "note_lost_beat"}
    while left:
        name = left.pop()
        reached.add(name)
        left |= {word for word in re.findall(r"\w+", bodies[name]) if word in bodies} - reached

    assert {"keep_code", "run_code", "put_exit", "start_timer"} <= reached
    assert reached.isdisjoint({"refuse", "step_aside", "write_advice"})
    # In a subshell it would not end the wrapper.
    assert not re.search(r"(?<!\()\((?!\()[^)]*\b(refuse|step_aside)\b", WRAPPER.read_text())
    assert "exit" in bodies["leave"]
    assert all(bodies[name].rstrip().split("\n")[-1].split()[0] == "leave" for name in ("refuse", "step_aside"))


def test_a_refused_attempt_can_still_start(tmp_path: Path) -> None:
    late = tmp_path / "late"
    task = prepare(tmp_path, MARK, checks=[str(late)])
    assert run(task) == 75

    late.touch()

    assert run(task) == 0
    assert read_kinds(task) == {"refused": 1, "job": 1, "exit": 1}


def test_without_a_folder_of_records_nothing_starts(tmp_path: Path) -> None:
    task = prepare(tmp_path, MARK)
    shutil.rmtree(task.folder.control)

    assert run(task) == 75
    assert not (task.folder.work / "mark").exists()


@pytest.mark.parametrize("place", range(12))
def test_strange_arguments_start_nothing(tmp_path: Path, place: int) -> None:
    task = prepare(tmp_path, MARK)
    args = [*task.args[:place], "$(touch mark)", *task.args[place + 1 :]]

    assert run(Prepared(task.spool, task.folder, tuple(args))) == 75
    assert not list(tmp_path.rglob("mark"))


def test_a_script_that_is_no_job_starts_nothing(tmp_path: Path) -> None:
    task = prepare(tmp_path, MARK)

    assert run(task, SLURM_JOB_ID="") == 75
    assert read_refusal(task).check == "job_id"


def test_the_submitters_shell_settings_have_no_say(tmp_path: Path) -> None:
    startup = tmp_path / "startup"
    startup.write_text(f"touch {tmp_path}/mark\n")
    task = prepare(tmp_path, "print('ran')")
    settings = {"BASH_ENV": str(startup), "ENV": str(startup), "BASH_FUNC_ln%%": "() { :; }", "IFS": "0123456789"}

    assert run(task, **settings) == 0
    assert read_log(task) == b"ran\n"
    assert not (tmp_path / "mark").exists()
