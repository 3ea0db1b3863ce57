"""The parts of the demo: Slurm, the image, gateway, agent. Each can be started again, and does nothing if it runs."""

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from lab.demo.place import Place, end_process, find_process
from lab.errors import LabError
from lab.processes import Process, is_running, record_pid, spawn_daemon
from lab.slurm.layout import ACCOUNT

__all__ = [
    "build_image",
    "command",
    "run_product",
    "start_agent",
    "start_gateway",
    "start_slurm",
    "write_env",
]

_USER = "admin"
_CLUSTER = "atena02"


def command(name: str) -> str:
    """The path of one of the project's commands, beside the running Python."""
    return str(Path(sys.executable).parent / name)


def run_product(argv: Sequence[str], *, stdin: str = "") -> str:
    """Run one of the project's commands; return what it printed. Raises LabError with its message."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"`{' '.join([Path(argv[0]).name, *argv[1:]])}` failed with {done.returncode}: {said}")
    return done.stdout


def start_slurm(place: Place, kind: str) -> dict[str, str]:
    """Start the Slurm that was chosen; return what its users' environment needs."""
    if kind == "site":
        if shutil.which("sbatch") is None:
            raise LabError(
                "DEMO_SLURM=site, but there is no sbatch in PATH. Leave DEMO_SLURM out to use a lab of its own."
            )
        return {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    words = ["standin-up", "--dir", str(place.standin)] if kind == "standin" else ["up", "--dir", str(place.lab)]
    lab = subprocess.run(  # what it says, it says to the person: installing packages takes a while
        [sys.executable, "-m", "lab", *words], cwd=place.checkout, stdout=subprocess.PIPE, text=True, check=False
    )
    if lab.returncode != 0:
        raise LabError("Slurm did not start; the lines above say why. Without Slurm: DEMO_SLURM=standin make demo.")
    exported = (line.removeprefix("export ").partition("=") for line in lab.stdout.splitlines())
    return {name: shlex.split(value)[0].removesuffix(":$PATH") for name, _, value in exported}


def build_image(place: Place) -> None:
    """Make the environment that the site's catalogue maps `sklearn_sample_latest` to, and the dataset."""
    python = place.image / "bin" / "python"
    ready = place.image / ".ready"
    wine = place.checkout / "examples" / "wine"
    if not ready.exists():
        print("demo: installing scikit-learn for the task's image …", flush=True)
        uv = command("uv")
        run_product([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place.image)])
        lock = str(wine / "requirements.lock")
        run_product([uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", lock])
        ready.touch()
    dataset = place.datasets / "wine_classification.csv"
    if not dataset.exists():
        place.datasets.mkdir(parents=True, exist_ok=True)
        run_product([str(python), str(wine / "make_dataset.py"), str(dataset)])


def start_gateway(place: Place) -> dict[str, str]:
    """Start the gateway if it does not run; return the admin's name, password and token."""
    data = place.root / "gateway"
    data.mkdir(parents=True, exist_ok=True)
    config = f'host = "127.0.0.1"\nport = {place.port}\ndata_dir = "{data}"\nname = "demo"\n'
    place.config("gateway").write_text(config)
    options = ["--config", str(place.config("gateway"))]
    gateway = command("mltm-gateway")
    run_product([gateway, "migrate", *options])
    known = _read_or_make_admin(place, gateway, options)
    if not find_process(place, "gateway"):
        _check_port_is_free(place)
        started = _start(place, "gateway", [gateway, "serve", *options])
        _wait_for_gateway(place, started)
    return known


def _read_or_make_admin(place: Place, gateway: str, options: list[str]) -> dict[str, str]:
    if place.secrets.exists():
        kept: dict[str, str] = json.loads(place.secrets.read_text())
        return kept
    password = secrets.token_urlsafe(12)
    run_product([gateway, "user", "add", _USER, "--role", "admin", "--password-stdin", *options], stdin=password + "\n")
    made = json.loads(run_product([gateway, "token", "create", _USER, "--name", "demo", "--json", *options]))
    known = {"user": _USER, "password": password, "token": made["token"]}
    place.secrets.touch(mode=0o600)
    place.secrets.write_text(json.dumps(known))
    return known


def start_agent(place: Place, slurm: dict[str, str]) -> None:
    """Enrol the agent for the demo's one user if it is not enrolled, and start it if it does not run."""
    config, text = place.config("agent"), _render_agent_config(place, slurm)
    if not config.exists() or config.read_text() != text:
        end_process(place, "agent")  # it was started for another Slurm or gateway
        config.write_text(text)
    options = ["--config", str(config)]
    agent = command("mltm-agent")
    if not place.credential.exists():
        gateway = [command("mltm-gateway"), "agent", "code", "--config", str(place.config("gateway")), "--json"]
        asked = [*gateway, "--cluster", _CLUSTER, "--owner", _USER, "--spool", str(place.spool)]
        code = json.loads(run_product(asked))["code"]
        run_product([agent, "enroll", *options, "--gateway", place.url, "--code-stdin"], stdin=code + "\n")
    if not find_process(place, "agent"):
        _start(place, "agent", [agent, "run", *options])


def _is_enrolled_for_all(place: Place) -> bool:
    """As the demo of an earlier version was; the gateway gives its spool to no agent of one user."""
    return place.credential.exists() and not json.loads(place.credential.read_text()).get("owner")


def _render_agent_config(place: Place, slurm: dict[str, str]) -> str:
    lines = [
        f'spool = "{place.spool}"',
        f'cluster = "{_CLUSTER}"',
        f'gateway_url = "{place.url}"',
        f'credential_file = "{place.credential}"',
        'runtime = "none"',
        f"shared_without_container = {str(_is_enrolled_for_all(place)).lower()}",
        f'datasets_dir = "{place.datasets}"',
        "",
        "[images]",
        f'sklearn_sample_latest = "{place.image / "bin" / "python"}"',
        "",
        "[policy]",
        f'accounts = ["{ACCOUNT}"]',
        "",
        "[slurm]",
        "poll_interval_s = 10",
    ]
    if "SLURM_CONF" in slurm:
        lines.append(f'conf = "{slurm["SLURM_CONF"]}"')
    if "PATH" in slurm:
        lines.append(f'path = "{slurm["PATH"]}"')
    return "\n".join(lines) + "\n"


def _start(place: Place, part: str, argv: list[str]) -> Process:
    started = spawn_daemon(argv, env=os.environ, log=place.log(part), folder=place.checkout)
    record_pid(place.root, part, started)
    place.pid_file(part).write_text(f"{started.pid}\n", encoding="ascii")
    return started


def _check_port_is_free(place: Place) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", place.port))
        except OSError as error:
            raise LabError(
                f"Port {place.port} cannot be used ({error.strerror}). Choose another: DEMO_PORT=8009 make demo. "
                "If another demo uses it, run `make demo-down` in that demo's checkout."
            ) from error


def _wait_for_gateway(place: Place, started: Process) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and is_running(started):
        try:
            with urllib.request.urlopen(f"{place.url}/healthz", timeout=2):  # noqa: S310 - our own loopback address
                return
        except OSError:
            time.sleep(0.1)
    tail = "\n".join(place.log("gateway").read_text(errors="replace").splitlines()[-5:])
    raise LabError(f"The gateway did not come up. The end of {place.log('gateway')}:\n{tail}")


def write_env(place: Place, known: dict[str, str], slurm: dict[str, str]) -> dict[str, str]:
    """Write the shell file that lets a person (and a program) use the running demo; return its values."""
    path = str(Path(sys.executable).parent)
    values = {
        "MLTM_URL": place.url,
        "MLTM_TOKEN": known["token"],
        "MLTM_USER": known["user"],
        "MLTM_PASSWORD": known["password"],
        "MLTM_SPOOL": str(place.spool),
        "SLURM_CONF": slurm.get("SLURM_CONF", ""),
        "MLTM_HINT": "This is the demo: `make demo-up` starts it if it does not run.",
    }
    lines = [f"export {name}='{value}'" for name, value in values.items()]
    before = ":".join(part for part in (path, slurm.get("PATH", "")) if part)
    place.env.touch(mode=0o600)
    place.env.write_text("\n".join([*lines, f"export PATH='{before}':\"$PATH\""]) + "\n")
    return values
