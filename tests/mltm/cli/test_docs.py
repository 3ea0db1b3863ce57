from pathlib import Path

from tests.mltm.cli.render_docs import render_docs

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_page_about_the_command_is_its_own_help() -> None:
    again = "run `python -m tests.mltm.cli.render_docs > docs/cli.md`"
    assert PAGE.read_text(encoding="utf-8") == render_docs(), again
