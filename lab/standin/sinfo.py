"""The stand-in's sinfo: partitions and nodes, all of them well."""

import sys
from pathlib import Path

from lab.standin import faults, state
from lab.standin.options import parse_options
from lab.standin.words import fill_format

SHORT = "hNo:p:n:ls"
LONG = {"noheader": "h", "Node": "N", "format=": "o", "partition=": "p", "nodes=": "n", "long": "l", "summarize": "s"}
FORMAT = "%#P %.5a %.10l %.6D %.6t %N"
HEADERS = {"P": "PARTITION", "a": "AVAIL", "l": "TIMELIMIT", "D": "NODES", "t": "STATE", "T": "STATE", "N": "NODELIST"}
UNREACHABLE = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"


def run(folder: Path, arguments: list[str], fault: faults.Fault) -> int:
    """List partitions, or with -N each node of each partition."""
    options, _ = parse_options("sinfo", arguments, SHORT, LONG)
    if fault["mode"] == "fail":
        faults.fail(fault, UNREACHABLE)
    pattern = options.get("format", FORMAT).replace("%#P", "%9P")
    lines = [] if "noheader" in options else [fill_format(pattern, HEADERS)]
    busy = {job["node"] for job in state.list_jobs(folder) if job["state"] == "RUNNING"}
    for partition, nodes in state.PARTITIONS.items():
        if partition not in options.get("partition", partition).split(","):
            continue
        parts = [[node] for node in nodes] if "Node" in options else group(nodes, busy)
        lines += [fill_format(pattern, describe(partition, some, is_busy=some[0] in busy)) for some in parts]
    sys.stdout.write("".join(line + "\n" for line in lines))
    return 0


def group(nodes: tuple[str, ...], busy: set[str]) -> list[list[str]]:
    """Return the nodes that are in use, and those that are not."""
    parts = [[node for node in nodes if node in busy], [node for node in nodes if node not in busy]]
    return [part for part in parts if part]


def describe(partition: str, nodes: list[str], *, is_busy: bool) -> dict[str, str]:
    """Return sinfo's columns by letter."""
    numbers = [node.removeprefix("n") for node in nodes]
    span = f"n{numbers[0]}" if len(nodes) == 1 else f"n[{numbers[0]}-{numbers[-1]}]"
    if len(nodes) > 1 and int(numbers[-1]) - int(numbers[0]) >= len(nodes):
        span = f"n[{','.join(numbers)}]"
    return {
        "P": partition + "*" * (partition == "cpu"),
        "R": partition,
        "a": "up",
        "l": "1-00:00:00",
        "D": str(len(nodes)),
        "t": "mix" if is_busy else "idle",
        "T": "mixed" if is_busy else "idle",
        "N": span,
        "c": str(state.CPUS_PER_NODE),
        "m": str(state.MEMORY_MB),
    }
