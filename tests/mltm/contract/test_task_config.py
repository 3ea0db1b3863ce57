import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltm.contract.parse_config import MAX_CONFIG_BYTES, ConfigError, parse_config
from mltm.contract.states import State
from mltm.contract.task_config import TaskConfig

SEED = {
    "dataset_name": "wine_classification",
    "model_params": {"n_estimators": 2, "random_state": 42},
    "runner_location": "atena02",
    "model_tracking": True,
    "tracking_uri": "experiments",
    "experiment_name": "atena_test",
    "script_path": "path/to/script.py",
    "clusters": {
        "atena02": {
            "infra_config": {"instance_type": "cpu", "image_name": "sklearn_sample_latest", "account": "twinscie"}
        }
    },
}
LATER = {
    "dataset_name": "wine",
    "model_params": {},
    "runner_location": "atena02",
    "execution_mode": "mlflow",
    "experiment_name": "exp",
    "project_path": "/project/here",
    "script_name": "train.py",
    "clusters": {
        "atena02": SEED["clusters"]["atena02"],  # type: ignore[index] # a literal above
        "aws": {"infra_config": {"role": "r", "bucket_name": "b"}, "anything": [1, 2.5, None]},
    },
    "backend_execution": {
        "mlflow": {"execution_config": {"execution_mode": "remote", "tracking_uri": "http://tracking:5000"}}
    },
}


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


def problems(raw: bytes) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    return {problem.field: str(problem) for problem in caught.value.fields}


@pytest.mark.parametrize("value", [SEED, LATER])
def test_shapes_of_today_are_taken_and_written_back_the_same(value: dict[str, object]) -> None:
    assert parse_config(encode(value)).to_json() == value


def test_both_shapes_say_where_to_track() -> None:
    seed, later = parse_config(encode(SEED)), parse_config(encode(LATER))

    assert (seed.uses_mlflow, seed.effective_tracking_uri, seed.script) == (True, "experiments", "script.py")
    assert (later.uses_mlflow, later.effective_tracking_uri) == (True, "http://tracking:5000")


KEYS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+@:-]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PARAMS = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True), JSON, max_size=4)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, object]:
    cluster = draw(KEYS)
    infra = {"instance_type": draw(KEYS), "image_name": draw(KEYS)}
    optional = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "dataset_name": KEYS,
                "model_params": PARAMS,
                "experiment_name": TEXT,
                "model_tracking": st.booleans(),
                "tracking_uri": TEXT,
                "execution_mode": st.sampled_from(["mlflow", "no-mlflow"]),
                "arguments": st.sampled_from(["named", "positional", "none"]),
                "params_as_args": st.booleans(),
                "rerun_on": st.lists(st.sampled_from(["node_fail", "preempted", "lost", 1, 85, 255]), max_size=2),
                "resources": st.fixed_dictionaries(
                    {}, optional={"cpus": st.integers(1, 9), "memory": st.sampled_from(["4G", "100M"]), "qos": KEYS}
                ),
            },
        )
    )
    others = {name: {"x": draw(JSON)} for name in draw(st.lists(KEYS, max_size=2)) if name != cluster}
    return {
        "runner_location": cluster,
        "script_path": "a/b.py",
        "clusters": {cluster: {"infra_config": infra}, **others},
        **optional,
    }


