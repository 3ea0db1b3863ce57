"""What runs in a process of the product: one of its commands, or several after each other, or a pair of its hands.

`python -m attack.product.child GUARD COMMAND ARGUMENT…`. GUARD is "" or `module:function`, which takes a guard out.
"""

import contextlib
import importlib
import io
import json
import sys
from collections.abc import Callable

__all__ = ["run"]

_COMMANDS = {"gateway": "gateway.cli", "agent": "agent.cli"}


def run(guard: str, command: str, arguments: list[str]) -> None:
    """Take the guard out, then become the command."""
    if guard:
        _find(guard)()
    if command == "batch":
        print(json.dumps([_call(*each) for each in json.loads(arguments[0])]))
    elif command == "call":
        _find(arguments[0])(*arguments[1:])
    else:
        sys.argv = [f"mltm-{command}", *arguments]
        importlib.import_module(_COMMANDS[command]).main()


def _find(place: str) -> Callable[..., object]:
    module, _, name = place.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function


def _call(argv: list[str], stdin: str) -> str:
    """Run one command of the gateway in this process; return what it printed."""
    app = importlib.import_module("gateway.cli").app
    sys.stdin = io.StringIO(stdin)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        app(argv, standalone_mode=False)
    return output.getvalue()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3:])
