import inspect
import math
import os
import signal
from typing import Any
from unittest.mock import Mock

import aioresponses.core
import pytest
from aiohttp import ClientResponse
from hypothesis import settings

from tests.order import deal

# `pytest --hypothesis-profile long`: hours instead of seconds, outside CI.
settings.register_profile("long", max_examples=20_000, deadline=None)

# A run in the background (`nohup make test &`) inherits signals that are ignored, and bash cannot trap those.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

pytest_plugins = ["tests.lab.fixtures", "tests.apptainer.fixtures"]


@pytest.hookimpl(trylast=True)  # after the shuffle, and after what is not to run was taken out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = deal(items, _may_take_s, long_s=240, workers=workers)


def _may_take_s(item: pytest.Item) -> float:
    """What its time limit says; 0 is none."""
    mark = item.get_closest_marker("timeout")
    return (mark.args[0] or math.inf) if mark else 0


class _StubResponse(ClientResponse):
    # aioresponses 0.7.9 does not pass the argument that aiohttp 3.14 made mandatory (pnuckowski/aioresponses#288).
    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*arguments, **options)


if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
    aioresponses.core.ClientResponse = _StubResponse  # type: ignore[attr-defined]  # a name it only imports
