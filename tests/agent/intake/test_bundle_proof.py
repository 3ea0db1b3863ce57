"""What the gateway did not prove never becomes a task, and never touches the task whose name it has."""

import os
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.intake.bundles import BundleIntake
from agent.spool.spool_key import read_spool_key, write_spool_key
from mltm.contract.ids import TaskId
from mltm.contract.proofs import prove_bundle
from mltm.contract.spool_layout import MANIFEST, PROOF
from tests.agent.spool.build import TASK, SpoolKit, send

OTHER = TaskId("0190a0b0c0d07e0f8a0b0c0d0e0f0a0c")
KEY = b"k" * 32


@pytest.fixture
def keyed(kit: SpoolKit) -> SpoolKit:
    write_spool_key(kit.spool, KEY.hex(), kit.clock)
    return kit


def prove(kit: SpoolKit, bundle: Path, key: bytes = KEY, spool_id: str = "") -> None:
    spool_id = spool_id or kit.spool.spool_id.read_text().strip()
    (bundle / PROOF).write_text(prove_bundle(key, spool_id, (bundle / MANIFEST).read_bytes()) + "\n")


def intake_of(kit: SpoolKit) -> BundleIntake:
    return BundleIntake(kit.spool, kit.settings, kit.clock)


def read_records(kit: SpoolKit) -> list[str]:
    """Everything that the agent has written of any task."""
    places = (kit.spool.tasks, kit.spool.active, kit.spool.done, kit.spool.outbox)
    return sorted(str(path) for place in places for path in place.rglob("*") if path != kit.spool.staging)


def test_a_proved_bundle_becomes_a_task(keyed: SpoolKit) -> None:
    prove(keyed, send(keyed))
    assert intake_of(keyed).scan() == []
    assert keyed.tasks() == [TASK]


def _change(bundle: Path) -> None:
    text = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(text.replace('"ana"', '"eve"'))


CASES = [
    "no proof", "an empty one", "another key", "for another spool", "of another manifest", "no manifest", "junk",
    "a folder", "a pipe", "a link",
]  # fmt: skip


def forge(kit: SpoolKit, bundle: Path, case: str) -> None:
    proof = bundle / PROOF
    match case:
        case "an empty one":
            proof.write_bytes(b"")
        case "another key":
            prove(kit, bundle, b"x" * 32)
        case "for another spool":
            prove(kit, bundle, KEY, "6" * 32)
        case "of another manifest":
            _change(bundle)
        case "no manifest":
            (bundle / MANIFEST).unlink()
        case "junk":
            proof.write_bytes(b"\xff" * 1000)
        case "a folder":
            proof.unlink()
            proof.mkdir()
        case "a pipe":
            proof.unlink()
            os.mkfifo(proof)
        case "a link":
            proof.rename(bundle / "p")
            proof.symlink_to("p")
        case _:
            proof.unlink()


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_without_a_valid_proof_is_named_and_touches_nothing(keyed: SpoolKit, case: str) -> None:
    bundle = send(keyed)
    prove(keyed, bundle)
    forge(keyed, bundle, case)
    prove(keyed, send(keyed, OTHER))
    before, intake = read_records(keyed), intake_of(keyed)
    for _ in range(10):  # minutes: long enough to judge a faulty bundle
        messages = intake.scan()
        keyed.now_s += 30

        assert [str(bundle) in message for message in messages] == [True]
        assert "may not be the gateway's" in messages[0]
    assert [path for path in read_records(keyed) if OTHER not in path] == before
    assert keyed.tasks() == [OTHER]


@pytest.mark.parametrize("kind", ["link", "file", "pipe", "empty folder"])
def test_what_is_not_even_a_bundle_closes_no_task(keyed: SpoolKit, kind: str, tmp_path: Path) -> None:
    place = keyed.settings.inbox_folder.bundle(TASK)
    match kind:
        case "link":
            place.symlink_to(tmp_path)
        case "file":
            place.write_text("x")
        case "pipe":
            os.mkfifo(place)
        case _:
            place.mkdir()
    before, intake = read_records(keyed), intake_of(keyed)
    for _ in range(10):
        assert len(intake.scan()) == 1
        keyed.now_s += 30
    assert read_records(keyed) == before


def test_a_forged_bundle_of_a_task_that_is_here_changes_nothing(keyed: SpoolKit) -> None:
    bundle = send(keyed)
    prove(keyed, bundle)
    intake = intake_of(keyed)
    intake.scan()
    (keyed.spool.active / TASK).unlink()
    _change(bundle)
    before = read_records(keyed)
    for _ in range(100):
        intake.scan()
        keyed.now_s += 60
    assert read_records(keyed) == before


def test_a_bundle_that_gets_its_proof_later_is_accepted(keyed: SpoolKit) -> None:
    bundle, intake = send(keyed), intake_of(keyed)
    assert len(intake.scan()) == 1
    prove(keyed, bundle)
    keyed.now_s += 61
    assert intake.scan() == []
    assert keyed.tasks() == [TASK]


def test_a_faulty_bundle_that_is_the_gateways_is_rejected_as_before(keyed: SpoolKit) -> None:
    bundle = send(keyed, given=b"other bytes")
    prove(keyed, bundle)
    intake = intake_of(keyed)
    for _ in range(5):
        intake.scan()
        keyed.now_s += 30
    assert keyed.spool.task(TASK).attempt(1).intent.exists()


def test_thousands_of_junk_entries_give_a_few_sentences(keyed: SpoolKit) -> None:
    for number in range(200):
        (keyed.settings.inbox_folder.new / f"{number:032x}").mkdir()
    messages = intake_of(keyed).scan()
    assert len(messages) == 21
    assert messages[-1].startswith("180 more entries of ")


def test_a_key_that_comes_while_the_agent_runs_counts_at_once(kit: SpoolKit) -> None:
    intake = intake_of(kit)
    write_spool_key(kit.spool, KEY.hex(), kit.clock)
    send(kit)
    assert len(intake.scan()) == 1
    assert kit.tasks() == []


def test_without_a_key_the_first_foreign_account_is_taken_for_the_gateways(kit: SpoolKit) -> None:
    send(kit)
    os.chown(kit.settings.inbox_folder.bundle(TASK), 65501, -1)
    assert intake_of(kit).scan() == []
    os.chown(send(kit, OTHER), 65502, -1)
    (message,) = intake_of(kit).scan()

    assert "It belongs to the uid 65502, and the gateway's is 65501" in message
    assert kit.tasks() == [TASK]


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab"])
def test_a_damaged_key_stops_the_agent_in_words(kit: SpoolKit, text: str) -> None:
    kit.spool.spool_key.write_text(text)
    with pytest.raises(SpoolError, match=r"spool_key is damaged\. Restore the file"):
        intake_of(kit)


def test_the_key_is_for_the_agents_account_only(keyed: SpoolKit) -> None:
    assert read_spool_key(keyed.spool) == KEY
    assert keyed.spool.spool_key.stat().st_mode & 0o777 == 0o600
