"""`python -m chaos` itself: its exit code, its table, and what it says of a product that lacks a rule."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.standin, pytest.mark.timeout(400)]
CHECKOUT = Path(__file__).resolve().parents[2]


def run_chaos(*arguments: str) -> tuple[int, list[dict[str, str]], list[str]]:
    """Its exit code, the rows of its table by column, and the lines on stderr."""
    argv = [sys.executable, "-m", "chaos", *arguments]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300)
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    head, line, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table]
    assert set("".join(line)) == {"-"}
    return done.returncode, [dict(zip(head, row, strict=True)) for row in rows], done.stderr.splitlines()


def test_seeds_side_by_side_are_one_row_and_clean_ones_end_with_0() -> None:
    code, rows, said = run_chaos("claims", "--faults", "3", "--seed", "4", "--seeds", "2", "--jobs", "2")

    (row,) = rows
    assert (row["scenario"], row["seeds"], row["tasks"], row["faults"]) == ("claims", "4-5", "6", "6")
    assert [row[name] for name in ("lost", "started twice", "wrong end")] == ["0", "0", "0"]
    told = sorted(message.partition(",")[0] for message in said if "3 tasks, 3 faults" in message)
    assert told == ["chaos: claims", "chaos: claims"]
    assert not any("NOT" in message for message in said)
    assert code == 0


def test_a_control_ends_with_1_and_every_finding_is_told() -> None:
    code, rows, said = run_chaos("doubles", "--faults", "2", "--seed", "7", "--clients", "2", "--control", "no-claim")

    (row,) = rows
    findings = [message for message in said if message.startswith("doubles 7: twice: ")]
    assert int(row["started twice"]) == len(findings) > 0
    assert "again: make chaos CHAOS='doubles --seed 7 --faults 2 --clients 2 --control no-claim'" in said
    assert any("NOT CLEAN" in message for message in said)
    assert code == 1
