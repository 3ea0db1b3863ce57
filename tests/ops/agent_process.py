"""The agent as a person meets it: its commands as processes, on a site in a folder. No gateway answers there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.uplink.credential import Credential, write_credential
from mltm.contract.spool_layout import Spool
from mltm.runtime.clock import Clock
from tests.agent.spool.build import SpoolKit, send
from tests.e2e.house import BIN

CREDENTIAL = Credential(agent_id="a1", credential="secret", cluster="atena02", owner="ana", gateway_name="test")
NOBODY = "http://127.0.0.1:9"  # the port of `discard`: nobody listens there
# The folder of the spool is a small disk of its own, in a mount namespace that ends with the command.
DISK = 'mount -t tmpfs -o "$1" tmpfs "$2" && eval "$3" && shift 3 && exec "$@"'


@dataclass
class AgentSite:
    """A config file, a credential, a dataset; `lines` go before the config's tables, `tables` after."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    lines: str = ""
    tables: str = "[waits]\nfaulty_look_s = 0\n"

    def __post_init__(self) -> None:
        (self.folder / "datasets").mkdir()
        (self.folder / "datasets" / "wine_classification.csv").write_text("a\n1\n")
        write_credential(self.folder / "credential", CREDENTIAL, Clock())

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def write_config(self) -> Path:
        config = self.folder / "agent.toml"
        config.write_text(
            f'spool = "{self.spool}"\ncluster = "atena02"\ncredential_file = "{self.folder}/credential"\n'
            f'gateway_url = "{NOBODY}"\nruntime = "none"\ndatasets_dir = "{self.folder}/datasets"\n'
            f'images = {{ sklearn_sample_latest = "{sys.executable}" }}\n{self.lines}\n{self.tables}'
        )
        return config

    def argv(self, word: str) -> list[str]:
        return [str(BIN / "mltm-agent"), word, "--config", str(self.write_config())]

    def run(self, word: str, *, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; no traceback may be in what it says."""
        env = {**os.environ, **self.env, "COLUMNS": "200"}
        argv = [*before, *self.argv(word)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=50)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def run_on_disk(self, word: str, options: str, prepare: str = ":") -> subprocess.CompletedProcess[str]:
        """Run one command whose spool is a new tmpfs with these mount options, after a line of shell in it."""
        self.spool.mkdir(exist_ok=True)
        unshare = (str(shutil.which("unshare")), "--user", "--map-root-user", "--mount", "sh", "-c", DISK, "sh")
        return self.run(word, before=(*unshare, options, str(self.spool), f'cd "$2"; {prepare}; cd /'))

    def bind(self) -> None:
        """Bind the spool to the credential's gateway, as the enrolment does."""
        place = Spool(self.spool).gateway_name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_text(f"{CREDENTIAL.gateway_name}\n")

    def send(self, **how: bytes) -> str:
        """Publish a task as the gateway does; return its id."""
        self.bind()
        return send(SpoolKit(self.spool), **how).name  # type: ignore[arg-type] # bytes are what it takes
