"""Commands, options and directives in every text of a task, and in its script: what reaches sbatch, and its script."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from attack.guards import replace
from attack.payloads.commands import list_commands
from attack.product import processes
from attack.product.house import CLUSTER, House, build_config, open_house
from attack.product.real_agent import RealAgent, running_agent
from attack.stage import CHECKOUT
from attack.trial import Scenario, Trial
from lab.standin.control import read_calls

__all__ = ["SCENARIO"]

_OPTIONS = {
    "parsable", "no-requeue", "ignore-pbs", "job-name", "comment", "chdir", "output", "open-mode",
    "partition",    "account", "nodes", "cpus-per-task", "gres", "mem", "time", "qos", "constraint", "signal",
    "propagate", "exclude", "export",
}  # fmt: skip
_KEYS = ("image_name", "instance_type", "account")


def run(trial: Trial) -> None:
    """Each text goes into one task's free fields and script, and into one task for each field that is looked up."""
    with open_house(trial) as house, running_agent(house, "ann") as agent:
        canary = house.folder / "ann" / "canary"
        texts = list_commands(str(canary))
        texts = texts if trial.tries >= len(texts) else trial.rng.sample(texts, trial.tries)
        accepted = 0
        for text in texts:
            for config in _build_configs(text):
                accepted += _submit(house, config, text) in {200, 201}
        processes.wait_until(lambda: _count_jobs(agent) >= accepted, f"{accepted} calls of sbatch", within_s=180)
        harm = [*_read_harm(agent, texts), *([f"{canary} was made"] if canary.exists() else [])]
        for text in texts:
            trial.tally.count(next((each for each in harm if repr(text)[1:-1] in each), ""))
        left = len(harm) - len(trial.tally.reached)
        trial.tally.reached += harm[:1] if left and not trial.tally.reached else []
        trial.tally.counts |= {"tasks": accepted, "calls of sbatch": _count_jobs(agent)}


def _count_jobs(agent: RealAgent) -> int:
    return len(read_calls(agent.standin, "sbatch"))


def _build_configs(text: str) -> Iterator[dict[str, object]]:
    free = "".join(c for c in text if c.isprintable() or c == " ")
    yield build_config(
        experiment_name=free, project_path=free, tracking_uri=free, params_as_args=True,
        model_params={"value": text.replace("\r", " ")}, env={"VALUE": text.replace("\r", " ")},
    )  # fmt: skip
    for key in _KEYS:
        yield build_config(
            clusters={CLUSTER: {"infra_config": {"instance_type": "cpu", "image_name": "image", key: text}}}
        )
    for field in ("memory", "time_limit", "qos", "constraint"):
        yield build_config(resources={field: text})
    yield build_config(env={text: "x"})
    yield build_config(dataset_name=text)


def _submit(house: House, config: dict[str, object], text: str) -> int:
    script = f"#SBATCH --uid=0\n#SBATCH --wrap='touch x'\n#PBS -l nodes=9\n#BSUB -n 9\n#SBATCH {text.splitlines()[0]}\n"
    files = {"config": ("config.json", json.dumps(config)), "script": ("script.py", f"{script}print(1)\n")}
    answer: requests.Response = house.ask("ann", "POST", "/v1/tasks", files=files)
    if answer.status_code >= 500:
        raise RuntimeError(f"{config} was answered {answer.status_code}")
    return answer.status_code


def _read_harm(agent: RealAgent, texts: list[str]) -> Iterator[str]:
    """What sbatch was given that is not ours: another option, a text of the user, another script."""
    wrapper = (CHECKOUT / "agent" / "job" / "wrapper.sh").read_bytes()
    scripts = [path.read_bytes() for path in (agent.standin.dir / "spool").glob("*/slurm_script")]
    yield from ("the submitted script is not the wrapper" for script in scripts if script != wrapper)
    for call in read_calls(agent.standin, "sbatch"):
        words = [str(word) for word in call["arguments"]]
        options = [word for word in words if word.startswith("-")]
        for word in options:
            name, _, value = word.removeprefix("--").partition("=")
            found = next((text for text in texts if text.strip() and text.strip() in value), None)
            if name not in _OPTIONS or not word.startswith("--") or found is not None:
                yield f"sbatch was given {word!r}{f', from {found!r}' if found else ''}"
        script = next((word for word in words if not word.startswith("-")), "")
        if Path(script).name != "wrapper.sh":
            yield f"sbatch was given the script {script!r}"


def take_guard_out() -> None:
    """The predecessor's way: a user's text in a line that is split into words, and his script before the wrapper."""
    from agent.job import launch
    from agent.slurm import commands

    build_request, build_argv = launch._build_request, commands.build_submit_argv

    def paste(config: Any, *rest: Any) -> Any:
        return dataclasses.replace(build_request(config, *rest), comment=config.experiment_name or "none")

    replace(launch, "_build_request", paste)
    replace(commands, "build_submit_argv", lambda request: " ".join(build_argv(request)).split())


SCENARIO = Scenario(
    threats="T2, T3, T4",
    tries_to="bring options, commands and directives to sbatch by a task's texts and script",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(list_commands("")),
    control_tries=3,
)
