"""Nothing of the gateway may block the loop: such a call fails the test that met it."""

from collections.abc import Iterator

import pytest
import structlog
from blockbuster import BlockBuster
from blockbuster.blockbuster import BlockBusterFunction

from mltm.runtime.logging_setup import set_up_logging
from tests.gateway.fixtures import house

__all__ = ["house", "no_blocking"]

# What else blocks, and blockbuster 1.5 does not look at.
_BESIDE = ("os.fsync", "os.open", "io.open", "builtins.open", "fcntl.flock", "argon2.PasswordHasher.verify")


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[None]:
    guard = BlockBuster("gateway")
    guard.functions |= {name: BlockBusterFunction(None, name, scanned_modules="gateway") for name in _BESIDE}
    for function in guard.functions.values():
        # Once, before the first request:
        function.can_block_in("gateway/http/application.py", "build_app").can_block_in("gateway/serve.py", "_lock")
    set_up_logging()
    guard.activate()
    yield
    guard.deactivate()
    structlog.reset_defaults()
