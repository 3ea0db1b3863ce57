"""Names that others can change are never followed: who may open, write, list or remove by a path, and why it is safe.

Below a folder that another account or user code can write, only `mltm.runtime.hostile_files` works. Everything else
goes through `mltm.runtime.files`, or stands here with its reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
OWNERS = {"mltm/runtime/files.py", "mltm/runtime/hostile_files.py"}
# Calls of pathlib and os that reach the file that a name leads to, or change what has the name.
METHODS = {
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "rename", "symlink_to",
    "hardlink_to", "touch", "rmdir", "chmod", "lchmod", "iterdir", "glob", "rglob",
}  # fmt: skip
OS_CALLS = {
    "open", "mkdir", "makedirs", "rename", "renames", "replace", "unlink", "remove", "removedirs", "rmdir", "link",
    "symlink", "chmod", "chown", "lchown", "listdir", "scandir", "walk", "fwalk", "truncate", "mkfifo", "mknod",
    "setxattr", "utime",
}  # fmt: skip
MODULES = {"shutil", "tempfile"}
NO_PATHS = {"os", "files", "hostile_files", "rows", "stack", "dataclasses"}
HARMLESS = {"shutil.disk_usage", "shutil.which"}
OWN_DATA = "the gateway's data folder: no other account can write there"
OWN_SPOOL = "a folder of the agent's own, mode 0700, that no container sees"
CHOSEN = "a file that the operator names"

# module: {call: why it is safe}
EXCEPTIONS: dict[str, dict[str, str]] = {
    "agent/check/measurements.py": {
        "answer.write_text": "a temporary folder of this process",
        "answer.read_text": "a temporary folder of this process",
        "tempfile.mkdtemp": OWN_SPOOL,
        "tempfile.TemporaryDirectory": "a temporary folder of this process",
        "shutil.rmtree": OWN_SPOOL,
    },
    "agent/intake/drop_script.py": {"os.link": "drop/, the agent's own account's; what was linked is compared"},
    "agent/intake/drop_task.py": {
        "source.folder.rmdir": "removes an empty folder only, never what a link leads to",
        "taken.rmdir": "removes an empty folder only, never what a link leads to",
    },
    "agent/intake/drops.py": {
        "(self._spool.taking / task_id).rmdir": "removes an empty folder only",
        "target.rmdir": "removes an empty folder only",
    },
    "agent/intake/private_copy.py": {"os.open": "makes the copy: O_EXCL and O_NOFOLLOW, in a staged folder"},
    "agent/settings.py": {"path.read_text": CHOSEN},
    "agent/spool/staging.py": {
        "staged.path.mkdir": OWN_SPOOL,
        "(staged.path / folder.name).mkdir": OWN_SPOOL,
        "os.listdir": OWN_SPOOL,
        "path.rename": OWN_SPOOL,
        "shutil.rmtree": "works from descriptors on Linux and follows no link below a folder of the agent's own",
    },
    "agent/uplink/credential.py": {"path.parent.mkdir": CHOSEN},
    "gateway/app.py": {
        "folder.iterdir": OWN_DATA, "shutil.rmtree": OWN_DATA, "path.unlink": OWN_DATA,
    },
    "gateway/http/endpoints/health_and_docs.py": {"(folder / name).read_bytes": "a file of the package"},
    "gateway/http/upload.py": {"part.path.read_bytes": OWN_DATA, "shutil.rmtree": OWN_DATA},
    "gateway/serve.py": {"(settings.data_dir / 'lock').open": OWN_DATA},
    "gateway/private_files.py": {
        "os.open": OWN_DATA, "path.chmod": OWN_DATA, "folder.mkdir": OWN_DATA, "folder.parent.mkdir": OWN_DATA,
    },
    "gateway/security_log.py": {"os.open": OWN_DATA},
    "gateway/services/piece_files.py": {
        "building.parent.mkdir": OWN_DATA, "building.write_bytes": OWN_DATA, "building.open": OWN_DATA,
        "building.replace": OWN_DATA, "building.unlink": OWN_DATA, "place.unlink": OWN_DATA, "os.open": OWN_DATA,
    },
    "gateway/services/inbox_folder.py": {
        "os.open": "O_NOFOLLOW on a folder, before its mode is set by the descriptor",
        "place.mkdir": "fails if anything has the name; the folder above was judged before",
    },
    "gateway/services/publisher.py": {"shutil.rmtree": OWN_DATA, "(source / file.name).read_bytes": OWN_DATA},
    "gateway/services/submissions.py": {"file.path.rename": OWN_DATA, "shutil.rmtree": OWN_DATA},
    "gateway/settings.py": {"path.read_text": CHOSEN},
    "gateway/tls.py": {"path.read_text": CHOSEN},
    "mltm/runtime/clock.py": {"Path('/proc/sys/kernel/random/boot_id').read_text": "the kernel's"},
    "mltm/runtime/mounts.py": {"MOUNTINFO.read_text": "the kernel's"},
}  # fmt: skip
# Modules that handle what others can write, and what of theirs still goes by a path, through `files`.
BY_PATH: dict[str, dict[str, str]] = {
    "agent/intake/bundles.py": {
        "list_names": "lists the inbox: names only, each is opened from a descriptor",
        "replace": OWN_SPOOL, "read_bytes": OWN_SPOOL, "link_once": OWN_SPOOL, "remove": OWN_SPOOL, "move": OWN_SPOOL,
        "make_folder": OWN_SPOOL, "sync_folder": OWN_SPOOL,
    },
    "agent/intake/bundle_proof.py": {"read_bytes": OWN_SPOOL, "link_once": OWN_SPOOL},
    "agent/uplink/address.py": {"read_bytes": "the inbox's address: O_NOFOLLOW, a regular file, and then its proof"},
    "gateway/services/publisher.py": {},
    "gateway/services/spool_address.py": {},
    "gateway/services/inbox_folder.py": {},
}  # fmt: skip


def list_sources() -> list[str]:
    found = [path for package in ("agent", "gateway", "mltm/runtime") for path in (CHECKOUT / package).rglob("*.py")]
    return sorted(str(path.relative_to(CHECKOUT)) for path in found if "migrations" not in path.parts)


def find_calls(source: str) -> Iterator[str]:
    """Each call that works by a path, as it is written; also what is handed to somebody who calls it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from _find_named(ast.unparse(node.func), len(node.args))
            handed = [each for each in node.args if isinstance(each, ast.Attribute)]
            yield from (name for each in handed for name in _find_named(ast.unparse(each), 1))


