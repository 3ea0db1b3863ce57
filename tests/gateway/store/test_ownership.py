"""Whose a row is: compared in one module, and with ids."""

import ast
from pathlib import Path

import pytest

from gateway.store import ownership

STORE = Path(str(ownership.__file__)).parent
_NAMES = frozenset({"owner", "owner_id", "user_id", "username"})
# Each with the reason why it is no filter of what a user may see.
EXCEPTIONS = {
    ("agents.py", "other.owner_id != code.owner_id"): "whose spool it is, when an agent enrols",
    ("routing.py", "a.owner is None"): "which agents are for all users",
    ("routing.py", "a.owner_id == user.user_id"): "which agent runs a user's tasks",
    ("routing.py", "agent.owner is None"): "which agents are for all users",
    ("routing.py", "agent.owner_id == user.user_id"): "which agent runs a user's tasks",
    ("reports.py", "agent.owner is not None"): "an agent with an owner speaks for this owner alone",
    ("users.py", "UserRow.username == username"): "who logs in",
    ("users.py", "UserRow.user_id == read_user_id(username)"): "the user himself",
    ("agents.py", "new.owner is not None"): "a code for all users has no owner",
}


def list_comparisons(source: str) -> list[str]:
    """The comparisons in a module that look at an owner."""
    compared = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare)]
    return [
        ast.unparse(node)
        for node in compared
        if any(isinstance(part, ast.Attribute) and part.attr in _NAMES for part in (node.left, *node.comparators))
    ]


def test_no_other_module_of_the_store_compares_owners() -> None:
    found = {
        (path.name, text)
        for path in STORE.glob("*.py")
        if path.name != "ownership.py"
        for text in list_comparisons(path.read_text())
    }

    assert found == set(EXCEPTIONS)


@pytest.mark.parametrize("line", ["Task.owner == user.username", "user.user_id != row.owner_id", "x.username in names"])
def test_such_a_comparison_is_found(line: str) -> None:
    assert list_comparisons(f"def f(): return q.where({line})") == [line]
