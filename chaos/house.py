"""The whole product for a trial: gateway and agents as real processes, forked from one that has imported everything."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from agent.job.wrapper import WRAPPER
from chaos import child
from chaos.controls import WRAPPER_CONTROLS
from chaos.instrument import render_wrapper
from tests.e2e.house import BIN, House

__all__ = ["ChaosHouse"]

# Seconds instead of minutes. beat_still_s and look_again_s are evidence: still far above what a loaded machine delays.
WAITS = """
[waits]
rescan_s = 1
glance_s = 0.2
poll_soon_s = 0.5
faulty_look_s = 0.5
fence_after_s = 1.5
no_claim_s = 30
unlisted_s = 3
beat_still_s = 8
look_again_s = 1
beat_every_s = 0.5
beat_stop_s = 120
retry_first_s = 0.2
retry_most_s = 2
limit_retry_s = 1
drop_quiet_s = 1
drop_look_s = 0.3
heartbeat_s = 2
"""
_DIES_WITHIN_S = 20.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(child.PRELOAD)


class ChaosHouse(House):
    """A House whose processes look for plans, and can be killed, stopped and started by name."""

    waits = WAITS

    def __init__(self, folder: Path, slurm_env: dict[str, str], *, control: str = "") -> None:
        self._control = control
        self._running: dict[str, ForkServerProcess] = {}
        self.plans, self.wrapper = folder / "plans", folder / "wrapper.sh"
        self.plans.mkdir(parents=True)
        extra = WRAPPER_CONTROLS.get(control, "")
        text = render_wrapper(WRAPPER.read_text(encoding="utf-8"), self.plans, extra=extra)
        self.wrapper.write_text(text, encoding="utf-8")
        self.wrapper.chmod(0o755)
        super().__init__(folder, slurm_env)

    def start(self, part: str) -> None:
        """Start `gateway`, `agent`, or a further agent on the same spool (`agent-2`)."""
        role = part.partition("-")[0]
        word = {"gateway": "serve", "agent": "run"}[role]
        argv = [str(BIN / f"mltm-{role}"), word, "--config", str(self.folder / f"{role}.toml")]
        arguments = (role, argv, self.folder / f"{part}.log", self.plans, self.wrapper, self._control)
        process = _FORKS.Process(target=child.run, args=arguments, name=part)
        process.start()
        self._running[part] = process

    @property
    def parts(self) -> tuple[str, ...]:
        """What was started so far."""
        return tuple(self._running)

    def kill(self, part: str) -> None:
        """End it with KILL, and wait until it is gone."""
        self._running[part].kill()
        self._running[part].join()

    def revive(self, part: str, pid: int) -> None:
        """Start a part again whose process `pid` was killed; nothing where that was done already."""
        process = self._running[part]
        if process.pid != pid:
            return
        process.join(_DIES_WITHIN_S)
        if process.is_alive():
            raise TimeoutError(f"{part} was killed and lives")
        self.start(part)

    def revive_dead(self) -> None:
        """Start again what has ended by itself, as a service manager does."""
        for part, process in list(self._running.items()):
            if not process.is_alive():
                self.start(part)

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send it a signal (STOP, CONT)."""
        pid = self._running[part].pid
        if pid is not None and self._running[part].is_alive():
            os.kill(pid, number)

    @contextlib.contextmanager
    def holding(self, part: str) -> Iterator[None]:
        """Keep a part stopped for a `with` block, as a suspended host is; one that is started meanwhile runs."""
        self.signal(part, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(part, signal.SIGCONT)

    def stop(self) -> None:
        """End everything in order; what does not end is killed."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join(15)
            if process.is_alive():
                process.kill()
                process.join()
