"""The harness sees a break: a document with a planted lie, and a server that fails, are found by the check for it."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mltm.contract import routes
from tests.schema.counts import Counts
from tests.schema.run import Size, fetch_document, run_role
from tests.schema.stage import Stage, open_stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

Document = dict[str, Any]
SMALL = Size(fuzzing=12, stateful=0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("control") / "stage") as opened:
        yield opened


def keep(document: Document, path: str) -> Document:
    return {**document, "paths": {path: {"get": document["paths"][path]["get"]}}}


def leave_out_a_state(document: Document) -> None:
    document["components"]["schemas"]["State"]["enum"].remove("accepted")


def limit_of_lists(document: Document) -> dict[str, Any]:
    parameters = document["paths"][routes.TASKS]["get"]["parameters"]
    schema: dict[str, Any] = next(each["schema"] for each in parameters if each["name"] == "limit")
    return schema


def promise_more(document: Document) -> None:
    limit_of_lists(document)["maximum"] = 100_000


def promise_less(document: Document) -> None:
    limit_of_lists(document)["maximum"] = 20


def leave_out_a_status(document: Document) -> None:
    del document["paths"][routes.TASKS]["get"]["responses"]["422"]


def promise_a_header(document: Document) -> None:
    answer = document["paths"][routes.TASKS]["get"]["responses"]["200"]
    answer["headers"]["X-Nonesuch"] = {"required": True, "schema": {"type": "string"}}


def promise_another_type(document: Document) -> None:
    answer = document["paths"][routes.TASKS]["get"]["responses"]["200"]
    answer["content"] = {"application/xml": answer["content"]["application/json"]}


PLANTED: list[tuple[Callable[[Document], None], str]] = [
    (leave_out_a_state, "response_schema_conformance"),
    (promise_more, "positive_data_acceptance"),
    (promise_less, "negative_data_rejection"),
    (leave_out_a_status, "status_code_conformance"),
    (promise_a_header, "response_headers_conformance"),
    (promise_another_type, "content_type_conformance"),
]


@pytest.mark.parametrize(("plant", "check"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_lie_in_the_document_is_found(stage: Stage, plant: Callable[[Document], None], check: str) -> None:
    document = keep(fetch_document(stage), routes.TASKS)
    plant(document)

    assert read_checks(run_role(stage, "user", 1, SMALL, document)) == {check}


def test_the_same_document_without_a_lie_has_no_break(stage: Stage) -> None:
    assert read_checks(run_role(stage, "user", 1, SMALL, keep(fetch_document(stage), routes.TASKS))) == set()


class Failing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"Traceback (most recent call last): ...")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        pass


def test_a_server_that_answers_500_is_found(stage: Stage) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        failing = Stage(f"http://127.0.0.1:{server.server_port}", stage.tokens, stage.agents, stage.known)
        document = keep(fetch_document(stage), routes.WHOAMI)
        found = read_checks(run_role(failing, "user", 1, Size(4, 0, coverage=False), document))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert {"not_a_server_error", "status_code_conformance", "problems_and_headers"} <= found


def read_checks(counts: Counts) -> set[str]:
    """The checks that found a break. POST is left out of the document, for speed: two checks say so each time."""
    assert not counts.errors, counts.errors
    return {check for _, check in counts.breaks} - {"unsupported_method", "allow_header_conformance"}
