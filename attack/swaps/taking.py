"""The agent's hands in a spool: it takes bundles and drops, lists outputs, and reads outputs and logs."""

import json
import shutil
from pathlib import Path

from agent.intake.bundles import BundleIntake
from agent.intake.drops import DropIntake
from agent.settings import AgentSettings, Waits
from agent.spool.setup import prepare_spool
from agent.spool.spool_key import write_spool_key
from agent.uplink.log_reader import read_log_bytes
from agent.uplink.outputs import list_outputs, read_output
from attack.swaps.hands import work
from attack.swaps.supplies import KEY, SECRET
from mltm.contract.ids import TaskId
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock

__all__ = ["list_and_read", "take_bundles", "take_drops"]

_MAX_WAITING = 4  #: spoiled drops in taking/: a pipe in one of them would stop every later round of a control
_AT_ONCE = Waits(faulty_look_s=0.0, drop_quiet_s=0.0, drop_look_s=0.0, drop_give_up_s=0.0)


def _settings(wanted: dict[str, str]) -> AgentSettings:
    home = Path(wanted["home"])
    return AgentSettings(
        spool=Path(wanted["spool"]),
        inbox=Path(wanted["inbox"]),
        cluster="atena",
        credential_file=home / "credential",
        runtime="none",
        waits=_AT_ONCE,
    )


def _list_tasks(spool: Spool) -> list[Path]:
    return [path for path in spool.tasks.iterdir() if not path.name.startswith(".")]


def _find_taken(spool: Spool) -> list[str]:
    """Tasks that hold the secret; what was taken is removed, so that a round stays as cheap as the first."""
    harm = []
    for task in _list_tasks(spool):
        found = [path.name for path in (task / "input").glob("*") if path.is_file() and SECRET in path.read_bytes()]
        harm += [f"the secret became {name} of a task" for name in found]
        shutil.rmtree(task, ignore_errors=True)
    if len(list(spool.taking.iterdir())) > _MAX_WAITING:
        _clear(spool.taking)
    for folder in (spool.active, spool.done, spool.bad, spool.outbox):
        _clear(folder)
    return harm


def _clear(folder: Path) -> None:
    for path in list(folder.iterdir()):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def take_bundles(text: str) -> None:
    """Scan in/new, in each round."""
    wanted = json.loads(text)
    settings = _settings(wanted)
    spool = prepare_spool(settings, Clock()).spool
    write_spool_key(spool, KEY.hex(), Clock())
    intake = BundleIntake(spool, settings, Clock())

    def step(_: int) -> bool:
        intake.scan()
        return bool(_list_tasks(spool))

    work(step, lambda: _find_taken(spool), hang_s=wanted["hang_s"], told=Path(wanted["home"]) / "told")


def take_drops(text: str) -> None:
    """Scan drop/, in each round."""
    wanted = json.loads(text)
    settings = _settings(wanted)
    spool = prepare_spool(settings, Clock()).spool
    intake = DropIntake(spool, settings, Clock())

    def step(_: int) -> bool:
        intake.scan()
        return bool(_list_tasks(spool))

    work(step, lambda: _find_taken(spool), hang_s=wanted["hang_s"], told=Path(wanted["home"]) / "told")


def list_and_read(text: str) -> None:
    """List a task's outputs, read one, and read its log, in each round."""
    wanted = json.loads(text)
    folder = Spool(Path(wanted["spool"])).task(TaskId(wanted["task_id"]))
    seen: list[str] = []

    def step(number: int) -> bool:
        if number % 3 == 0:
            listed = [file.path for file in list_outputs(folder).files]
            seen.extend(f"{path} was listed" for path in listed if "foreign" in path)
            return bool(listed)
        if number % 3 == 1:
            data = read_output(folder, "models/canary", 0, 100).data
        else:
            data = read_log_bytes(folder, 1, 0, 100).data
        seen.extend(["the secret was read"] if SECRET in data else [])
        return True

    def find_harm() -> list[str]:
        harm = list(seen)
        seen.clear()
        return harm

    work(step, find_harm, hang_s=wanted["hang_s"], told=Path(wanted["home"]) / "told")
