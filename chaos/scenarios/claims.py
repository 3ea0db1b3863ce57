"""Races for claims with the product's own code: the wrapper's way in bash against the agent's fence in Python.

No Slurm, no gateway: what is tried is the folder (link(2), on whatever file system it lies) and both makers of a claim.
"""

import json
import multiprocessing
import os
import random
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.errors import AgentError
from agent.job.wrapper import WRAPPER
from agent.spool.records import link_fence
from chaos.ledger import Judgement
from chaos.trial import Result, Setup
from mltm.contract.ids import TaskId
from mltm.contract.journal_records import Author, Fence
from mltm.contract.spool_layout import Attempt

__all__ = ["Answer", "judge_race", "run"]

_FENCES, _WRAPPERS = 60, 4  #: processes; a wrapper's try takes some twenty times as long
_TASK = TaskId("0" * 32)
_ANSWER_S = 60.0
_FORKS = multiprocessing.get_context("fork")
_LAST_LINE = 'main "$@"\n'
# The wrapper without its `main`. Advice (dup, refused) decides nothing and costs more than the claim itself.
_RACER = """
say() {
  [[ $2 =~ \\"nonce\\":\\"([0-9a-f]+)\\" ]]
  printf 'wrapper %s %s\\n' "$1" "${BASH_REMATCH[1]-$2}"
}
step_aside() { say lost "$decided" && exit; }
refuse() { say refused "$2" && exit; }
control=$1 job_id=1 node=n1 boot_id=none
while read -r attempt; do
  (read_nonce && take_claim && say won "\\"nonce\\":\\"$nonce\\"")
done
"""


@dataclass(frozen=True)
class Answer:
    """What a process says of one race: `won`, `lost` or `refused`, and the nonce in the record that it read back."""

    side: str
    word: str
    nonce: str


@dataclass(frozen=True)
class _Racers:
    """The pipes of 64 processes. Each reads an attempt's number, races, and writes one line, with one write."""

    wrappers: list[int]
    fences: list[int]
    answers: int


def run(setup: Setup, faults: int | None) -> Result:
    """Race for so many claims (2,000 by default), each with all 64 processes; a fault is a race."""
    result, winners = Result(setup.scenario, setup.seed, "none"), Counter[str]()
    began_s, rng = time.monotonic(), random.Random(setup.seed)  # noqa: S311 - a plan that can be replayed
    latest_s = 0.015  # by how much the fences may start after the wrappers; follows the load, so that both win
    with tempfile.TemporaryDirectory(prefix=f"chaos-claims-{setup.seed}-") as name, _open_racers(Path(name)) as racers:
        for number in range(1, (faults or 2000) + 1):
            answers = _race(f"{number:02d}", racers, rng.uniform(0, latest_s))
            result.tasks, result.faults = number, number
            claim = Path(name) / f"claim.{number:02d}"
            judge_race(json.loads(claim.read_bytes())["nonce"], answers, result.judgement)
            won = {each.side for each in answers if each.word == "won"}
            winners.update(won)
            latest_s *= 1.1 if "fence" in won else 0.9
            if not result.judgement.is_clean:
                break
            claim.unlink()
    if len(winners) == 1 and result.faults >= 100:
        result.judgement.wrong.append(f"only one side ever won ({winners}): they did not meet")
    result.took_s = time.monotonic() - began_s
    shares = ", ".join(f"{count} by a {side}" for side, count in sorted(winners.items()))
    print(f"chaos: claims won: {shares}", file=sys.stderr, flush=True)
    return result


def judge_race(owner: str, answers: list[Answer], found: Judgement) -> None:
    """Note what is wrong with one race. `owner`: the nonce in the record that lies there afterwards."""
    won = [answer for answer in answers if answer.word == "won"]
    if len(won) > 1:
        found.twice.append(f"{len(won)} own one claim: {', '.join(answer.nonce for answer in won)}")
    if not won:
        found.lost.append(f"nobody says that {owner} is its own")
    found.wrong += [
        f"{each.side} {each.word}: {each.nonce}, but {owner} is right" for each in answers if each.nonce != owner
    ]


def _race(number: str, racers: _Racers, lead_s: float) -> list[Answer]:
    """Let the wrappers begin, and the fences `lead_s` later; wait for every answer."""
    word = f"{number}\n".encode()
    for pipe in racers.wrappers:
        os.write(pipe, word)
    time.sleep(lead_s)
    for pipe in racers.fences:
        os.write(pipe, word)
    lines, until_s = b"", time.monotonic() + _ANSWER_S
    while lines.count(b"\n") < len(racers.wrappers) + len(racers.fences):
        if not select.select([racers.answers], [], [], max(0.0, until_s - time.monotonic()))[0]:
            raise TimeoutError(f"not all have answered: {lines.decode()[-300:]}")
        lines += os.read(racers.answers, 65536)
    return [Answer(*line.split(" ", 2)) for line in lines.decode("ascii").splitlines()]


@contextmanager
def _open_racers(control: Path) -> Iterator[_Racers]:
    """Start the processes over a folder of records; they end with their pipes."""
    with ExitStack() as stack:
        answers, told = os.pipe()
        stack.callback(os.close, answers)
        fences = [_start_fence(control, told, stack) for _ in range(_FENCES)]
        racer = control / ".racer.sh"
        racer.write_text(WRAPPER.read_text(encoding="utf-8").removesuffix(_LAST_LINE) + _RACER, encoding="utf-8")
        wrappers = [_start_wrapper(racer, told, stack) for _ in range(_WRAPPERS)]
        os.close(told)
        yield _Racers(wrappers, fences, answers)


def _start_wrapper(racer: Path, told: int, stack: ExitStack) -> int:
    argv = ["bash", "-p", str(racer), str(racer.parent)]
    process = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=told))
    assert process.stdin is not None
    return process.stdin.fileno()


def _start_fence(control: Path, told: int, stack: ExitStack) -> int:
    numbers, pipe = os.pipe()
    process = _FORKS.Process(target=_keep_fencing, args=(control, numbers, pipe, told))
    process.start()
    os.close(numbers)
    stack.callback(process.join)
    stack.callback(os.close, pipe)  # the last one first: those that were forked later hold this end, too
    return pipe


def _keep_fencing(control: Path, numbers: int, other_end: int, told: int) -> None:
    """An agent that fences every attempt whose number it reads."""
    os.close(other_end)
    author = Author(epoch=1, host="chaos", pid=os.getpid())
    with os.fdopen(numbers, encoding="ascii") as lines:
        for line in lines:
            fence = Fence(nonce=secrets.token_hex(16), reason="unknown", author=author, at=datetime.now(UTC))
            try:
                decided = link_fence(Attempt(control, control, _TASK, int(line)), fence)
                said = "won" if decided.nonce == fence.nonce else "lost"
                os.write(told, f"fence {said} {decided.nonce}\n".encode())
            except (OSError, AgentError) as error:
                os.write(told, f"fence refused {error}\n".encode())
