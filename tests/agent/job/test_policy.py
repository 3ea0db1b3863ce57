"""What a site allows, what its instance types mean, and what its catalogue holds: refusals in words."""

from pathlib import Path

import pytest

from agent.job.launch import Refusal, plan_launch
from agent.job.policy import parse_time_limit_min, plan_request
from mltm.contract.base_models import JsonObject
from tests.agent.job.planning import BARE, INFRA, SEED, folder_of, make_config, make_settings, plan

SECTION = "clusters.atena02.infra_config"


def _refuse(config: JsonObject, root: Path, **settings: object) -> Refusal:
    made = make_settings(root, **settings)
    refusal = plan_launch(make_config(config), folder_of(made), 1, made)
    assert isinstance(refusal, Refusal)
    assert not list(made.spool.iterdir()), "planning writes nothing"
    return refusal


POLICIES: list[tuple[JsonObject, JsonObject, str, list[str]]] = [
    ({"accounts": ["a", "b"]}, {}, f"{SECTION}.account", ["'twinscie'", "Allowed: a, b."]),
    ({"partitions": ["gpu"]}, {}, f"{SECTION}.instance_type", ["'cpu'", "gpu"]),
    ({"images": []}, {}, f"{SECTION}.image_name", ["'sklearn_sample_latest'", "none"]),
    ({"datasets": ["iris"]}, {}, "dataset_name", ["'wine_classification'", "iris"]),
    ({"qos": ["normal"]}, {"qos": "high"}, "resources.qos", ["'high'", "normal"]),
    ({"max_nodes": 1}, {"nodes": 2}, "resources.nodes", ["is 2", "at most 1"]),
    ({"max_cpus": 4}, {"cpus": 5}, "resources.cpus", ["is 5", "at most 4"]),
    ({"max_gpus": 0}, {"gpus": 1}, "resources.gpus", ["is 1", "at most 0"]),
    ({"max_time_limit_min": 60}, {"time_limit": "1:00:01"}, "resources.time_limit", ["at most 60 minutes"]),
    ({"max_time_limit_min": 60}, {"time_limit": "0"}, "resources.time_limit", ["at most 60 minutes"]),
    ({"max_time_limit_min": 60}, {}, "resources.time_limit", ["Set a time_limit"]),
]


@pytest.mark.parametrize(("policy", "resources", "field", "message"), POLICIES)
def test_what_the_policy_forbids_is_refused_for_good(
    tmp_path: Path, policy: JsonObject, resources: JsonObject, field: str, message: list[str]
) -> None:
    refusal = _refuse({**SEED, "resources": resources}, tmp_path, policy=policy)

    assert (refusal.field, refusal.permanent) == (field, True)
    assert all(word in refusal.message for word in message), refusal.message


def test_a_task_without_an_account_is_refused_where_accounts_are_listed(tmp_path: Path) -> None:
    infra = {name: value for name, value in INFRA.items() if name != "account"}
    config: JsonObject = {**SEED, "clusters": {"atena02": {"infra_config": infra}}}

    assert "without account" in _refuse(config, tmp_path, policy={"accounts": ["a"]}).message


def test_a_task_without_dataset_and_qos_passes_lists_of_them(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, policy={"datasets": ["iris"], "qos": ["normal"]})

    plan(make_config(BARE), settings)


def test_an_instance_type_means_what_the_site_says_and_the_task_goes_first(tmp_path: Path) -> None:
    site = {"partition": "p1", "cpus": 8, "gpus": 2, "memory": "8G", "time_limit": "60", "qos": "q"}
    settings = make_settings(tmp_path, instance_types={"cpu": site})

    wanted = plan_request(make_config(SEED, resources={"cpus": 2, "gpus": 0, "nodes": 3}), settings)

    assert (wanted.partition, wanted.cpus, wanted.gpus, wanted.nodes) == ("p1", 2, 0, 3)
    assert (wanted.memory, wanted.time_limit, wanted.qos, wanted.constraint) == ("8G", "60", "q", None)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("5", 5), ("1:30", 1.5), ("1:00:30", 60.5), ("2-3", 3060), ("1-02:03", 1563), ("1-0:0:30", 1440.5),
        ("0", float("inf")), ("0:0:0", float("inf")), ("UNLIMITED", None), (None, None), ("1:2:3:4", None),
    ],
)  # fmt: skip
def test_slurms_notations_of_time(text: str | None, minutes: float | None) -> None:
    assert parse_time_limit_min(text) == minutes


def test_a_missing_dataset_names_the_folder_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / ".hidden").touch()
    refusal = _refuse({**SEED, "dataset_name": "iris"}, tmp_path)

    assert (refusal.field, refusal.permanent) == ("dataset_name", True)
    assert f"{tmp_path / 'datasets'} has neither iris nor iris.csv. It has: wine_classification.csv." in refusal.message


def test_a_dataset_may_be_a_folder(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    (tmp_path / "datasets" / "wine_classification").mkdir()

    assert tmp_path / "datasets" / "wine_classification" in plan(make_config(SEED), settings).checks


def test_many_datasets_are_not_all_listed(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    for number in range(30):
        (tmp_path / "datasets" / f"a{number:02d}").touch()

    assert "a19 and 11 more." in _refuse({**SEED, "dataset_name": "iris"}, tmp_path).message


def test_a_folder_that_is_away_is_no_evidence_that_a_dataset_is_missing(tmp_path: Path) -> None:
    refusal = _refuse(SEED, tmp_path, datasets_dir=tmp_path / "away")

    assert not refusal.permanent
    assert "the folder is missing" in refusal.message


def test_without_a_folder_of_datasets_there_is_no_dataset(tmp_path: Path) -> None:
    refusal = _refuse(SEED, tmp_path, datasets_dir=None)

    assert (refusal.field, refusal.permanent) == ("dataset_name", True)
    assert "datasets_dir" in refusal.message


def test_a_missing_image_names_the_folder_and_what_is_there(tmp_path: Path) -> None:
    infra = {**INFRA, "image_name": "torch"}
    refusal = _refuse({**SEED, "clusters": {"atena02": {"infra_config": infra}}}, tmp_path)

    assert (refusal.field, refusal.permanent) == (f"{SECTION}.image_name", True)
    assert f"{tmp_path / 'images'} has no torch.sif. It has: sklearn_sample_latest." in refusal.message


def test_an_image_of_the_catalogue_that_is_not_there_is_refused(tmp_path: Path) -> None:
    images = {"sklearn_sample_latest": tmp_path / "gone.sif"}

    refusal = _refuse(SEED, tmp_path, images=images)

    assert str(tmp_path / "gone.sif") in refusal.message
    assert refusal.field == f"{SECTION}.image_name"


def test_runtime_none_knows_only_the_catalogue(tmp_path: Path) -> None:
    refusal = _refuse(SEED, tmp_path, runtime="none", images={"py": "/usr/bin/python3"})

    assert refusal.permanent
    assert "Known images: py." in refusal.message


def test_an_image_of_the_catalogue_goes_before_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.sif").touch()
    settings = make_settings(tmp_path, images={"sklearn_sample_latest": tmp_path / "mine.sif"})

    assert tmp_path / "mine.sif" in plan(make_config(SEED), settings).checks


def test_a_spool_that_cannot_be_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()

    assert "cannot be bound" in _refuse(SEED, tmp_path / "a:b").message
