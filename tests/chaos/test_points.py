"""The table of points against the code: a step that is added without a point is found here."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.job.wrapper import WRAPPER
from chaos.points import POINTS, UNNAMED, Point

ROOT = Path(__file__).resolve().parents[2]
# What changes the world: the file port, a database row, a program that is started, a request.
EFFECT = re.compile(
    r"files\.(link_once|replace|move|remove|make_folder)"
    r"|os\.(link|write|fsync|rename|replace|unlink|mkdir)|shutil\.(rmtree|move|copy\w*)"
    r"|.*\.(rename|rmdir|mkdir|unlink|write_bytes|write_text|hardlink_to|symlink_to|touch)"
    r"|.*\.(create|execute|save|delete_instance)|run_command|session\.request"
)


def list_functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef(name=name):
                yield from list_functions(node, f"{owner}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield f"{owner}{name}", node
            case _:
                continue


def has_effect(function: ast.AST) -> bool:
    calls = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
    return any(EFFECT.fullmatch(call) for call in calls)


def list_effects() -> set[str]:
    found = set()
    for folder in ("agent", "gateway"):
        for path in (ROOT / folder).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            functions = list_functions(ast.parse(path.read_text(encoding="utf-8")))
            found |= {f"{module}:{name}" for name, function in functions if has_effect(function)}
    return {target for target in found if not target.startswith("gateway.migrations.")}


def is_known(target: str) -> bool:
    return target in {point.target for point in POINTS} or bool({target, target.partition(":")[0]} & set(UNNAMED))


def list_wrapper_effects() -> set[str]:
    text = WRAPPER.read_text(encoding="utf-8")
    bodies = re.findall(r"^(\w+)\(\) \{(.*?)^\}|^(\w+)\(\) \{ (.*?) \}", text, flags=re.MULTILINE | re.DOTALL)
    changes = re.compile(r"\b(link_record|write_advice|ln|rm|mkdir|touch|dd|sync)\b|>\"?\$|exec -- ")
    return {one or two for one, body, two, line in bodies if changes.search(body or line)}


def test_every_function_with_an_effect_is_a_point_or_says_why_not() -> None:
    assert sorted(target for target in list_effects() if not is_known(target)) == []


def test_nothing_is_excused_that_is_not_there() -> None:
    effects = list_effects() | {f"wrapper:{name}" for name in list_wrapper_effects()}
    there = effects | {target.partition(":")[0] for target in effects}

    assert sorted(set(UNNAMED) - there) == []
    assert all(reason.endswith(".") for reason in UNNAMED.values())


def test_a_planted_effect_is_seen() -> None:
    tree = ast.parse("class A:\n def f(self):\n  files.replace(a, b)\n def g(self):\n  return files.read_bytes(a)")

    assert [name for name, function in list_functions(tree) if has_effect(function)] == ["A.f"]


@pytest.mark.parametrize("point", [point for point in POINTS if point.role != "wrapper"], ids=lambda point: point.name)
def test_a_point_names_a_function_that_is_there(point: Point) -> None:
    module, _, path = point.target.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)

    assert callable(found)


def test_names_are_used_once() -> None:
    assert len({point.name for point in POINTS}) == len(POINTS)


def test_every_function_of_the_wrapper_with_an_effect_is_a_point_or_says_why_not() -> None:
    known = {point.target for point in POINTS if point.role == "wrapper"}

    assert sorted(name for name in list_wrapper_effects() - known if f"wrapper:{name}" not in UNNAMED) == []
