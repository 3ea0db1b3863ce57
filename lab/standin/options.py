"""Reads a Slurm command's options the way getopt_long does: they end at the first word that is none."""

import getopt
import sys


def parse_options(
    command: str, arguments: list[str], short: str, long: dict[str, str], *, anywhere: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Return options by long name, and the words that are left.

    `short` is getopt's string; `long` maps a long name (with `=` when it takes a value) to its short letter or "".
    With `anywhere` options may also stand behind words. An unknown option ends the program as it does Slurm's.
    """
    read = getopt.gnu_getopt if anywhere else getopt.getopt
    try:
        pairs, rest = read(arguments, short, list(long))
    except getopt.GetoptError as error:
        shown = f"--{error.opt}" if len(error.opt) > 1 else error.opt
        sys.stderr.write(f"{command}: unrecognized option '{shown}'\nTry \"{command} --help\" for more information\n")
        sys.exit(255)
    names = {f"-{letter}": name.rstrip("=") for name, letter in long.items() if letter}
    return {names.get(key, key.lstrip("-")): value for key, value in pairs}, rest
