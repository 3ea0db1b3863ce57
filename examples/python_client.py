"""A task from Python: hand it in, watch it, read its log, fetch its outputs.

python examples/python_client.py examples/wine/config.json examples/wine/script.py results
Who and where: `mltm login` before, or MLTM_URL and MLTM_TOKEN.
"""

import sys
from pathlib import Path

from mltm.contract.parse_config import ConfigError
from mltm.contract.states import State
from mltm.contract.user_api import TaskAnswer
from mltm.notebook import connect
from mltm.wire.errors import MltmError


def show(task: TaskAnswer) -> None:
    """Print where the task stands; called at every change."""
    print(f"{task.updated_at.astimezone():%H:%M:%S} {task.state} {task.reason}".rstrip())


def run_task(config: str, script: str, folder: Path) -> bool:
    """Run one task to its end; True where it succeeded."""
    with connect() as client:
        submitted = client.submit(config, script)  # a dict does as well as a path; files=[…] sends more
        print(f"task {submitted.task_id}")
        task = client.wait(submitted.task_id, on_change=show)
        for chunk in client.follow_log(task.task_id):
            print(chunk.data.decode(errors="replace"), end="")
        for file in client.outputs(task.task_id).files:
            size = client.download(task.task_id, file.path, folder / file.path)
            print(f"{folder / file.path}: {size} bytes")
    return task.state is State.SUCCEEDED


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"Usage: {sys.argv[0]} CONFIG SCRIPT FOLDER")
    try:
        sys.exit(0 if run_task(sys.argv[1], sys.argv[2], Path(sys.argv[3])) else 1)
    except (MltmError, ConfigError, OSError) as error:  # it says what is wrong and what to do
        sys.exit(str(error))
