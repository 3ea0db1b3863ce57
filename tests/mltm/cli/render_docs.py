"""Renders docs/cli.md from the command itself: `python -m tests.mltm.cli.render_docs > docs/cli.md`."""

import sys

from typer.main import get_command
from typer.testing import CliRunner

from mltm.cli.exit_codes import MEANING
from mltm.cli.main import app

__all__ = ["render_docs"]

_HEAD = """\
# The command `mltm`

<!-- Rendered from the command's own help by `python -m tests.mltm.cli.render_docs`; a test compares. -->

    mltm login https://gateway.example:8008
    mltm submit config.json script.py --wait
    mltm get 5f8a9b -o results

Answers go to stdout; progress and errors go to stderr. With `--json` stdout has one JSON document (with `--wait` or
`-f`: one per line, at every change), and an error is a problem document (RFC 9457) on stderr. Name a task by its id, or
by at least 6 of its first or last digits if they fit only one of the newest 200 tasks. A command that takes several
tasks does what it can for each, prints one JSON document for each, and ends with the highest of their exit codes.

If no answer comes, a request is sent again for a while (`--patience`; while waiting for a task, at least 10 minutes).
A submission carries an idempotency key, so that it cannot become two tasks. A download appears whole or not at all;
if it breaks off, it goes on where it ended, and as long as bytes come, nothing gives up. If the job replaced the file
meanwhile, the download begins anew: two versions are never mixed.

## Environment and files
| variable or file | meaning |
|---|---|
| `MLTM_URL` | the gateway's address; overrides the stored login; `--url` overrides it |
| `MLTM_TOKEN` | a token; overrides the stored login |
| `MLTM_CA` | PEM file of the authority that signed the gateway's certificate; `--ca` overrides it |
| `SSL_CERT_FILE`, … | all trusted authorities, in place of the system's ([all variables](certificates.md)) |
| `https_proxy`, … | as for curl and requests ([all variables](certificates.md#behind-a-proxy)) |
| `MLTM_DEBUG` | `1`: a fault of mltm itself (exit code 125) shows where it happened |
| `MLTM_HINT` | a sentence of the site, shown if no gateway answers |
| `$XDG_CONFIG_HOME/mltm/credentials.json` | the stored login, mode 0600; the default folder is `~/.config/mltm` |

A stored token is sent only to the gateway that made it.

## Exit codes
| code | meaning |
|---:|---|
"""


def render_docs() -> str:
    """The whole page."""
    codes = "".join(f"| {code} | {message} |\n" for code, message in sorted(MEANING.items()))
    commands = get_command(app).commands  # type: ignore[attr-defined]  # an app with commands is a group
    sections = [_render_section("mltm"), *(_render_section("mltm", name) for name in commands)]
    return _HEAD + codes + "\n" + "\n".join(sections)


def _render_section(*arguments: str) -> str:
    # The width of the help is that of COLUMNS, whatever screen this runs on.
    env = {"COLUMNS": "80", "LINES": "24", "TERM": "dumb"}
    shown = CliRunner().invoke(app, [*arguments[1:], "--help"], prog_name=arguments[0], env=env, terminal_width=80)
    assert shown.exit_code == 0, shown.output
    return f"## `{' '.join(arguments)}`\n```text\n{shown.stdout.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(render_docs())
