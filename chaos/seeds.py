"""Runs seeds side by side, each in a process of its own with its own house and Slurm. Whatever ends this ends all."""

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from chaos.trial import Result

__all__ = ["Run", "Seed", "run_seeds", "stop_on_term"]

Seed = tuple[str, int]  #: a scenario's name, and the seed
Run = Callable[[str, int], Result]  #: has to be picklable
_ENDS_WITHIN_S = 60.0
_SPAWNS = multiprocessing.get_context("spawn")
_Running = dict[Connection, tuple[Seed, SpawnProcess]]


def run_seeds(run: Run, seeds: Sequence[Seed], jobs: int) -> Generator[tuple[Seed, Result | None], None, None]:
    """Run each seed, `jobs` at a time; yield each as it ends. None: its process died, with a traceback on stderr."""
    waiting = list(seeds)
    with _ending_all() as running:
        while waiting or running:
            while waiting and len(running) < jobs:
                seed = waiting.pop(0)
                connection, process = _start(run, seed)
                running[connection] = (seed, process)
            wait(list(running))
            for ready in [each for each in running if each.poll()]:
                result = _receive(ready)
                seed, process = running.pop(ready)
                process.join()
                yield seed, result


def stop_on_term() -> None:
    """Let SIGTERM end this process as an exception does, so that everything that was started is ended."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(*_: object) -> None:
    raise SystemExit(143)


def _start(run: Run, seed: Seed) -> tuple[Connection, SpawnProcess]:
    ours, theirs = _SPAWNS.Pipe(duplex=False)
    process = _SPAWNS.Process(target=_work, args=(run, seed, theirs))
    process.start()
    theirs.close()
    return ours, process


def _work(run: Run, seed: Seed, connection: Connection) -> None:
    stop_on_term()
    try:
        connection.send(run(*seed))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # noqa: BLE001 - a seed that breaks is shown, and the others go on
        traceback.print_exc()
        sys.exit(1)


def _receive(connection: Connection) -> Result | None:
    with connection:
        try:
            result: Result = connection.recv()
        except EOFError:
            return None
    return result


@contextmanager
def _ending_all() -> Iterator[_Running]:
    """Processes that are ended with SIGTERM when the block is left early, and killed when that does not help."""
    running: _Running = {}
    try:
        yield running
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(_ENDS_WITHIN_S)
            if process.is_alive():
                process.kill()
