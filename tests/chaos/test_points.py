"""The table of points against the code: a step that is added without a point is found here."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.job.wrapper import WRAPPER
from chaos.faults.points import POINTS, UNNAMED, Point

ROOT = Path(__file__).resolve().parents[2]
# What changes the world: the file port, a record, a database row, a program that is started, a signal, a request.
EFFECT = re.compile(
    r"files\.(link_once|replace|move|remove|make_folder)|(records\.)?(link_(intent|fence|note)|write_submitted)"
    r"|os\.(link|write|fsync|rename|replace|unlink|mkdir|rmdir|symlink|truncate)|shutil\.(rmtree|move|copy\w*)"
    r"|.*\.(rename|rmdir|mkdir|unlink|write_bytes|write_text|hardlink_to|symlink_to|touch)"
    r"|.*\.(create|execute|save|delete_instance)|add_event|add_command|insert_row"
    r"|run_command|(subprocess\.)?Popen|.*\.(send_signal|terminate|kill)|session\.request"
)
WRITES = re.compile(r"'[rbt]*[wax+][bt+]*'|.*\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND)\b.*")


def list_functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef(name=name):
                yield from list_functions(node, f"{owner}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield f"{owner}{name}", node
            case _:
                continue


def changes_something(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    arguments = [ast.unparse(node) for node in (*call.args, *(k.value for k in call.keywords))]
    match name.rpartition(".")[2]:
        case "replace":  # a path's or a file's; a text's has two arguments, a moment's and a dataclass's have names
            return bool(EFFECT.fullmatch(name)) or (len(call.args), call.keywords) == (1, [])
        case "open":
            return any(WRITES.fullmatch(each) for each in arguments)
        case "kill" | "killpg":  # signal 0 only asks
            return arguments[-1:] != ["0"]
        case _:
            return bool(EFFECT.fullmatch(name))


def has_effect(function: ast.AST) -> bool:
    return any(changes_something(node) for node in ast.walk(function) if isinstance(node, ast.Call))


def list_effects() -> set[str]:
    found = set()
    for folder in ("agent", "gateway", "mltm/runtime"):
        for path in (ROOT / folder).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            functions = list_functions(ast.parse(path.read_text(encoding="utf-8")))
            found |= {f"{module}:{name}" for name, function in functions if has_effect(function)}
    return {target for target in found if not target.startswith("gateway.migrations.")}


def is_known(target: str) -> bool:
    return target in {point.target for point in POINTS} or bool({target, target.partition(":")[0]} & set(UNNAMED))


def list_wrapper_effects() -> set[str]:
    text = WRAPPER.read_text(encoding="utf-8")
    bodies = re.findall(r"^(\w+)\(\) (?:\{\n(.*?)^\}|\{ ([^\n]*) \})", text, flags=re.MULTILINE | re.DOTALL)
    changes = re.compile(r"\b(link_record|write_advice|ln|rm|mkdir|touch|dd|sync)\b|>\"?\$|exec -- ")
    return {name for name, body, line in bodies if changes.search(body or line)}


def test_every_function_with_an_effect_is_a_point_or_says_why_not() -> None:
    assert sorted(target for target in list_effects() if not is_known(target)) == []


def test_nothing_is_excused_that_is_not_there() -> None:
    effects = list_effects() | {f"wrapper:{name}" for name in list_wrapper_effects()}
    there = effects | {target.partition(":")[0] for target in effects}

    assert sorted(set(UNNAMED) - there) == []
    assert all(reason.endswith(".") for reason in UNNAMED.values())


def test_no_module_is_excused_that_holds_a_step() -> None:
    assert {point.target.partition(":")[0] for point in POINTS} & set(UNNAMED) == set()


PLANTED = [
    "files.replace(path, data, nonce)",
    "private.replace(path)",
    'path.open("w")',
    'open(path, mode="ab")',
    "os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)",
    "os.kill(pid, 9)",
    "os.killpg(group, signal.SIGTERM)",
    "process.terminate()",
    "records.link_fence(attempt, fence)",
    "link_intent(attempt, record)",
    "add_command(agent_id, message, now)",
    "Task.update(state=state).where(Task.task_id == task_id).execute()",
]
HARMLESS = [
    "files.read_bytes(path)",
    'text.replace("a", "b")',
    "moment.replace(tzinfo=UTC)",
    "path.open()",
    'path.open("rb")',
    "os.open(path, os.O_RDONLY | os.O_NOFOLLOW)",
    "os.killpg(group, 0)",
]


@pytest.mark.parametrize("call", [*PLANTED, *HARMLESS])
def test_a_planted_effect_is_seen_and_nothing_else(call: str) -> None:
    tree = ast.parse(f"class A:\n def f(self):\n  {call}\n def g(self):\n  return None")

    assert [name for name, function in list_functions(tree) if has_effect(function)] == ["A.f"] * (call in PLANTED)


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
