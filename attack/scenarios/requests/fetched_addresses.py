"""Addresses in every text of a task and in headers: the gateway calls none of them, whatever they look like."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from attack.guards import replace
from attack.product.house import House, build_config, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_HOSTS = (
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "0", "127.0.0.2",
    "a:b@127.0.0.1", "127.0.0.1%23@127.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.1#@example.org",
    "127\u30020\u30020\u30021",
)  # fmt: skip
_SCHEMES = ("http", "https", "ftp", "gopher", "mlflow-artifacts", "HTTP")
_HEADERS = ("Host", "X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "Referer", "Origin", "X-Original-URL", "Via")


def run(trial: Trial) -> None:
    """Name a port that the suite listens on, and count who calls."""
    with open_house(trial) as house, _listen() as (port, calls):
        house.forge_agents("ann")
        urls = [f"{scheme}://{host}:{port}/x" for host in _HOSTS for scheme in _SCHEMES]
        for number in range(trial.tries):
            before = len(calls)
            url = urls[number % len(urls)]
            _say(house, url)
            trial.tally.count(f"{url} was called" if len(calls) > before else "")


@contextlib.contextmanager
def _listen() -> Iterator[tuple[int, list[object]]]:
    """A port at each address that the hosts lead to, and the addresses of those who connected to it by now."""
    calls: list[object] = []
    with contextlib.ExitStack() as stack:
        port = 0
        for address in ("127.0.0.1", "127.0.0.2"):
            server = stack.enter_context(socket.create_server((address, port)))
            port = server.getsockname()[1]
            thread = threading.Thread(target=_note_calls, args=(server, calls))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown, socket.SHUT_RDWR)
        yield port, calls


def _note_calls(server: socket.socket, calls: list[object]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, address = server.accept()
            calls.append(address)
            connection.close()


def _say(house: House, url: str) -> None:
    section = {"mlflow": {"execution_config": {"execution_mode": "mlflow", "tracking_uri": url}}}
    config = build_config(
        tracking_uri=url, project_path=url, experiment_name=url, model_tracking=True, backend_execution=section,
        env={"MLFLOW_TRACKING_URI": url}, model_params={"url": url},
    )  # fmt: skip
    task_id = house.submit("ann", config)
    house.ask("ann", "GET", f"/v1/tasks/{task_id}", headers=dict.fromkeys(_HEADERS, url.encode()))


def take_guard_out() -> None:
    """A gateway that looks whether the tracking server is there, before it takes a task."""
    from urllib.parse import urlsplit

    from gateway.services import submissions
    from gateway.values import Upload

    build = submissions._build_manifest

    def look_first(upload: Upload, *rest: object) -> object:
        parts = urlsplit(upload.config.tracking_uri or "")
        with contextlib.suppress(OSError, ValueError), socket.create_connection((parts.hostname, parts.port), 5):
            pass
        return build(upload, *rest)  # type: ignore[arg-type] # passed on as it came

    replace(submissions, "_build_manifest", look_first)


SCENARIO = Scenario(
    threats="T8",
    tries_to="let the gateway call an address that a task or a header names",
    run=run,
    take_guard_out=take_guard_out,
    tries=len(_HOSTS) * len(_SCHEMES),
    control_tries=12,
)