def _find_named(name: str, count: int) -> Iterator[str]:
    module, _, last = name.rpartition(".")
    if name == "open" or (module == "os" and last in OS_CALLS) or (name.partition(".")[0] in MODULES):
        if name not in HARMLESS:
            yield name
    elif module and module not in NO_PATHS and (last in METHODS or (last == "replace" and count == 1)):
        yield name  # str.replace has two arguments


def find_by_path(source: str) -> set[str]:
    """The functions of `mltm.runtime.files` that a module calls."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {ast.unparse(node.func) for node in nodes}
    return {name.removeprefix("files.") for name in names if name.startswith("files.")}


@pytest.mark.parametrize("module", list_sources())
def test_only_what_is_listed_here_goes_by_a_path(module: str) -> None:
    if module in OWNERS:
        return
    found = set(find_calls((CHECKOUT / module).read_text()))
    assert sorted(found - set(EXCEPTIONS.get(module, {}))) == [], (
        "use mltm.runtime.hostile_files, or give the reason here"
    )


@pytest.mark.parametrize("module", BY_PATH)
def test_what_others_can_write_is_reached_from_descriptors_only(module: str) -> None:
    found = find_by_path((CHECKOUT / module).read_text())
    assert sorted(found ^ set(BY_PATH[module])) == []


def test_no_exception_outlives_its_call() -> None:
    stale = {
        module: sorted(set(calls) - set(find_calls((CHECKOUT / module).read_text())))
        for module, calls in EXCEPTIONS.items()
    }
    assert {module: calls for module, calls in stale.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        "open(path)", "path.open()", "(folder / name).read_text()", "os.open(path, 0)", "os.rename(a, b)",
        "shutil.copy(a, b)", "tempfile.mkdtemp()", "path.symlink_to(x)", "Path(x).unlink()", "os.chmod(p, 0)",
        "folder.iterdir()", "building.replace(place)", "run_in_thread(os.open, path)", "to_thread(path.unlink)",
    ],
)  # fmt: skip
def test_the_check_sees_each_kind_of_call(line: str) -> None:
    assert list(find_calls(line)) != []
