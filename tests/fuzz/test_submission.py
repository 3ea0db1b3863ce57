"""What Slurm gets of any task: the constant wrapper, and options from a table, each with its own value (threat T2).

FUZZ=100000 tries so many configs; a plain run tries some hundred.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.job.launch import Launch, plan_launch, write_launch
from agent.job.wrapper import WRAPPER
from agent.settings import AgentSettings
from agent.slurm.commands import build_submit_argv
from attack.payloads.commands import list_commands
from mltm.contract.parse_config import ConfigError, parse_config
from mltm.contract.spool_layout import Spool, TaskFolder
from tests.agent.job.planning import TASK, make_settings

MAX_EXAMPLES = int(os.environ.get("FUZZ", "300"))
CONSTANT = WRAPPER.read_bytes()
JOB = f"mltm-{TASK}-a01"
DATASETS = ("wine", "a+b@c.csv", "_-", "0")
ALWAYS = [
    "--parsable", "--no-requeue", "--ignore-pbs", "--propagate=NONE", "--open-mode=append", f"--job-name={JOB}",
    f"--comment={JOB}",
]  # fmt: skip
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@:-]{0,127}")
ALLOWED = {
    "memory": re.compile(r"[1-9][0-9]{0,8}[KMGT]?"),
    "time_limit": re.compile(r"([0-9]{1,3}-)?[0-9]{1,6}(:[0-5]?[0-9]){0,2}"),
}
COMMANDS = [text.replace("\r", "\n") for text in list_commands("/tmp/canary")]
HOSTILE = st.one_of(
    st.sampled_from([*COMMANDS, "-", "--", "-x", "=", "a b", "a\nb", "a=b", "cpu\n", "٣", "ⅷ", "", "a" * 129]),
    st.text(max_size=20),
    st.from_regex(KEY, fullmatch=True).map(lambda text: f"-{text}"),
)
PLAIN = st.characters(exclude_categories=("Cc", "Cs"))
TEXTS = st.one_of(st.text(PLAIN, max_size=30), st.sampled_from(["".join(filter(str.isprintable, c)) for c in COMMANDS]))
LINES = st.one_of(TEXTS, st.sampled_from(COMMANDS))
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True).map(lambda text: f"X{text}")
VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(-99, 99), LINES), st.lists)
NUMBERS = {
    "nodes": st.integers(1, 10_000),
    "cpus": st.integers(1, 100_000),
    "gpus": st.integers(0, 100_000),
}


def maybe_hostile(valid: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One of twenty is a text that no option may have."""
    return st.integers(0, 19).flatmap(lambda number: HOSTILE if number == 0 else valid)


KEYS = maybe_hostile(st.from_regex(KEY, fullmatch=True))
RESOURCES = st.fixed_dictionaries(
    {},
    optional=NUMBERS
    | {name: maybe_hostile(st.from_regex(pattern, fullmatch=True)) for name, pattern in ALLOWED.items()}
    | {"qos": KEYS, "constraint": KEYS},
)
INFRA = st.fixed_dictionaries({"instance_type": KEYS, "image_name": KEYS}, optional={"account": KEYS})
CONFIGS = st.fixed_dictionaries(
    {"runner_location": KEYS, "infra": INFRA, "script_path": st.just("folder/s.py")},
    optional={
        "dataset_name": st.sampled_from(DATASETS),
        "model_params": st.dictionaries(NAMES, VALUES, max_size=3),
        "env": st.dictionaries(NAMES, LINES, max_size=3),
        "experiment_name": TEXTS,
        "project_path": TEXTS,
        "tracking_uri": TEXTS,
        "model_tracking": st.booleans(),
        "params_as_args": st.booleans(),
        "arguments": st.sampled_from(["named", "positional", "none"]),
        "warn_before_end_s": st.integers(60, 65_535),
        "resources": RESOURCES,
        "rerun_limit": st.integers(0, 100),
    },
)


def is_allowed(drawn: Mapping[str, Any]) -> bool:
    """By this test's own list of what each option may have as its value."""
    resources = drawn.get("resources", {})
    keys = [drawn["runner_location"], *drawn["infra"].values()]
    keys += [resources[name] for name in ("qos", "constraint") if name in resources]
    shaped = [(ALLOWED[name], resources[name]) for name in ALLOWED if name in resources]
    return all(pattern.fullmatch(text) for pattern, text in [*((KEY, key) for key in keys), *shaped])


