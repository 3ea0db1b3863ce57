"""What the gateway answers is what its OpenAPI document says: every status, content type, header and body.

    SCHEMA_CASES=100000 SCHEMA_SEEDS=1,2,3 pytest -s tests/schema/test_schema.py

is the long form: about so many cases in all, as every role, with every seed, each with a gateway of its own. It prints
what was counted. Without these variables a few thousand cases run, always the same.
"""

import os
from pathlib import Path

import pytest

from tests.schema.counts import Counts
from tests.schema.run import Size, run_role
from tests.schema.stage import Role, list_roles, open_stage

CASES = int(os.environ.get("SCHEMA_CASES", "0"))
SEEDS = [int(text) for text in os.environ.get("SCHEMA_SEEDS", "1" if not CASES else "1,2,3").split(",")]
# Cases that one more example of each operation makes, and one more run of the state machine; and the coverage phase.
_OF_EXAMPLE, _OF_MACHINE, _OF_COVERAGE = 26, 7, 1_790
_SHORT = {"anonymous": Size(6, 0, coverage=False), "admin": Size(8, 25, coverage=False)}
# Where the state machine has to get through: without that it proves nothing.
_STATEFUL = {"user": "/v1/tasks/{task_id}", "admin": "/v1/tasks/{task_id}", "agent": "/v1/agent/commands"}


def choose_size(role: Role) -> Size:
    """The short form leaves out what others have tried; the long form spends a sixth on the state machine."""
    if not CASES:
        return _SHORT.get(role, Size(8, 25))
    each = max(CASES // len(SEEDS) // len(list_roles()) - _OF_COVERAGE, 100)
    if role == "anonymous":  # it can make nothing, so it has no state
        return Size(each // _OF_EXAMPLE, 0)
    return Size(each * 5 // 6 // _OF_EXAMPLE, each // 6 // _OF_MACHINE)


@pytest.mark.long
@pytest.mark.timeout(0 if CASES else 240)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("role", list_roles())
def test_answers_are_what_the_document_says(tmp_path: Path, role: Role, seed: int) -> None:
    with open_stage(tmp_path / "stage") as stage:
        counts = run_role(stage, role, seed, choose_size(role), own_only=not CASES)
    print(f"\n{role}, seed {seed}: {counts.render()}", flush=True)

    check(counts, role)


def check(counts: Counts, role: Role) -> None:
    assert not counts.breaks, counts.render()
    assert not counts.errors, counts.render()
    assert counts.count_status(500) == 0
    assert counts.count_status(0) == 0  # no answer at all
    assert counts.count_status(429) < counts.total / 50  # limits would hide everything else
    if role in _STATEFUL:
        assert counts.count_reached("stateful", _STATEFUL[role]) >= 20, counts.render()
        assert counts.count_reached("fuzzing", _STATEFUL[role]) >= 5, counts.render()
