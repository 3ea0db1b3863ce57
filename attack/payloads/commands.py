"""Texts that become a command, an option or a directive where one pastes them into a shell, an argv or a script."""

__all__ = ["list_commands"]

_OPTIONS = (
    "--uid=0", "--gid=0", "-o /tmp/x", "--output=/tmp/x", "--wrap=touch {0}", "--export=ALL,LD_PRELOAD=/tmp/x.so",
    "--get-user-env", "--chdir=/", "--reservation=all", "--nodes=1 --uid=0", "-D/", "--bcast=/tmp/x", "--prolog={0}",
)  # fmt: skip
_SHELL = (
    "; touch {0}", "&& touch {0}", "|| touch {0}", "| touch {0}", "`touch {0}`", "$(touch {0})", "${{IFS}}touch {0}",
    "\ntouch {0}\n", "\r\ntouch {0}", "'; touch {0}; '", '"; touch {0}; "', "$'\\ntouch {0}'", "x\n#SBATCH --uid=0",
    "#SBATCH --wrap=touch\t{0}", "<(touch {0})", "{{a,b}};touch {0}", "!touch {0}", "~+;touch {0}", "*;touch {0}",
    "%j;touch {0}", "%%;touch {0}", "\\;touch {0}", "x --uid=0", "x,--uid=0", "x\t--uid=0",
    "x\u00a0--uid=0", "{0.__class__}",
)  # fmt: skip


def list_commands(canary: str) -> list[str]:
    """All of them; each that is a command makes the file `canary`."""
    return [text.replace("{0}", canary).replace("{{", "{").replace("}}", "}") for text in (*_OPTIONS, *_SHELL)]
