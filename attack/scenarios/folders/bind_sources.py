"""User code replaces everything that it can write by links; the next attempt's container is planned after that.

Without Apptainer: what is judged is the command that would start it. Apptainer follows links on the host's side of a
bind.
"""

import itertools
import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from attack.accounts import give, make_accounts
from attack.guards import replace
from attack.product import processes
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO", "launch_again"]


def run(trial: Trial) -> None:
    """In a process of the agent's account, plan two attempts as often as there are tries."""
    account = make_accounts("agent")["agent"]
    home = trial.folder / "agent"
    home.mkdir()
    give(home, account, 0o700)
    wanted = json.dumps({"home": str(home), "tries": trial.tries, "seed": trial.seed})
    said = processes.call(account, trial.guard, ["call", f"{__name__}:launch_again", wanted], home=home)
    for told in json.loads(said):
        trial.tally.count(told)


def launch_again(text: str) -> None:
    """Plan and write attempt 1, plant, plan and write attempt 2; print what each try reached, as JSON."""
    wanted = json.loads(text)
    home, rng = Path(wanted["home"]), random.Random(wanted["seed"])  # noqa: S311 - an attack that can be replayed
    secret = home / "secret"
    secret.mkdir()
    (secret / "credential").write_text("the agent's credential", encoding="utf-8")
    print(json.dumps([_launch_twice(home, secret, rng, number) for number in range(wanted["tries"])]))


def _launch_twice(home: Path, secret: Path, rng: random.Random, number: int) -> str:
    from agent.job.launch import Launch, plan_launch, write_launch
    from agent.settings import AgentSettings
    from mltm.contract.ids import TaskId
    from mltm.contract.spool_layout import Spool
    from mltm.contract.task_config import TaskConfig

    image = home / "image.sif"
    image.touch()
    settings = AgentSettings(
        spool=home / "spool", cluster="atena", credential_file=secret / "credential", images={"image": image}
    )
    infra = {"infra_config": {"instance_type": "cpu", "image_name": "image"}}
    config = TaskConfig.model_validate(
        {"runner_location": "atena", "clusters": {"atena": infra}, "script_name": "s.py"}
    )
    folder = Spool(settings.spool).task(TaskId(f"{number:032x}"))
    for path in folder.folders:
        path.mkdir(parents=True)
    writable: list[Path] = []
    for attempt in (1, 2):
        launch = plan_launch(config, folder, attempt, settings)
        assert isinstance(launch, Launch), launch
        try:
            write_launch(launch, folder, attempt, f"{attempt:032x}")
        except OSError:
            return ""  # a link is in the way, and the attempt waits: nothing is bound
        sources = _read_sources(launch.argv)
        if told := _find_escape(sources, writable):
            return told
        writable = [path for path, is_read_only in sources if not is_read_only and path != folder.attempt_tmp(attempt)]
        _plant(writable, secret, rng)
    shutil.rmtree(folder.path)
    return ""


def _read_sources(argv: Sequence[str]) -> list[tuple[Path, bool]]:
    """What is bound: each path on the host, and if it is bound read-only."""
    found: list[tuple[Path, bool]] = []
    for option, value in itertools.pairwise(argv):
        if option in {"--bind", "--home"}:
            found.append((Path(value.split(":")[0]), value.endswith(":ro")))
        elif option == "--workdir":
            found += [(Path(value), False), (Path(value) / "tmp", False), (Path(value) / "var_tmp", False)]
    return found


def _find_escape(sources: Sequence[tuple[Path, bool]], writable: Sequence[Path]) -> str:
    for path, _ in sources:
        if os.path.realpath(path) != str(path):
            return f"{path.name} leads to {os.path.realpath(path)}"
        below = next((each for each in writable if each in path.parents), None)
        if below is not None:
            return f"{path.name} is below {below.name}, which the attempt before could write"
    return ""


def _plant(writable: Sequence[Path], secret: Path, rng: random.Random) -> None:
    """As code in the container could: inside what it may write, never the mount points themselves."""
    names = [".tmp", "tmp", "var_tmp", "tmp.02", ".tmp/tmp", "image", "started.02", "outputs", "control", "input"]
    for folder in writable:
        for name in rng.sample(names, rng.randint(3, len(names))):
            path = folder / name
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif os.path.lexists(path):
                    path.unlink()
                path.parent.mkdir(exist_ok=True)
                path.symlink_to(secret)
            except OSError:
                continue


def take_guard_out() -> None:
    """The container's /tmp is below the work folder, and stays from attempt to attempt."""
    import mltm.contract.spool_layout as layout
    from mltm.runtime import files

    replace(layout.TaskFolder, "attempt_tmp", lambda folder, _: folder.work / ".tmp")
    replace(files, "make_own_folder", lambda folder: folder.mkdir(parents=True, exist_ok=True))


SCENARIO = Scenario(
    threats="1.3",
    tries_to="bind what user code of the attempt before has replaced by links",
    run=run,
    take_guard_out=take_guard_out,
    tries=300,
    control_tries=20,
)
