"""The predecessor's requests, as its users send them; only the address is new.

MLTM_USER=ada MLTM_PASSWORD=… python examples/predecessor_client.py examples/wine/config.json examples/wine/script.py
"""

import os
import sys
import time
from pathlib import Path

import requests

URL = os.environ.get("MLTM_URL", "http://127.0.0.1:8008")
TIMEOUT_S = 10


def log_in(username: str, password: str) -> dict[str, str]:
    """Log in by OAuth2's password form; return the header that every other request carries."""
    form = {"grant_type": "password", "username": username, "password": password}
    answer = requests.post(f"{URL}/auth/login", data=form, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def submit(headers: dict[str, str], config: Path, script: Path) -> dict[str, object]:
    """Hand in a task: one form with two parts, both called `files`."""
    with config.open("rb") as first, script.open("rb") as second:
        files = [("files", (config.name, first)), ("files", (script.name, second))]
        answer = requests.post(f"{URL}/new_task", headers=headers, files=files, timeout=TIMEOUT_S)
    if answer.status_code == 422:
        sys.exit(answer.text)  # it names each wrong field
    answer.raise_for_status()
    task: dict[str, object] = answer.json()
    return task


def read(headers: dict[str, str], path: str) -> object:
    """Read an address, with or without a slash at its end."""
    answer = requests.get(f"{URL}{path}", headers=headers, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer.json()


def run_task(config: Path, script: Path) -> bool:
    """Run one task to its end; True where the job completed."""
    headers = log_in(os.environ["MLTM_USER"], os.environ["MLTM_PASSWORD"])
    task = submit(headers, config, script)
    print(f"task {task['id']}, job {task['job_id']}")
    rows = read(headers, "/tasks/")
    print(f"{len(rows) if isinstance(rows, list) else 0} tasks in /tasks/")
    print(read(headers, f"/task/{task['id']}"))
    return follow(headers, str(task["job_id"])).startswith("COMPLETED")


def follow(headers: dict[str, str], job_id: str) -> str:
    """Print how the job stands at every change, and return its last words."""
    shown = ""
    while not shown.startswith(("COMPLETED", "FAILED")):
        answer = read(headers, f"/job_status/{job_id}")
        status = answer["job_status"] if isinstance(answer, dict) else ""
        if status != shown:
            shown = status
            print(f"{time.strftime('%H:%M:%S')} {shown}")
        time.sleep(2)
    return shown


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"Usage: {sys.argv[0]} CONFIG SCRIPT")
    sys.exit(0 if run_task(Path(sys.argv[1]), Path(sys.argv[2])) else 1)