def list_options(drawn: Mapping[str, Any], folder: TaskFolder) -> list[str]:
    """What sbatch has to be given, from a table of this test's own."""
    infra, resources = drawn["infra"], drawn.get("resources", {})
    options = [*ALWAYS, f"--chdir={folder.path}", f"--output={folder.control}/slurm.01.out"]
    options += [f"--partition={infra['instance_type']}"]
    options += [f"--account={infra['account']}"] if "account" in infra else []
    asked = {"nodes": "nodes", "cpus": "cpus-per-task", "memory": "mem", "time_limit": "time", "qos": "qos",
             "constraint": "constraint"}  # fmt: skip
    options += [f"--{asked[name]}={value}" for name, value in resources.items() if name in asked]
    options += [f"--gres=gpu:{resources['gpus']}"] if resources.get("gpus") else []
    options += [f"--signal=B:USR1@{drawn['warn_before_end_s']}"] if "warn_before_end_s" in drawn else []
    return options


def list_arguments(site: AgentSettings, *, warns: bool) -> list[str]:
    """Of the wrapper: nothing of the task but its id, and whether its code wants a warning."""
    return [str(site.spool), TASK, "01", "1", str(int(warns)), "8", "56", "30.000", "180", "20.000", "5.000", "600"]


def plan(drawn: Mapping[str, Any], site: AgentSettings, folder: TaskFolder) -> Launch | None:
    """Read the config as the gateway and the agent do, and plan it. None: it was refused."""
    fields = {name: value for name, value in drawn.items() if name != "infra"}
    clusters = {drawn["runner_location"]: {"infra_config": drawn["infra"]}}
    try:
        config = parse_config(json.dumps({**fields, "clusters": clusters}).encode())
    except ConfigError:
        return None
    launch = plan_launch(config, folder, 1, site)
    assert isinstance(launch, Launch), launch
    return launch


def check(drawn: Mapping[str, Any], site: AgentSettings, folder: TaskFolder) -> Launch | None:
    image = site.spool.parent / "images" / "image.sif"
    launch = plan(drawn, site.model_copy(update={"images": {drawn["infra"]["image_name"]: image}}), folder)
    assert (launch is not None) == is_allowed(drawn)
    if launch is not None:
        argv = build_submit_argv(launch.request)
        at = argv.index(str(WRAPPER))
        check_options(argv[1:at], list_options(drawn, folder))
        assert argv[0] == "sbatch"
        assert argv[at + 1 :] == list_arguments(site, warns="warn_before_end_s" in drawn)
    return launch


def check_options(given_options: Sequence[str], expected: Sequence[str]) -> None:
    assert sorted(given_options) == sorted(expected)
    assert all(re.fullmatch(r"--[a-z-]+(=[^\x00-\x20\x7f]+)?", option) for option in given_options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> AgentSettings:
    root = tmp_path_factory.mktemp("site")
    made = make_settings(root)
    (root / "images" / "image.sif").touch()
    for name in DATASETS:
        (root / "datasets" / name).touch()
    return made


def folder_of(site: AgentSettings) -> TaskFolder:
    return Spool(site.spool).task(TASK)


@pytest.mark.timeout(7200)
def test_any_config_gives_the_options_of_the_table_and_no_other(site: AgentSettings) -> None:
    seen: Counter[bool] = Counter()

    @settings(max_examples=MAX_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(CONFIGS)
    def try_one(drawn: dict[str, Any]) -> None:
        seen[check(drawn, site, folder_of(site)) is not None] += 1

    try_one()
    assert seen[True] > MAX_EXAMPLES // 3
    assert seen[False] > MAX_EXAMPLES // 20
    assert WRAPPER.read_bytes() == CONSTANT


@pytest.mark.timeout(600)
def test_what_is_written_for_a_task_lies_beside_its_records_and_the_wrapper_stays(site: AgentSettings) -> None:
    folder, seen = folder_of(site), set[Path]()
    folder.control.mkdir(parents=True, exist_ok=True)

    @settings(max_examples=max(50, MAX_EXAMPLES // 100), deadline=None, database=None)
    @given(CONFIGS)
    def try_one(drawn: dict[str, Any]) -> None:
        if (launch := check(drawn, site, folder)) is not None:
            write_launch(launch, folder, 1, "f" * 32)
            seen.update(path for path in site.spool.rglob("*") if path.is_file())
            assert launch.request.script.read_bytes() == CONSTANT

    try_one()
    names = folder.attempt(1)
    assert seen == {names.argv, names.env, names.checks, folder.control / "params.01.json"}
