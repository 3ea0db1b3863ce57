"""Fault 3b.5: `mltm-gateway agent list` cut the ids that `agent revoke` needs whole.

An operator expects to copy an id from a list into the next command, on a narrow terminal and through a pipe.
"""

import os
import sys
from pathlib import Path

import pytest

from gateway.print_rows import print_rows
from mltm.contract.states import State
from tests.field.terminal import run_on_terminal
from tests.mltm.cli.run import Mltm
from tests.mltm.client.fake_gateway import TASK_ID, FakeGateway, build_task

AGENT_ID = "0197a1b2c3d47e5f8a9b0c1d2e3f4a5b"
ROWS: list[dict[str, object]] = [
    {
        "agent_id": AGENT_ID, "cluster": "atena02", "owner": "ada", "inbox": "/a/long/path/" * 12, "host": "login",
        "revoked_at": None, "name": "two\nlines\x1b[31m\u202e", "active_tasks": 3,
    },
    {
        "agent_id": AGENT_ID[::-1], "cluster": "a", "owner": None, "inbox": "/b", "host": "h" * 60,
        "revoked_at": "2026", "name": "漢字", "active_tasks": 0,
    },
]  # fmt: skip


@pytest.mark.parametrize("columns", ["20", "80", "200", "", "nonsense"])
def test_an_operators_list_cuts_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_rows(ROWS, as_json=False)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "agent_id"
    assert [line.split()[0] for line in lines] == [AGENT_ID, AGENT_ID[::-1]]
    assert str(ROWS[0]["inbox"]) in lines[0]
    assert "two lines [31m" in lines[0]
    assert lines[0].isprintable()


def test_a_list_on_a_narrow_terminal_cuts_nothing_either() -> None:
    code = f"from gateway.print_rows import print_rows; print_rows({ROWS!r}, as_json=False)"
    ended, shown = run_on_terminal([sys.executable, "-c", code], {**os.environ, "COLUMNS": "40"}, [])
    assert ended == 0
    assert AGENT_ID in shown
    assert "…" not in shown


@pytest.mark.parametrize("columns", ["20", "40", "60", "80", "200"])
def test_a_users_list_keeps_task_ids_whole(mltm: Mltm, gateway: FakeGateway, tmp_path: Path, columns: str) -> None:
    gateway.looks[TASK_ID] = [build_task(State.RUNNING, script_path="a_long_name_of_a_script_" * 5 + ".py")]
    env = {**os.environ, **mltm.env, "COLUMNS": columns, "LINES": "25", "TERM": "dumb"}
    ended, shown = run_on_terminal(mltm.argv("list"), env, [])
    assert ended == 0
    assert TASK_ID in shown
