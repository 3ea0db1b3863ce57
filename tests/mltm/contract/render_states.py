"""Renders docs/states.md from the transition table: python -m tests.mltm.contract.render_states > docs/states.md"""

from mltm.contract.states import ACTIVE, FINAL, State, is_allowed

HEAD = """# A task's states

Rendered from `mltm/contract/states.py` by `python -m tests.mltm.contract.render_states > docs/states.md`; a test
compares. What each state means to a user: [Send a task](send-a-task.md#what-the-states-mean).

An active task may jump forward, because a poll can miss a state. With a new attempt it goes back to `submitting`.
A final state stays. Only `lost` and `node_fail` may be corrected by a late exit record, once and openly.

| from | to |
|---|---|
"""


def render() -> str:
    """The page."""
    rows = []
    for before in State:
        after = [state for state in State if state != before and is_allowed(before, state)]
        if set(after) >= set(FINAL):
            active = [state for state in ACTIVE if state in after]
            message = ", ".join([*(f"`{state}`" for state in active), "every final state"])
        else:
            message = ", ".join(f"`{state}`" for state in after) or "nothing: it is final"
        rows.append(f"| `{before}` | {message} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - its output is the page
