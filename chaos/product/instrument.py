"""Makes a process, or a copy of the wrapper, look for its plan at every point. The product is not changed for it.

Functions are wrapped where they are looked up, in every module that imported them, and only in a process of chaos.
"""

import asyncio
import errno
import functools
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee

from chaos.faults.plan import When, fired_path, plan_path
from chaos.faults.points import POINTS, Point, Role

__all__ = ["arm", "render_wrapper", "replace_everywhere"]

_ROOTS = ("agent.", "gateway.", "mltm.runtime.")
_SHELL = r"""
# What chaos adds: each point looks for a plan that names it.
chaos_strike() {
  local plan='{folder}'/wrapper.$1.$2 act
  [[ -e $plan.plan ]] || return 0
  mv -T -- "$plan.plan" "$plan.fired.${task-}" 2>/dev/null || return 0
  act=$(<"$plan.fired.${task-}")
  if [[ $act == stop ]]; then kill -STOP $$; else kill -KILL $$; fi
}
{steps}
"""
_STEP = """{name}() {
  local chaos_code
  chaos_strike {name} before
  chaos_{name} "$@"
  chaos_code=$?
  chaos_strike {name} after
  return $chaos_code
}
"""
_LAST_LINE = 'main "$@"'


def arm(role: Role, folder: Path) -> None:
    """Wrap every point of a role in this process; import what holds them first."""
    for point in POINTS:
        if point.role == role:
            _wrap(point, folder)


def _wrap(point: Point, folder: Path) -> None:
    module_name, _, path = point.target.partition(":")
    module = importlib.import_module(module_name)
    owner_name, _, name = path.rpartition(".")
    owner = getattr(module, owner_name) if owner_name else module
    before = getattr(owner, name)
    after = _build(point, before, folder)
    setattr(owner, name, after)
    replace_everywhere(before, after)


def replace_everywhere(before: object, after: object) -> None:
    """Put a function in the place of another in every module that has imported it."""
    for module in [module for key, module in sys.modules.items() if key.startswith(_ROOTS)]:
        for key, value in list(vars(module).items()):
            if value is before:
                setattr(module, key, after)


def _build(point: Point, call: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    if asyncio.iscoroutinefunction(call):

        @functools.wraps(call)
        async def step_async(*arguments: Any, **options: Any) -> Any:
            _strike(point, "before", folder, arguments)
            done = await call(*arguments, **options)
            _strike(point, "after", folder, arguments)
            return done

        return step_async

    @functools.wraps(call)
    def step(*arguments: Any, **options: Any) -> Any:
        _strike(point, "before", folder, arguments)
        done = call(*arguments, **options)
        _strike(point, "after", folder, arguments)
        return done

    return step


def _strike(point: Point, when: When, folder: Path, arguments: tuple[object, ...]) -> None:
    """Carry out the plan that lies there for this point, and only where ours is the rename."""
    plan = plan_path(folder, point.name, when)
    try:
        act = plan.read_text(encoding="ascii")
        if not _is_meant(point, arguments):
            return
        plan.rename(fired_path(folder, point.name, when, str(os.getpid())))
    except FileNotFoundError:
        return
    if act == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    if act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.error == "database":
        raise peewee.OperationalError("disk I/O error")
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(plan))


def _is_meant(point: Point, arguments: tuple[object, ...]) -> bool:
    return not point.only or any(point.only in (type(each).__name__, each) for each in arguments)


def render_wrapper(text: str, folder: Path, *, extra: str = "", first: str = "") -> str:
    """Build the wrapper with its points, from its text.

    `extra`: shell functions that take the place of its own; `first`: lines before its own first step.
    """
    names = [point.target for point in POINTS if point.role == "wrapper"]
    body, mark, rest = text.rpartition(_LAST_LINE)
    if not mark or rest.strip():
        raise ValueError(f"The wrapper does not end with {_LAST_LINE}.")
    body += extra
    for name in names:
        # In the text, because bash's own `declare -f` prints 1<>file as <>file (5.2), which is another redirection.
        body, count = re.subn(rf"^{name}\(\)", f"chaos_{name}()", body, flags=re.MULTILINE)
        if not count:
            raise ValueError(f"The wrapper has no function {name}: correct chaos/faults/points.py.")
    steps = "".join(_STEP.replace("{name}", name) for name in names)
    prelude = _SHELL.replace("{folder}", str(folder)).replace("{steps}", steps)
    return f"{body}{prelude}\n{first}\n{_LAST_LINE}\n"
