"""The protocol's model, walked whole: no state breaks a promise, and each broken rule is found out."""

from typing import Any

import pytest

from tests.model.write_once_log import MUTATIONS, PROTOCOL, explore

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.mark.parametrize("setting", PROTOCOL, ids=str)
def test_no_reachable_state_breaks_a_promise_or_is_a_dead_end(setting: dict[str, Any]) -> None:
    states, broken, dead_ends = explore(**setting)  # type: ignore[no-untyped-call]  # the model is kept as it was checked
    assert states > 1
    assert (broken, dead_ends) == ({}, 0)


@pytest.mark.parametrize(("rule", "setting"), MUTATIONS, ids=[rule for rule, _ in MUTATIONS])
def test_breaking_a_rule_breaks_a_promise(rule: str, setting: dict[str, Any]) -> None:
    _, broken, dead_ends = explore(mutation=rule, first=True, **setting)  # type: ignore[no-untyped-call]  # as above
    assert broken or dead_ends
