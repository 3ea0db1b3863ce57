import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.uplink import outputs
from agent.uplink.file_bytes import MAX_READ_BYTES
from agent.uplink.log_reader import read_log_bytes, read_newest_attempt
from agent.uplink.outputs import list_outputs, read_output
from agent.uplink.task_files import is_attempt_over, is_task_over
from mltm.contract.agent_api import Ack, OutputFile
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import PIECE_BYTES, Spool, TaskFolder
from mltm.runtime import hostile_files

TASK = TaskId("0" * 31 + "1")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def folder(spool: Spool) -> TaskFolder:
    found = spool.task(TASK)
    for part in found.folders:
        part.mkdir(parents=True)
    return found


def put_piece(folder: TaskFolder, number: int, data: bytes, attempt: int = 1) -> None:
    pieces = folder.attempt_logs(attempt)
    pieces.mkdir(exist_ok=True)
    (pieces / f"out.{number:06d}").write_bytes(data)


def test_a_log_is_read_across_pieces(folder: TaskFolder) -> None:
    put_piece(folder, 0, b"a" * PIECE_BYTES)
    put_piece(folder, 1, b"bcd")
    piece = read_log_bytes(folder, 1, PIECE_BYTES - 2, 100)
    assert (piece.data, piece.offset, piece.size) == (b"aabcd", PIECE_BYTES - 2, PIECE_BYTES + 3)


def test_a_dropped_middle_makes_the_offset_jump(folder: TaskFolder) -> None:
    put_piece(folder, 0, b"a" * PIECE_BYTES)
    put_piece(folder, 7, b"tail")
    before = read_log_bytes(folder, 1, PIECE_BYTES - 1, 100)
    assert (before.data, before.offset) == (b"a", PIECE_BYTES - 1)
    after = read_log_bytes(folder, 1, PIECE_BYTES, 100)
    assert (after.data, after.offset, after.size) == (b"tail", 7 * PIECE_BYTES, 7 * PIECE_BYTES + 4)


def test_a_short_middle_piece_is_a_gap_too(folder: TaskFolder) -> None:
    put_piece(folder, 0, b"short")
    put_piece(folder, 1, b"next")
    assert read_log_bytes(folder, 1, 0, 100).data == b"short"
    assert read_log_bytes(folder, 1, 5, 100).offset == PIECE_BYTES


def test_a_negative_offset_counts_from_the_end(folder: TaskFolder) -> None:
    put_piece(folder, 0, b"0123456789")
    assert read_log_bytes(folder, 1, -3, 100).data == b"789"
    assert read_log_bytes(folder, 1, -300, 100).data == b"0123456789"


@pytest.mark.parametrize("offset", [0, 5, 10**12])
def test_a_log_that_is_not_there_is_empty_and_not_an_error(folder: TaskFolder, offset: int) -> None:
    piece = read_log_bytes(folder, 1, offset, 100)
    assert (piece.data, piece.offset, piece.size) == (b"", offset, 0)


def test_no_answer_is_longer_than_eight_mebibytes(folder: TaskFolder) -> None:
    for number in range(9):
        put_piece(folder, number, b"x" * PIECE_BYTES)
    assert len(read_log_bytes(folder, 1, 0, 10**9).data) == MAX_READ_BYTES
    assert read_log_bytes(folder, 1, 0, -5).data == b""


def test_the_newest_attempt_is_the_largest_number(folder: TaskFolder) -> None:
    assert read_newest_attempt(folder) is None
    for name in ("a01", "a10", "a9x", "b99"):
        (folder.logs / name).mkdir()
    assert read_newest_attempt(folder) == 10


def test_a_log_is_final_by_evidence_only(spool: Spool, folder: TaskFolder) -> None:
    put_piece(folder, 0, b"x")
    folder.attempt(1).intent.write_bytes(b'{"kind":"submit"}\n')
    assert not is_attempt_over(spool, folder, 1)
    folder.attempt(1).exit.write_bytes(b"{}")
    assert is_attempt_over(spool, folder, 1)
    assert not is_task_over(spool, folder)
    folder.attempt(2).intent.write_bytes(b'{"kind":"closed"}\n')
    assert is_task_over(spool, folder)


def test_a_tombstone_ends_everything(spool: Spool, folder: TaskFolder) -> None:
    spool.done.mkdir()
    spool.tombstone(TASK).write_bytes(b"{}")
    assert is_attempt_over(spool, folder, 1)


def test_outputs_are_listed_and_read(folder: TaskFolder) -> None:
    (folder.outputs / "sub").mkdir()
    (folder.outputs / "sub" / "model ü.bin").write_bytes(b"0123456789")
    (folder.outputs / "metrics.json").write_bytes(b"{}")
    listing = list_outputs(folder)
    assert [(f.path, f.size) for f in listing.files] == [("metrics.json", 2), ("sub/model ü.bin", 10)]
    piece = read_output(folder, "sub/model ü.bin", 4, 3)
    assert (piece.data, piece.offset, piece.size) == (b"456", 4, 10)
    assert read_output(folder, "sub/model ü.bin", 99, 3).data == b""


def plant(folder: TaskFolder, secret: Path, kind: str) -> str:
    """What hostile user code may do to its own folders; returns the path that it then asks for."""
    match kind:
        case "link to a file":
            (folder.outputs / "x").symlink_to(secret)
            return "x"
        case "link to a folder":
            (folder.outputs / "d").symlink_to(secret.parent)
            return f"d/{secret.name}"
        case "outputs itself is a link":
            folder.outputs.rmdir()
            folder.outputs.symlink_to(secret.parent)
            return secret.name
        case "pipe":
            os.mkfifo(folder.outputs / "x")
            return "x"
        case "folder":
            (folder.outputs / "x").mkdir()
            return "x"
        case _:
            return kind


