"""An option for whoever looks at one end: `pytest tests/ends --ends 'started twice'`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ends", default="", help="only the cases whose names have this regular expression in them")
