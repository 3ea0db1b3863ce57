"""`python -m lab.demo [run|up|down]`. DEMO_SLURM=lab|site|standin chooses the Slurm, never a site's unasked.

DEMO_DIR and DEMO_PORT let two demos live side by side.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from lab.demo.parts import build_image, command, run_product, start_agent, start_gateway, start_slurm, write_env
from lab.demo.place import Place, end_process, read_place
from lab.errors import LabError

_KINDS = ("lab", "site", "standin")


def bring_up(place: Place) -> dict[str, str]:
    """Start whatever does not run; return the environment for the product's commands."""
    kind = os.environ.get("DEMO_SLURM", "lab")
    if kind not in _KINDS:
        raise LabError(f"DEMO_SLURM is {kind!r}; choose one of {', '.join(_KINDS)}.")
    place.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    slurm = start_slurm(place, kind)
    build_image(place)
    known = start_gateway(place)
    start_agent(place, slurm)
    return write_env(place, known, slurm)


def run_task(place: Place, env: dict[str, str]) -> int:
    """Submit the wine classification, follow it, and say what came of it; return the command's exit code."""
    wine = place.checkout / "examples" / "wine"
    print(f"demo: submitting {wine / 'config.json'} to {place.url}", flush=True)
    mltm = command("mltm")
    environment = {**os.environ, **env}
    done = subprocess.run(
        [mltm, "submit", str(wine / "config.json"), str(wine / "script.py"), "--wait"], env=environment, check=False
    )
    newest = json.loads(_ask([mltm, "list", "--json"], environment))["tasks"][0]
    task = json.loads(_ask([mltm, "status", newest["task_id"], "--json"], environment))
    print_result(place, task)
    return done.returncode


def _ask(argv: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(done.stderr.strip())
    return done.stdout


def print_result(place: Place, task: dict[str, object]) -> None:
    """Print a task's state, its history, the model's accuracy, and where its files are."""
    task_id = str(task["task_id"])
    folder = place.spool / "tasks" / task_id
    print(f"\nTask {task_id}: {task['state']} {task.get('reason') or ''}".rstrip())
    history = task.get("history")
    for event in history if isinstance(history, list) else []:
        print(f"  {event['at']}  {event['state']:<11} {event.get('message') or ''}".rstrip())
    metrics = folder / "outputs" / "metrics.json"
    if metrics.exists():
        print(f"\nThe model's accuracy: {json.loads(metrics.read_text())['accuracy']:.3f}")
    print(f"""
Log:      {folder / "logs"}
Outputs:  {folder / "outputs"}

The service goes on running at {place.url}/docs. To try next:
  source {place.shown_env:<25} # MLTM_URL, MLTM_TOKEN, PATH, … of this demo
  mltm list                        # your tasks
  mltm log -f {task_id}
  mltm get {task_id} -o results
  mltm submit examples/wine/config.json examples/wine/script.py --wait
  make demo-down                   # stops everything""")


def take_down(place: Place) -> None:
    """Stop the agent, the gateway and the lab's Slurm; data stays."""
    for part in ("agent", "gateway"):
        if end_process(place, part):
            print(f"demo: the {part} is stopped")
    for folder, mark, word in ((place.lab, "lab.json", "down"), (place.standin, "runner", "standin-down")):
        if (folder / mark).exists():
            run_product([sys.executable, "-m", "lab", word, "--dir", str(folder)])
            print("demo: Slurm is down")


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    word = argv[0] if argv else "run"
    try:
        place = read_place(Path(__file__).resolve().parents[2], os.environ)
        if word == "down":
            take_down(place)
            return 0
        env = bring_up(place)
        if word == "up":
            print(f"demo: up at {place.url}/docs; `source {place.shown_env}` to use it")
            return 0
        return run_task(place, env)
    except (LabError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; `make demo-down` stops what was started", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
