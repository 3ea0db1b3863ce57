"""One scenario's attack, once on the product and once on the product without its guard; what both came to."""

import contextlib
import os
import random
import shutil
import stat
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Result", "Scenario", "Tally", "Trial", "run_scenario"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a file


@dataclass
class Tally:
    """What the tries of an attack came to. reached: a sentence for each that got what it wanted."""

    tries: int = 0
    reached: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  #: what else is worth a number, by its name
    broke_off: str = ""

    def count(self, reached: str = "") -> None:
        """Count one try. reached: what the attacker got, "" if he was refused."""
        self.tries += 1
        if reached:
            self.reached.append(reached)


@dataclass(frozen=True)
class Trial:
    """What an attack works with. folder: anybody may enter it. guard: "" or the function that takes a guard out.

    tries: of the control, the scenario's own number.
    """

    folder: Path
    tries: int
    seed: int
    guard: str
    needs: int  #: a control may end as soon as so many tries have succeeded; 0: this is not a control
    tally: Tally
    rng: random.Random


@dataclass(frozen=True)
class Scenario:
    """An attack and its control.

    `run` is called for both. `take_guard_out` is called in the product's processes of the control, before they import
    anything of the product.
    """

    threats: str  #: entries of the list of faults and of the threat model
    tries_to: str  #: one line
    run: Callable[[Trial], None]
    take_guard_out: Callable[[], None]
    tries: int = 10
    control_tries: int = 10
    control_needs: int = 1  #: so many tries of the control have to succeed


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    name: str
    scenario: Scenario
    attack: Tally
    control: Tally

    @property
    def is_refused(self) -> bool:
        """Something was tried, and nothing was reached."""
        return self.attack.tries > 0 and not self.attack.reached and not self.attack.broke_off

    @property
    def is_clean(self) -> bool:
        """The attack is refused, and it is known to be one."""
        return self.is_refused and self.is_proved

    @property
    def is_proved(self) -> bool:
        """Without the guard the attack succeeds."""
        return len(self.control.reached) >= self.scenario.control_needs and not self.control.broke_off


def run_scenario(name: str, scenario: Scenario, *, seed: int, tries: int | None, keep: Path | None) -> Result:
    """Attack the product, then the control."""
    function = scenario.take_guard_out
    guard = f"{function.__module__}:{function.__qualname__}"
    wanted = scenario.tries if tries is None else tries
    attack = _attack(name, scenario, seed, wanted, "", keep)
    return Result(name, scenario, attack, _attack(name, scenario, seed, scenario.control_tries, guard, keep))


def _attack(name: str, scenario: Scenario, seed: int, tries: int, guard: str, keep: Path | None) -> Tally:
    tally, needs = Tally(), scenario.control_needs if guard else 0
    with _open_folder(name, keep) as folder:
        rng = random.Random(f"{name} {seed}")  # noqa: S311 - an attack that can be replayed
        try:
            scenario.run(Trial(folder, tries, seed, guard, needs, tally, rng))
        except Exception:  # noqa: BLE001 - the other scenarios run, and the verdict says that this one did not
            tally.broke_off = traceback.format_exc()
    return tally


@contextlib.contextmanager
def _open_folder(name: str, keep: Path | None) -> Iterator[Path]:
    """A folder for one attack: in memory if there is a file system for that, because thousands of syncs cost time."""
    folder = Path(tempfile.mkdtemp(prefix=f"attack-{name}-", dir=_MEMORY if _MEMORY.is_dir() else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if keep is not None:
            shutil.copytree(folder, keep / folder.name, symlinks=True, ignore=_ignore_pipes)
        shutil.rmtree(folder, ignore_errors=True)


def _ignore_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if stat.S_ISFIFO(os.lstat(os.path.join(folder, name)).st_mode)]  # noqa: PTH118
