"""Requests that no client sends: none breaks a handler, and every answer, also the server's own, says little."""

import http.client
import json
import socket
import urllib.parse
from collections.abc import Iterator

from attack.guards import replace
from attack.product.house import House, open_house
from attack.trial import Scenario, Trial

__all__ = ["SCENARIO"]

_PATHS = ("/auth/login", "/v1/agent/enrol", "/v1/tasks", "/v1/tokens", "/new_task", "/v1/agent/reports", "/healthz")
_FORM, _PART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
_BODIES: tuple[tuple[str, str, bytes], ...] = (
    (f"{_FORM}; charset=nonsense", "", b"username=a&password=b"), (_FORM, "gzip", b"username=a&password=b"),
    (f"{_FORM}; charset=utf-7", "", b"username=+AGE-"), (_FORM, "", b"username=%ff%fe&password=%"),
    (_PART, "", b"--x\r\n" + b"A: " + b"b" * 20_000 + b"\r\n\r\n1\r\n--x--\r\n"), (_PART, "", b"--x\r\nbroken\r\n\r\n"),
    (_PART, "", b"--x\r\nContent-Disposition: form-data; name\r\n\r\n1\r\n--x--\r\n"),
    ("multipart/form-data", "", b"x"),
    (_PART, "", b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n1\r\n--x--\r\n"), (";;;", "", b"x"),
    ("application/json; charset=nonsense", "", b"{}"), ("application/json", "br", b"{}"),
    ("application/json", "", b"["), ("application/json", "", b'{"code": "\\ud800"}'),
    ("application/json", "", b"9" * 100_000), ("text/plain", "", b"x"),
)  # fmt: skip
_RAW = (
    b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET /%%% HTTP/1.1\r\nHost: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"BREW / HTTP/1.1\r\nHost: a\r\nA" + b"a" * 70_000,
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz\r\n", b"\r\n\r\n\r\n",
)  # fmt: skip
_NAMES = ("aiohttp", "cpython", "python/", "traceback", "site-packages", "/dev/shm")  # noqa: S108 - what is looked for


def run(trial: Trial) -> None:
    """Each try is a body for one address, or bytes that are not a request."""
    with open_house(trial) as house:
        cases = [(path, body) for body in _BODIES for path in _PATHS]
        for number in range(trial.tries):
            if number % 8 == 7:
                told = _judge_raw(_send_raw(house, _RAW[number // 8 % len(_RAW)]))
                trial.tally.count(f"bytes that are no request: {told}" if told else "")
                continue
            path, (kind, coding, body) = cases[number % len(cases)]
            wrong = list(_send(house, path, kind, coding, body))
            trial.tally.count(f"{kind[:40]} to {path}: {wrong[0]}" if wrong else "")


def _send(house: House, path: str, kind: str, coding: str, body: bytes) -> Iterator[str]:
    place = urllib.parse.urlsplit(house.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    headers = {"Content-Type": kind, "Authorization": f"Bearer {house.tokens['ann']}"}
    try:
        method = "GET" if path == "/healthz" else "POST"
        connection.request(method, path, body, headers | ({"Content-Encoding": coding} if coding else {}))
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status >= 500:
        yield f"was answered {answer.status}"
    yield from _find_leaks(str(answer.headers) + text)
    if answer.headers["X-Content-Type-Options"] != "nosniff" or not answer.headers["Content-Security-Policy"]:
        yield "the headers that protect browsers are missing"
    if answer.status >= 400 and "status" not in json.loads(text):
        yield "the error is no problem document"


def _send_raw(house: House, data: bytes) -> str:
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as one:
        one.settimeout(30)
        try:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: one.recv(65_536), b"")).decode(errors="replace")
        except ConnectionError:
            return ""


def _judge_raw(text: str) -> str:
    missing = bool(text) and "nosniff" not in text
    return next(_find_leaks(text), "the headers that protect browsers are missing" if missing else "")


def _find_leaks(text: str) -> Iterator[str]:
    yield from (f"the answer says {name!r}" for name in _NAMES if name in text.lower())


def take_guard_out() -> None:
    """A gateway whose answers have the headers of its HTTP library."""
    from gateway.http import response_headers

    async def leave_alone(*_: object) -> None:
        pass

    replace(response_headers, "secure_answer", leave_alone)
    replace(response_headers, "_add", lambda *_, **__: None)


SCENARIO = Scenario(
    threats="1.11",
    tries_to="break a handler by an odd body, and learn versions and paths from answers",
    run=run,
    take_guard_out=take_guard_out,
    tries=128,
    control_tries=8,
)
