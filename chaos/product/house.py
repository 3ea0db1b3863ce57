"""The whole product for a trial: gateway and agents as real processes, forked from one that has imported everything."""

import contextlib
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import requests

from agent.job.wrapper import WRAPPER
from chaos.ground.trial_ground import Ground
from chaos.product import child
from chaos.product.controls import WRAPPER_CONTROLS
from chaos.product.instrument import render_wrapper
from tests.e2e.house import BIN, House

__all__ = ["WAITS", "ChaosHouse"]

# Seconds instead of minutes. beat_still_s and look_again_s are evidence: still far above what a loaded machine delays.
WAITS = """
[waits]
rescan_s = 1
glance_s = 0.2
poll_soon_s = 0.5
faulty_look_s = 0.5
fence_after_s = 1.5
late_accept_s = 7.5
no_claim_s = 30
unlisted_s = 3
beat_still_s = 8
look_again_s = 1
beat_every_s = 0.5
beat_stop_s = 120
retry_first_s = 0.2
retry_max_s = 2
limit_retry_s = 1
drop_quiet_s = 1
drop_look_s = 0.3
heartbeat_s = 2
"""
SLURM = """
poll_interval_s = 2
accounting_interval_s = 2
sbatch_timeout_s = 6
query_timeout_s = 4
sbatch_bucket = { burst = 50, per_second = 50 }
query_bucket = { burst = 50, per_second = 5 }
"""
_DIES_WITHIN_S = 20.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(child.PRELOAD)


def _change_waits(changes: Mapping[str, float]) -> str:
    waits = WAITS
    for name, value in changes.items():
        waits = re.sub(rf"^{name} = .*\n", "", waits, flags=re.MULTILINE) + f"{name} = {value}\n"
    return waits


class ChaosHouse(House):
    """A House whose processes look for plans, and can be killed, stopped and started by name."""

    slurm = SLURM

    def __init__(self, folder: Path, slurm_env: dict[str, str], ground: Ground, *, control: str = "") -> None:
        self._control, self.ground, self.waits = control, ground, _change_waits(ground.waits)
        self.died: list[str] = []  #: parts that ended by themselves, where no fault of the scenario does that
        self._may_end = False
        self.answers: Counter[int] = Counter()  #: what clients were answered: how often each status
        self._running: dict[str, ForkServerProcess] = {}
        self.plans, self.wrapper = folder / "plans", folder / "wrapper.sh"
        self.plans.mkdir(parents=True)
        extra = WRAPPER_CONTROLS.get(control, "")
        first = ground.render_first(folder / "spool")
        text = render_wrapper(WRAPPER.read_text(encoding="utf-8"), self.plans, extra=extra, first=first)
        self.wrapper.write_text(text, encoding="utf-8")
        self.wrapper.chmod(0o755)
        try:
            super().__init__(folder, slurm_env)
        except BaseException:  # else what was started would be waited for at the end, for ever
            self.stop()
            raise

    def _write_configs(self, slurm_env: dict[str, str], site: Sequence[str]) -> None:
        super()._write_configs(slurm_env, site)
        with (self.folder / "gateway.toml").open("a", encoding="utf-8") as config:
            config.write(self.ground.gateway)

    def start(self, part: str) -> None:
        """Start `gateway`, `agent`, or a further agent on the same spool (`agent-2`)."""
        role = part.partition("-")[0]
        word = {"gateway": "serve", "agent": "run"}[role]
        own = self.folder / f"{part}.toml"
        config = own if own.exists() else self.folder / f"{role}.toml"
        argv = [str(BIN / f"mltm-{role}"), word, "--config", str(config)]
        arguments = (
            role, argv, self.folder / f"{part}.log", self.plans, self.wrapper, self._control, self.ground.env(role),
        )  # fmt: skip
        process = _FORKS.Process(target=child.run, args=arguments, name=part)
        process.start()
        self._running[part] = process

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        """Ask the gateway, and count what it answered."""
        answer = super().ask(method, path, **options)
        self.answers[answer.status_code] += 1
        return answer

    @property
    def parts(self) -> tuple[str, ...]:
        """What was started so far."""
        return tuple(self._running)

    def kill(self, part: str) -> None:
        """End it with KILL, and wait until it is gone."""
        self._note_dead(part)
        self._running[part].kill()
        self._running[part].join()

    def revive(self, part: str, pid: int) -> None:
        """Start a part again whose process `pid` was killed; nothing if that was done already."""
        process = self._running[part]
        if process.pid != pid:
            return
        process.join(_DIES_WITHIN_S)
        if process.is_alive():
            raise TimeoutError(f"{part} was killed and lives")
        self.start(part)

    def revive_dead(self) -> None:
        """Start again what has ended by itself, as a service manager does, where faults make a part end itself."""
        self._may_end = True
        for part, process in list(self._running.items()):
            if not process.is_alive():
                self.start(part)

    def restart_dead(self) -> None:
        """Start again what has ended by itself where nothing may do that, and remember it."""
        for part, process in list(self._running.items()):
            if not process.is_alive():
                self._note_dead(part)
                self.start(part)

    def _note_dead(self, part: str) -> None:
        if not self._running[part].is_alive():
            self.died.append(part)

    def find_faults(self) -> list[str]:
        """Parts that ended though nothing was done to them, before the end of the trial or by then."""
        if self._may_end:
            return []
        dead = [part for part, process in self._running.items() if not process.is_alive()]
        return [f"{part} ended by itself" for part in (*self.died, *dead)]

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send it a signal (STOP, CONT)."""
        self._note_dead(part)
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
