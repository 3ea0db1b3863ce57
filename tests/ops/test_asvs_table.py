"""docs/security-asvs.md has each item of levels 1 and 2 once, and names tests, attacks and rules that there are."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from attack.run import SCENARIOS

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "security-asvs.md"
# ASVS 5.0.0, by chapter and section: the level of each item, in order. Items of level 3 are here for their numbers.
LEVELS = {
    1: {1: "22", 2: "1111122223", 3: "112222222223", 4: "222", 5: "123"},
    2: {1: "122", 2: "112", 3: "12223", 4: "23"},
    3: {1: "3", 2: "113", 3: "12223", 4: "11222233", 5: "11122333", 6: "3", 7: "22333"},
    4: {1: "12233", 2: "23333", 3: "22", 4: "1222"},
    5: {1: "2", 2: "112333", 3: "113", 4: "222"},
    6: {1: "122", 2: "111111112222", 3: "11223333", 4: "112233", 5: "22222333", 6: "2223", 7: "33", 8: "2222"},
    7: {1: "222", 2: "1111", 3: "22", 4: "11222", 5: "223", 6: "22"},
    8: {1: "1233", 2: "1123", 3: "133", 4: "23"},
    9: {1: "111", 2: "1222"},
    10: {1: "22", 2: "223", 3: "22223", 4: "1111122222233333", 5: "22222", 6: "22", 7: "222"},
    11: {1: "2233", 2: "22233", 3: "11233", 4: "1222", 5: "23", 6: "23", 7: "33"},
    12: {1: "12233", 2: "11", 3: "22223"},
    13: {1: "2333", 2: "222223", 3: "2233", 4: "1222233"},
    14: {1: "22", 2: "12223333", 3: "122"},
    15: {1: "12233", 2: "12233", 3: "1222222", 4: "3333"},
    16: {1: "2", 2: "22222", 3: "2222", 4: "222", 5: "2223"},
    17: {1: "23", 2: "22223333", 3: "22"},
}  # fmt: skip
_ROW = re.compile(r"\| (\d+\.\d+\.\d+(?:, \d+\.\d+\.\d+)*) \|(.*)\|")
_TEST = re.compile(r"`(tests/[\w/.-]+)(?:::(\w+))?`")
_ATTACK = re.compile(r"`make attack ATTACK=([\w-]+)`")
_RULE = re.compile(r"\b(S\d{3})\b")


def list_wanted() -> list[str]:
    return [
        f"{chapter}.{section}.{number}"
        for chapter, sections in LEVELS.items()
        for section, levels in sections.items()
        for number, level in enumerate(levels, 1)
        if level in "12"
    ]


def read_rows(page: str, heading: str = "") -> list[tuple[list[str], str]]:
    """The rows below a heading, or all: their items, and the rest of the row."""
    text = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else page
    return [(row[1].split(", "), row[2]) for line in text.splitlines() if (row := _ROW.fullmatch(line))]


def list_wrong_items(page: str) -> list[str]:
    """What is missing, listed twice, or no item of these levels."""
    listed = Counter(item for items, _ in read_rows(page) for item in items)
    wanted = set(list_wanted())
    twice = [f"{item} twice" for item, count in listed.items() if count > 1]
    missing = [f"{item} missing" for item in wanted - listed.keys()]
    return sorted([*twice, *missing, *(f"{item} unknown" for item in listed.keys() - wanted)])


def list_wrong_names(page: str) -> list[str]:
    """Tests, attacks and rules of the linter that are named and are not there."""
    wrong = [name for name in _ATTACK.findall(page) if name not in SCENARIOS]
    for path, function in _TEST.findall(page):
        file = CHECKOUT / path
        if not file.exists():
            wrong.append(path)
        elif function and not re.search(rf"(?m)^(?:async )?def {function}\(", file.read_text()):
            wrong.append(f"{path}::{function}")
    return wrong + [rule for rule in _RULE.findall(page) if not is_rule_on(rule)]


def is_rule_on(rule: str) -> bool:
    """True if ruff watches it in the whole product."""
    lint = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    ignored = [*lint["ignore"]]
    for place, rules in lint["per-file-ignores"].items():
        ignored += rules if place.split("/")[0] in ("agent", "gateway", "mltm") else []
    return "ALL" in lint["select"] and not any(rule.startswith(one) for one in ignored)


def test_the_levels_are_those_of_the_standard() -> None:
    everything = "".join(levels for sections in LEVELS.values() for levels in sections.values())

    assert Counter(everything) == {"1": 70, "2": 183, "3": 92}
    assert list(LEVELS) == list(range(1, 18))


def test_every_item_of_levels_1_and_2_is_there_once() -> None:
    assert list_wrong_items(PAGE.read_text()) == []


def test_every_test_attack_and_rule_that_is_named_is_there() -> None:
    assert list_wrong_names(PAGE.read_text()) == []


def test_every_item_that_is_held_names_what_fails_without_it() -> None:
    rows = read_rows(PAGE.read_text(), "Held")
    bare = [items for items, rest in rows if not (_TEST.search(rest) or _ATTACK.search(rest) or "`make check`" in rest)]

    assert len(rows) > 60
    assert bare == []


def test_every_other_item_says_what_is_missing_where_it_is_written_or_why_it_does_not_apply() -> None:
    for heading in ("Not held, or only in part", "Written down", "Does not apply"):
        rows = read_rows(PAGE.read_text(), heading)
        assert rows, heading
        assert [items for items, rest in rows if not rest.split("|")[-1].strip()] == []
    assert [items for items, rest in read_rows(PAGE.read_text(), "Written down") if "](" not in rest] == []


def test_the_page_about_security_says_how_many_are_not_held() -> None:
    left = sum(len(items) for items, _ in read_rows(PAGE.read_text(), "Not held, or only in part"))

    assert f"Of the {len(list_wanted())} items, {left} are not held" in (PAGE.parent / "security.md").read_text()


def test_no_row_of_items_is_read_past() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\|\s*\d+\.\d", line)]

    assert [line[:60] for line in lines if not _ROW.fullmatch(line)] == []


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("| 1.2.4 |", "| 1.2.5 |", ["1.2.4 missing", "1.2.5 twice"]),
        ("| 4.2.1 |", "| 4.2.1, 4.2.2 |", ["4.2.2 unknown"]),
        ("| 17.1.1, ", "| ", ["17.1.1 missing"]),
    ],
)
def test_a_wrong_item_is_seen(before: str, after: str, wrong: list[str]) -> None:
    page = PAGE.read_text()
    assert before in page
    assert list_wrong_items(page.replace(before, after)) == wrong


@pytest.mark.parametrize(
    ("named", "wrong"),
    [
        ("`tests/none.py`", ["tests/none.py"]),
        ("`tests/ops/test_asvs_table.py::test_none`", ["tests/ops/test_asvs_table.py::test_none"]),
        ("`tests/ops/test_asvs_table.py::is_rule`", ["tests/ops/test_asvs_table.py::is_rule"]),
        ("`make attack ATTACK=none`", ["none"]),
        ("`make check` (ruff S603)", ["S603"]),
        ("`tests/ops`, `tests/ops/test_asvs_table.py::is_rule_on`, `make attack ATTACK=paths`, S608", []),
    ],
)
def test_a_name_of_nothing_is_seen(named: str, wrong: list[str]) -> None:
    assert list_wrong_names(named) == wrong


def test_a_release_has_the_product_alone() -> None:
    targets = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]

    assert targets["wheel"] == {"packages": ["agent", "gateway", "mltm"]}
    found = [path for name in targets["wheel"]["packages"] for path in (CHECKOUT / name).rglob("*test*")]
    assert [str(path) for path in found if path.suffix == ".py"] == []
