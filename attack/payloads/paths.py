"""More than 500 texts that lead elsewhere where a program takes them for a path or a part of an address."""

import itertools

__all__ = ["CANARY", "list_paths"]

CANARY = "attack-canary"  #: the file or folder that each tries to make, or to read
_STEPS = (
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%252f", "..\\", "..%5c", "%2e%2e%5c", "....//",
    "..;/", "..%00/", "..%c0%af", "%c0%ae%c0%ae/", "%uff0e%uff0e%u2215", "\uff0e\uff0e\uff0f",
    ".%2e/", "%2e./", "..%0a/", ".././",
    "..#/", "..?/", "..//", "/../", "\\..\\", "\u202e../", "..\u2215", "..\u2044", "..%ef%bc%8f", "..%25%32%66",
)  # fmt: skip
_DEPTHS = (1, 2, 3, 5, 8, 12)
_WHOLE = (
    "/{0}", "//{0}", "///{0}", "\\{0}", "\\\\host\\share\\{0}", "C:\\{0}", "C:/{0}", "file:///{0}", "file://host/{0}",
    "~/{0}", "~root/{0}", "/proc/self/cwd/{0}", "/proc/self/root/{0}", "/dev/fd/0/{0}", "./{0}", ".", "..", "...", "",
    " ", "-", "--", "-rf", "--output={0}", "@{0}", "|{0}", ">{0}", "$(touch {0})", "`touch {0}`", ";touch {0};",
    "{0}\x00.py", "{0}\n.py", "{0}\r\n.py", "{0}%00.py", "{0}%0a", "\u202eyp.{0}", "{0}\u200b.py", ".{0}", ".ssh/{0}",
    "{0}/", "{0}/.", "{0}/..", "{0}//x", "con", "nul", "aux.py", "{0}:stream", "{0}.", "{0} ", "\t{0}", "*", "?", "[a]",
    "{{0}}", "%s%s%s%n", "%{0}", "{0}%", "\u0000", "\ud7ff", "\uffff", "\U0001f4a9{0}", "a" * 4096, "/" * 4096,
    "../" * 1400, "%2e" * 1400, "a/" * 2048, "files/{0}", "input/{0}", "control/exit.01",
    "manifest.json", "config.json",
    "entrypoint.py", "gateway.sqlite", "gateway.url", ".staging/{0}", "lock", "config", "script.py/../{0}",
)  # fmt: skip
_ENDS = ("etc/passwd", "gateway.sqlite", CANARY)


def list_paths() -> list[str]:
    """All of them, always in the same order."""
    climbing = [f"{step * depth}{end}" for step, depth, end in itertools.product(_STEPS, _DEPTHS, _ENDS)]
    return [*(text.replace("{0}", CANARY) for text in _WHOLE), *climbing]
