"""A proof is for one purpose, one spool and one value; the same inputs give the same proof for ever."""

import itertools
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltm.contract.manifest import Manifest
from mltm.contract.proofs import (
    derive_seal_key,
    derive_spool_key,
    is_proof,
    parse_address,
    parse_key,
    prove_bundle,
    prove_enrolment,
    render_address,
    seal_manifest,
)

SECRET, KEY = b"s" * 32, b"k" * 32
MANIFEST = Manifest(
    task_id="a" * 32, owner="alice", cluster="atena02", submitted_at=datetime(2026, 11, 29, tzinfo=UTC),
    script_name="train.py", config={"b": 1, "a": [1, "é"]}, files=[],
)  # fmt: skip
SPOOL_KEY = "feffa6956b6254e0e7ae990d97c1784502b971dd9d786e7fa264d7f32521e61b"
BUNDLE = "993785b7191b596645f8fcd5f606c3a267d0a89a5ee4622ad865bbbdf296091e"
ENROLMENT = "9035108b7a39edca84c90e62100f0426edba323dd1c1099653204e899290b3cb"
SEAL = "fda6b37b25d686b92df0d0d229eee73f73f3b1e9bead0f0359cd27d87e32393d"


def test_each_input_gives_another_proof() -> None:
    keys = [
        derive_spool_key(SECRET, "1", "c", "o"), derive_spool_key(b"t" * 32, "1", "c", "o"),
        derive_spool_key(SECRET, "2", "c", "o"), derive_spool_key(SECRET, "1", "d", "o"),
        derive_spool_key(SECRET, "1", "c", ""), derive_spool_key(SECRET, "1", "co", ""), derive_seal_key(SECRET),
    ]  # fmt: skip
    proofs = [
        prove_bundle(KEY, "1", b"x"), prove_bundle(KEY, "1", b"y"), prove_bundle(KEY, "2", b"x"),
        prove_bundle(SECRET, "1", b"x"), prove_enrolment(KEY, "1", "x"), prove_bundle(KEY, "1x", b""),
        seal_manifest(KEY, "1", MANIFEST), json.loads(render_address("x", "1", KEY))["proof"],
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert len(set(proofs)) == len(proofs)
    assert all(len(key) == 32 for key in keys)


def test_the_proofs_of_this_version_stay() -> None:
    """Bundles lie in spools, and keys in files, when a new version comes."""
    assert derive_spool_key(SECRET, "1" * 32, "c", "o").hex() == SPOOL_KEY
    assert prove_bundle(KEY, "1" * 32, b"{}") == BUNDLE
    assert prove_enrolment(KEY, "1" * 32, "code") == ENROLMENT
    assert seal_manifest(KEY, "1" * 32, MANIFEST) == SEAL


def test_a_seal_outlives_the_way_through_an_agent() -> None:
    sealed = MANIFEST.model_copy(update={"seal": seal_manifest(KEY, "1", MANIFEST)})
    back = Manifest.model_validate_json(sealed.model_dump_json(exclude_defaults=True))
    assert is_proof(seal_manifest(KEY, "1", back), back.seal)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=2, max_size=2, unique=True))
def test_two_lists_of_parts_never_give_the_same_proof(pairs: list[tuple[str, str]]) -> None:
    one, two = (prove_enrolment(KEY, spool_id, code) for spool_id, code in pairs)
    assert one != two


@pytest.mark.parametrize("given", ["", "x", "é" * 64, "\ud800", prove_bundle(KEY, "1", b"x").upper()])
def test_what_is_no_proof_is_none_and_raises_nothing(given: str) -> None:
    assert not is_proof(prove_bundle(KEY, "1", b"x"), given)


@pytest.mark.parametrize("text", ["", "zz", "ab", "a" * 63, "a" * 66, "\x00" * 64])
def test_a_key_that_was_cut_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_key(text)
    assert parse_key(f"{KEY.hex()}\n") == KEY


def test_an_address_is_only_followed_as_it_was_written() -> None:
    raw = render_address("https://g", "1", KEY)
    assert parse_address(raw, "1", KEY) == "https://g"
    for spool_id, key in itertools.product(("1", "2"), (KEY, SECRET)):
        if (spool_id, key) != ("1", KEY):
            with pytest.raises(ValueError, match="not the gateway's"):
                parse_address(raw, spool_id, key)
    with pytest.raises(ValueError, match="not a gateway's address file"):
        parse_address(raw[:-5], "1", KEY)
