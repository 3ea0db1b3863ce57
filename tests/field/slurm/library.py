"""What the installed Slurm knows, read from its own library (libslurmfull.so) in a process of its own."""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Known", "read_library"]

_READ = r"""
import ctypes, json, os, sys

library = ctypes.CDLL(sys.argv[1])

def text(name, number):
    function = getattr(library, name)
    function.restype = ctypes.c_char_p
    return function(ctypes.c_uint32(number)).decode()

reason = "job_state_reason_string" if hasattr(library, "job_state_reason_string") else "job_reason_string"
numbers = [*range(256), *(1 << bit for bit in range(8, 32))]
print(json.dumps({
    "states": [text("job_state_string", n) for n in numbers]
        + [each for n in numbers for each in text("job_state_string_complete", n).split(",")],
    "reasons": [text(reason, n) for n in range(1000) if text(reason, n) != str(n)],
    "errors": [each for n in (0, *range(1000, 12000)) if (each := text("slurm_strerror", n)) != os.strerror(n)],
}))
"""
_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/slurm/lib")
# What the library says for a number that has no reason.
_NO_REASON = frozenset({"InvalidReason", "InvaildReason"})


@dataclass(frozen=True)
class Known:
    """The values of one version, without repetitions."""

    states: frozenset[str]
    reasons: frozenset[str]
    errors: frozenset[str]


@functools.cache
def read_library() -> Known:
    """Read the installed library. A machine without it is not one that these tests are for: they fail."""
    found = [path for folder in _FOLDERS for path in Path(folder).rglob("libslurmfull.so")]
    assert found, "Slurm's library libslurmfull.so is not installed here: python -m lab install"
    read = subprocess.run([sys.executable, "-c", _READ, str(found[0])], capture_output=True, text=True, check=True)
    said = json.loads(read.stdout)
    return Known(frozenset(said["states"]), frozenset(said["reasons"]) - _NO_REASON, frozenset(said["errors"]))
