"""Which new passwords are refused, and that a password is used as it was given."""

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type

from gateway.errors import InvalidError
from gateway.services.new_passwords import check_new_password
from gateway.services.passwords import MAX_PASSWORD_BYTES, hash_password, is_password

WORDS = ("alice", "mltm", "atena02")


@pytest.mark.parametrize(
    ("password", "key"),
    [
        ("short", "short_password"),
        ("1234567", "short_password"),
        ("x" * (MAX_PASSWORD_BYTES + 1), "bad_password"),
        ("a bell \x07 rings", "bad_password"),
        ("password", "common_password"),
        ("PassWord1", "common_password"),
        ("qwertyuiop", "common_password"),
        ("trustno1", "common_password"),
        ("alice4711", "named_password"),
        ("Alice-2026!", "named_password"),
        ("mltm_mltm", "named_password"),
        ("aliceMLTM99", "named_password"),
        ("atena02atena02", "named_password"),
        ("MLTaskManager", "named_password"),
    ],
)
def test_a_weak_password_is_refused_with_its_reason(password: str, key: str) -> None:
    with pytest.raises(InvalidError) as refused:
        check_new_password(password, WORDS)

    assert refused.value.key == key


def test_words_that_are_made_of_each_other_take_no_longer() -> None:
    """A pattern of such words tries each of 2^300 ways."""
    words = ("aa", "aaa", "aaaa")
    with pytest.raises(InvalidError, match="only names"):
        check_new_password("a" * 900, words)
    check_new_password("a" * 900 + "b", words)


@pytest.mark.parametrize(
    "password",
    [
        "only lower case words",
        "4071986523377",
        "        leading and trailing        ",
        "pässwörter-ünd-ß",
        "alice in wonderland",
        "x9" * 256,
        "\U0001f600" * 64,
    ],
)
def test_any_other_text_is_a_password_and_is_used_as_it_is(password: str) -> None:
    check_new_password(password, WORDS)
    stored = hash_password(password)

    assert is_password(stored, password)
    others = (password.swapcase(), password.strip(), password[:-1], password[:64], password + " ")
    assert [other for other in others if other != password and is_password(stored, other)] == []


def test_the_list_has_more_than_the_three_thousand_most_common_passwords() -> None:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415 - as the code does

    common = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= 8]

    assert len(common) > 3000
    for word in common[:3100]:
        with pytest.raises(InvalidError):
            check_new_password(word, ())


def test_passwords_are_hashed_slowly_and_each_with_a_salt_of_its_own() -> None:
    used = extract_parameters(hash_password("correct horse"))

    assert used.type == Type.ID
    assert (used.memory_cost >= 19_456, used.time_cost >= 2, used.salt_len >= 16, used.hash_len >= 32) == (True,) * 4
    assert hash_password("correct horse") != hash_password("correct horse")
