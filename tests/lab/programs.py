"""Small programs that stand for others on PATH, and what they were called with."""

from pathlib import Path


def write_program(folder: Path, name: str, text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def write_apt_get(folder: Path, *, calls: Path, brings: str = "", fails_at: str = "nothing") -> None:
    """An apt-get that notes its arguments, brings one program for `install`, and fails at a word if it is told to."""
    write_program(
        folder,
        "apt-get",
        f"""echo "$*" >>'{calls}'
[ "$1" != "{fails_at}" ] || {{ echo "E: Unable to locate package" >&2; exit 100; }}
[ "$1" = install ] || exit 0
for name in {brings}; do printf '#!/bin/sh\\n' >'{folder}'/$name; /bin/chmod 755 '{folder}'/$name; done""",
    )