@pytest.mark.parametrize(
    "kind",
    [
        "link to a file", "link to a folder", "outputs itself is a link", "pipe", "folder",
        "../../../secret/s", "/etc/passwd", "", ".", "a//b", "a/../x", "nul\0", "/".join(["d"] * 40), "x" * 300,
    ],
)  # fmt: skip
def test_nothing_but_regular_files_below_outputs_is_read(folder: TaskFolder, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret" / "s"
    secret.parent.mkdir()
    secret.write_text("secret")
    path = plant(folder, secret, kind)
    with pytest.raises(OSError, match=r"."):
        read_output(folder, path, 0, 100)


def test_a_task_folder_swapped_for_a_link_is_not_followed(spool: Spool, folder: TaskFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder.path.rename(elsewhere)
    (elsewhere / "outputs" / "x").write_text("secret")
    folder.path.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"."):
        read_output(folder, "x", 0, 100)


def test_links_and_unspeakable_names_are_not_listed(folder: TaskFolder, tmp_path: Path) -> None:
    (folder.outputs / "link").symlink_to(tmp_path)
    os.mkfifo(folder.outputs / "pipe")
    Path(os.fsdecode(os.fsencode(folder.outputs) + b"/\xff")).write_bytes(b"")
    (folder.outputs / "new\nline").write_bytes(b"")
    (folder.outputs / "good").write_bytes(b"")
    listing = list_outputs(folder)
    assert [f.path for f in listing.files] == ["good"]
    assert "2 files" in listing.message


def test_a_list_is_bounded_and_says_so(folder: TaskFolder) -> None:
    for number in range(5):
        (folder.outputs / str(number)).write_bytes(b"")
    listing = list_outputs(folder, max_files=3)
    assert len(listing.files) == 3
    assert "more than 3" in listing.message


def test_no_more_entries_are_looked_at_than_a_list_may_take(
    folder: TaskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (folder.outputs / f"d{number}").mkdir()
        (folder.outputs / f"d{number}" / "file").write_bytes(b"")
    looked_at: list[str] = []
    stat_at = hostile_files.stat_at

    def stat_and_tell(folder: hostile_files.Folder, name: str) -> os.stat_result:
        looked_at.append(name)
        return stat_at(folder, name)

    monkeypatch.setattr(hostile_files, "stat_at", stat_and_tell)
    monkeypatch.setattr(outputs, "_MAX_ENTRIES", 40)

    assert len(list_outputs(folder).files) == 10
    assert len(looked_at) == 40


def test_a_hard_link_is_neither_listed_nor_read_and_the_reason_is_told(folder: TaskFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder.outputs / "good").write_bytes(b"")
    (folder.outputs / "linked").hardlink_to(tmp_path / "secret")
    listing = list_outputs(folder)
    assert [f.path for f in listing.files] == ["good"]
    assert listing.message == "1 files are left out, because they are hard links (copy them)."
    with pytest.raises(PermissionError, match="hard link"):
        read_output(folder, "linked", 0, 100)


@pytest.mark.parametrize(
    ("seconds", "year"),
    [(2**33, 2242), (253_402_300_800, 9999), (2**60, 9999), (-(2**40), 1), (-(2**60), 1), (-62_135_596_800, 1)],
)
def test_any_time_that_user_code_sets_is_shown_as_one_of_the_calendar(
    folder: TaskFolder, monkeypatch: pytest.MonkeyPatch, seconds: int, year: int
) -> None:
    (folder.outputs / "good").write_bytes(b"")
    walk = outputs._walk

    def walk_with_time(walked: TaskFolder) -> Iterator[tuple[str, os.stat_result]]:
        for path, status in walk(walked):
            values = list(status)  # not every file system keeps such a time
            values[stat.ST_MTIME] = seconds
            yield path, os.stat_result(values)

    monkeypatch.setattr(outputs, "_walk", walk_with_time)

    (file,) = list_outputs(folder).files
    assert file.modified_at.year == year
    assert OutputFile.model_validate_json(file.model_dump_json()) == file


def test_a_list_is_bounded_in_bytes_and_says_so(folder: TaskFolder) -> None:
    for number in range(300):
        (folder.outputs / f"{number:03d}{'ü' * 120}").write_bytes(b"")
    listing = list_outputs(folder, max_bytes=50_000)

    assert 100 < len(listing.files) < 150
    assert (
        f"{300 - len(listing.files)} files are left out, because their names make the list too long" in listing.message
    )
    ack = Ack(outcome="done", message=listing.message, outputs=list(listing.files))
    assert len(ack.model_dump_json().encode()) <= 50_000 + 1000


def test_names_full_of_quotes_count_as_they_travel(folder: TaskFolder) -> None:
    for number in range(200):
        (folder.outputs / (f"{number:03d}" + '"' * 126 + "\\" * 126)).write_bytes(b"")
    listing = list_outputs(folder, max_bytes=50_000)

    assert len(Ack(outcome="done", outputs=list(listing.files)).model_dump_json().encode()) <= 50_000


def test_what_is_listed_can_be_read_however_deep(folder: TaskFolder) -> None:
    deep = folder.outputs
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
        (deep / "f").write_bytes(b"x")
    listed = list_outputs(folder).files
    assert len(listed) > 20
    assert all(read_output(folder, file.path, 0, 1).data == b"x" for file in listed)


def test_a_piece_that_is_a_link_is_not_read(folder: TaskFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder.attempt_logs(1).mkdir()
    (folder.attempt_logs(1) / "out.000000").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"."):
        read_log_bytes(folder, 1, 0, 100)
