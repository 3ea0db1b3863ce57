"""Fault 3.6: one vanished file ended `mltm get`, with advice about the task's id.

A user who fetches the results of a running task expects all that is there, the names of what is not, why, and an exit
code that a script can tell from success and from every other failure.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mltm.cli import exit_codes
from tests.mltm.cli.run import Mltm
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, Fault

FILES = {"a.txt": b"a", "b.txt": b"b", "sub/c.txt": b"c", "z.txt": b"z"}


@dataclass(frozen=True)
class Case:
    """Answers or names that spoil some files, which ones, and the message of each."""

    missing: dict[str, str]
    faults: tuple[Fault, ...] = ()
    named: tuple[str, ...] = ()
    outputs: dict[str, bytes] | None = None
    in_the_way: tuple[str, ...] = ()


def spoil(path: str, status: int, detail: str) -> Fault:
    return Fault("GET", f"/v1/tasks/{TASK_ID}/outputs/{path}", status=status, detail=detail)


CASES = {
    "3.6: one vanished after it was listed": Case({"b.txt": "It is gone"}, (spoil("b.txt", 404, "It is gone."),)),
    "3.6: the first of all vanished": Case({"a.txt": "It is gone"}, (spoil("a.txt", 404, "It is gone."),)),
    "3.6: two vanished, one in a folder": Case(
        {"b.txt": "It is gone", "sub/c.txt": "So is this"},
        (spoil("b.txt", 404, "It is gone."), spoil("sub/c.txt", 404, "So is this.")),
    ),
    "3.6: the gateway fails with one name": Case({"b.txt": "A fault."}, (spoil("b.txt", 500, "A fault."),)),
    "3.6: the gateway refuses one name": Case({"b.txt": "bad path"}, (spoil("b.txt", 422, "bad path"),)),
    "3.6: the file was replaced meanwhile": Case({"b.txt": "It changed."}, (spoil("b.txt", 409, "It changed."),)),
    "3.6: a name that was never there": Case(
        {"no.txt": "the task has no such output"}, named=("a.txt", "no.txt", "b.txt", "sub", "z.txt")
    ),
    "3.6: a name that leads out of the folder": Case(
        {"../evil": "is outside the folder"}, outputs={"../evil": b"x", **FILES}
    ),
    "3.6: a name that is too long for this disk": Case(
        {"l" * 300: "File name too long"}, outputs={"l" * 300: b"x", **FILES}
    ),
    "3.6: a folder stands where the file goes": Case({"b.txt": "Is a directory"}, in_the_way=("b.txt/x",)),
    "3.6: a file stands where the folder goes": Case({"sub/c.txt": "File exists"}, in_the_way=("sub",)),
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_rest_is_fetched_and_the_missing_named(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path, case: Case, as_json: bool
) -> None:
    gateway.outputs = dict(case.outputs or FILES)
    gateway.faults = list(case.faults)
    for name in case.in_the_way:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"in the way")
    more = ("--json",) if as_json else ()
    ran = mltm("get", TASK_ID, *case.named, "-o", tmp_path, "--force", *more)
    assert ran.code == exit_codes.NOT_ALL == 66
    for path in set(FILES) - set(case.missing):
        assert (tmp_path / path).read_bytes() == FILES[path]
        assert str(tmp_path / path) in ran.out
    for path, message in case.missing.items():
        assert path in ran.err
        assert message.rstrip(".") in ran.err
    if as_json:
        assert {entry["path"] for entry in ran.document["missing"]} == set(case.missing)
    else:
        assert f"{len(case.missing)} of {len(FILES) + len(set(case.missing) - set(FILES))} outputs" in ran.err
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (429, 69), (503, 69), (504, 69)], ids=str)
def test_what_would_meet_every_file_ends_it_and_the_rest_is_named(
    mltm: Mltm, gateway: FakeGateway, tmp_path: Path, status: int, code: int
) -> None:
    gateway.outputs = dict(FILES)
    gateway.faults = [spoil("b.txt", status, "No.")]
    ran = mltm("--patience", "0", "get", TASK_ID, "-o", tmp_path)
    assert ran.code == code
    assert "Not downloaded: b.txt, sub/c.txt, z.txt." in ran.err
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["a.txt"]


def test_the_advice_is_not_about_the_task_id(mltm: Mltm, gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.outputs = dict(FILES)
    gateway.faults = [spoil("b.txt", 404, "It is gone.")]
    ran = mltm("get", TASK_ID, "-o", tmp_path)
    assert ran.err.splitlines() == [
        "mltm: 1 of 4 outputs were not downloaded.",
        "  b.txt: It is gone.",
        f"  The others are complete. `mltm outputs {TASK_ID}` lists what there is now.",
    ]
