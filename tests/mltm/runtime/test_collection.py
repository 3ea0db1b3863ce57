"""The collector is off while anybody is inside, and on again whoever leaves last, and however."""

import contextlib
import gc

from mltm.runtime.collection import without_collection


def test_the_collector_is_on_again_when_the_last_one_has_left() -> None:
    with without_collection():
        with contextlib.suppress(RuntimeError), without_collection():
            raise RuntimeError
        assert not gc.isenabled()
    assert gc.isenabled()
