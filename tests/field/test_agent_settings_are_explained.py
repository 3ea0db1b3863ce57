"""Fault 3b.5: an unknown setting of the agent was answered in pydantic's words ("Extra inputs are not permitted").

An operator who mistyped a setting expects its place in the file, what is right there, and the name that he meant. The
gateway's file is answered the same.
"""

from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.settings import read_settings
from gateway.errors import InvalidError
from gateway.settings import read_settings as read_gateway_settings

LEAST = 'spool = "/spool"\ncluster = "atena02"\ncredential_file = "/credential"\n'
ALIEN = ("Extra inputs", "Input should", "Field required", "valid dictionary", "instance of")
AGENT = {
    "3b.5: a mistyped name": ("spol = 1\n", "spol: no such setting. Did you mean spool?"),
    "3b.5: the gateway's setting": ("port = 1\n", "port: no such setting."),
    "3b.5: mistyped in a section": ("[waits]\nrescan = 1\n", "waits.rescan: no such setting. Did you mean rescan_s?"),
    "3b.5: mistyped two sections down": (
        "[slurm.sbatch_bucket]\nburst = 1\nper_secnd = 1\n",
        "slurm.sbatch_bucket.per_secnd: no such setting. Did you mean per_second?",
    ),
    "3b.5: below a name of the site's own": (
        '[instance_types.big]\npartition = "p"\nmemry = "1G"\n',
        "instance_types.big.memry: no such setting. Did you mean memory?",
    ),
    "3b.5: a section that is none": ("[wait]\nrescan_s = 1\n", "wait: no such setting. Did you mean waits?"),
    "3b.5: a number in quotes": (
        'log_head_bytes = "many"\n',
        "log_head_bytes: a whole number is needed, without quotes (given: 'many').",
    ),
    "3b.5: text without quotes": (
        "runtime = 1\n",
        "runtime: 'apptainer', 'singularity' or 'none' is needed (given: 1).",
    ),
    "3b.5: a word for true": (
        'drops = "perhaps"\n',
        "drops: true or false is needed, without quotes (given: 'perhaps').",
    ),
    "3b.5: a list that is text": ('binds = "/a"\n', "binds: a list is needed"),
    "3b.5: a section that is a number": ("waits = 3\n", "waits: a section is needed"),
    "3b.5: a path that is a number": ("images_dir = 3\n", "images_dir: a path in quotes is needed"),
    "3b.5: a number that is too small": (
        "[waits]\nrescan_s = -1\n",
        "waits.rescan_s: greater than or equal to 0 is needed (given: -1).",
    ),
}
MISSING = {
    "3b.5: no spool": ('cluster = "a"\ncredential_file = "/c"\n', "spool: this setting is needed, but it is missing."),
    "3b.5: an empty file": ("", "cluster: this setting is needed, but it is missing."),
    "3b.5: half an instance type": (
        LEAST + "[instance_types.big]\n",
        "instance_types.big.partition: this setting is needed",
    ),
}


@pytest.mark.parametrize(("text", "message"), AGENT.values(), ids=AGENT)
def test_the_agents_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    check(tmp_path, LEAST + text, message)


@pytest.mark.parametrize(("text", "message"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_named(tmp_path: Path, text: str, message: str) -> None:
    check(tmp_path, text, message)


def check(folder: Path, text: str, message: str) -> None:
    path = folder / "agent.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as told:
        read_settings(path)
    assert f"The config file {path} is not valid: " in str(told.value)
    assert message in str(told.value)
    assert str(told.value).endswith("docs/agent.md explains every field.")
    assert not any(words in str(told.value) for words in ALIEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 8008\n", "prot: no such setting. Did you mean port?"),
        ('port = "web"\n', "port: a whole number is needed, without quotes (given: 'web')."),
        ("port = 99999\n", "port: less than or equal to 65535 is needed (given: 99999)."),
        ("data_dir = 1\n", "data_dir: a path in quotes is needed"),
        ('clusters = "a"\n', "clusters: a list is needed"),
        ("allow_plain_http = 7\n", "allow_plain_http: true or false is needed"),
    ],
)
def test_the_gateways_file_is_explained_the_same(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(InvalidError) as told:
        read_gateway_settings(path, {})
    assert message in str(told.value)
    assert not any(words in str(told.value) for words in ALIEN)
