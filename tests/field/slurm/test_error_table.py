"""The classes of sbatch's answers are complete for the installed Slurm (newer ones: make test-slurm-versions)."""

from collections.abc import Iterable

import pytest

from agent.slurm.error_texts import ATTENTION, PERMANENT, TRANSIENT, UNANSWERED, VIOLATES_LIMIT
from agent.slurm.errors import TEXTS, RefusalClass, classify_refusal
from agent.slurm.other_error_texts import OTHER
from tests.field.slurm.answers import FAILED
from tests.field.slurm.library import read_library

# A code that says nothing by itself: the site's words before it decide (tests/field/slurm/test_sites_words.py).
GENERIC = frozenset({"Unspecified error"})
CUT_AT = 100


def missing_from(texts: Iterable[str]) -> set[str]:
    """The library's errors that are in no table, whole or cut."""
    known = {*texts, *GENERIC}
    return {text for text in read_library().errors if text not in known and text[:CUT_AT].strip() not in known}


@pytest.mark.slurm
def test_every_error_of_the_installed_library_has_a_class() -> None:
    assert len(read_library().errors) > 200
    assert missing_from(text for texts in TEXTS.values() for text in texts) == set()


@pytest.mark.slurm
def test_an_error_that_is_taken_out_of_the_table_is_missed() -> None:
    assert set(PERMANENT) & missing_from((*UNANSWERED, *TRANSIENT, *VIOLATES_LIMIT, *ATTENTION, *OTHER))


@pytest.mark.slurm
def test_every_error_of_the_library_gives_its_own_class_though_others_begin_like_it() -> None:
    for text in read_library().errors - GENERIC:
        found = classify_refusal(f"sbatch: error: {FAILED}{text}\n")
        named: list[RefusalClass] = [
            outcome for outcome, texts in TEXTS.items() if text in texts or text[:CUT_AT].strip() in texts
        ]
        assert [found] == named, text


def test_a_text_is_in_one_class_only() -> None:
    classes = [{text.lower() for text in each} for each in TEXTS.values()]
    assert sum(len(each) for each in classes) == len(set().union(*classes))