@settings(max_examples=200, deadline=None)
@given(configs())
def test_what_is_accepted_is_written_back_the_same(value: dict[str, object]) -> None:
    config = parse_config(encode(value))

    assert config.to_json() == value
    assert TaskConfig.model_validate(config.to_json()) == config


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | JSON.map(encode))
def test_nothing_but_a_config_error_comes_of_any_bytes(raw: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_config(raw)


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (b"", "config", "empty"),
        (b"{", "config", "line 1"),
        (b"[]", "config", "JSON object"),
        (b"\xff\xfe", "config", "UTF-8"),
        (b'{"a": 1, "a": 2}', "a", "twice"),
        (b"{" + b" " * MAX_CONFIG_BYTES + b"}", "config", "1,048,576"),
        (b'{"x": [' + b"[]," * 60_000 + b"1]}", "config", "100,000 commas and brackets"),
        (b"{" + b"".join(b'"%d":1,' % n for n in range(50_000)) + b'"49999":1}', "49999", "duplicate name"),
        (encode(SEED).replace(b"42", b"NaN"), "config", "NaN"),
        (encode(SEED).replace(b"42", b"1e999"), "model_params", "finite"),
        (encode(SEED).replace(b"42", b"9" * 30), "model_params", "64 bits"),
        (encode(SEED).replace(b"42", b"9" * 5000), "config", "64 bits"),
        (encode({**SEED, "datset_name": "x"}), "datset_name", "Did you mean dataset_name?"),
        (encode({**SEED, "runner_location": "elsewhere"}), "clusters", "elsewhere"),
        (encode({**SEED, "experiment_name": "a\nb"}), "experiment_name", "control characters"),
        (encode({**SEED, "dataset_name": "../../etc/passwd"}), "dataset_name", "letters, digits"),
        (encode({**SEED, "script_path": "../x.py"}), "script_path", ".."),
        (encode({**SEED, "script_path": "--option"}), "script_path", "hyphen"),
        (encode({**SEED, "env": {"LD_PRELOAD": "x"}}), "env", "LD_PRELOAD"),
        (encode({**SEED, "resources": {"cpu": 1}}), "resources.cpu", "Did you mean cpus?"),
        (encode({**SEED, "resources": {"time_limit": "2h"}}), "resources.time_limit", "30 (minutes), 2:00:00 (hours)"),
        (encode({**SEED, "resources": {"time_limit": "\u0663\u0660"}}), "resources.time_limit", "1-12:00:00"),
        (encode({**SEED, "resources": {"time_limit": "1:2:3:4"}}), "resources.time_limit", "as Slurm writes it"),
        (encode({**SEED, "resources": {"time_limit": 30}}), "resources.time_limit", "string"),
        (encode({**SEED, "resources": {"memory": "4 GB"}}), "resources.memory", "as in 512M or 4G"),
        (encode({**SEED, "sweep": {}}), "sweep", "not available"),
        (encode({k: v for k, v in SEED.items() if k != "clusters"}), "clusters", "missing"),
        (encode({k: v for k, v in SEED.items() if k != "script_path"}), "script_path", "missing"),
    ],
)
def test_a_wrong_config_names_the_field_and_the_way_out(raw: bytes, field: str, message: str) -> None:
    found = problems(raw)

    assert field in found
    assert message in found[field]


@pytest.mark.parametrize("time_limit", ["30", "1440", "10:30", "2:00:00", "1-12", "1-12:30", "1-12:00:00"])
def test_a_time_limit_is_written_as_slurm_writes_it(time_limit: str) -> None:
    config = parse_config(encode({**SEED, "resources": {"time_limit": time_limit, "memory": "4G"}}))

    assert config.resources is not None
    assert (config.resources.time_limit, config.resources.memory) == (time_limit, "4G")


@pytest.mark.parametrize("name", ["account", "image_name", "instance_type"])
@pytest.mark.parametrize("value", ["--uid=0", "a/b", "a b", "a\nb", "", ".hidden", "a;b", "$(x)", "ä" * 3, "x" * 129])
def test_names_can_be_neither_paths_nor_options(name: str, value: str) -> None:
    infra = {"instance_type": "cpu", "image_name": "image", "account": "account", name: value}
    config = {**SEED, "clusters": {"atena02": {"infra_config": infra}}}

    assert f"clusters.atena02.infra_config.{name}" in problems(encode(config))


def test_words_about_a_config_are_short_and_printable_whatever_it_holds() -> None:
    names = {"\x1b[2J": 1, "x" * 5000: 1, **{f"k{number}": 1 for number in range(1000)}}
    with pytest.raises(ConfigError) as caught:
        parse_config(json.dumps({**SEED, **names}).encode())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("given", ["failed", "succeeded", "Timeout", "85", 0, 256, -1, 1.5, True, None, [], 2**70])
def test_an_end_that_no_rerun_can_follow_is_refused_in_words(given: object) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(json.dumps({**SEED, "rerun_on": ["timeout", given]}).encode())

    words = "node_fail, preempted, timeout, lost, out_of_memory, or an exit code of the script (1 to 255) is allowed"
    assert str(refused.value) == f"rerun_on.1: {words} (given: {given!r})."


def test_ends_of_a_rerun_are_states_and_exit_codes() -> None:
    found = parse_config(json.dumps({**SEED, "rerun_on": ["timeout", 85, 3.0]}).encode())
    assert found.rerun_on == [State.TIMEOUT, 85, 3]
    assert TaskConfig.model_validate_json(found.model_dump_json(exclude_unset=True)) == found
