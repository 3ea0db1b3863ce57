"""What is no good HTTP gets a problem document or the end of the connection, never a 500 and never a version."""

import gzip
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.front.limits import Limits
from tests.gateway.fixtures import House, open_house
from tests.gateway.front.raw import send, send_all, tell_what_is_wrong

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = b"Host: x\r\n"
FORM = b"username=alice&password=x"
LONG = b"a" * 20_000
CHUNKED = HOST + b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
URLENCODED = b"application/x-www-form-urlencoded"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    limits = Limits(connections_per_address=500, header_s=1.0, idle_s=0.5, body_window_s=1.0, look_every_s=0.05)
    many: dict[str, Any] = {"max_requests_per_user": 500, "max_uploads_per_user": 500, "max_uploads": 500}
    async with open_house(tmp_path_factory.mktemp("house"), limits=limits, **many) as opened:
        yield opened


def log_in(body: bytes, kind: bytes = URLENCODED, *fields: bytes) -> bytes:
    """A login with this body, and further fields."""
    lines = [b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *fields, b"", b""]
    return b"POST /auth/login HTTP/1.1\r\n" + HOST + b"\r\n".join(lines) + body


def build_part(disposition: bytes, body: bytes = b"x", *fields: bytes) -> bytes:
    head = b"\r\n".join([b"Content-Disposition: " + disposition, *fields])
    return b"--b\r\n" + head + b"\r\n\r\n" + body + b"\r\n--b--\r\n"


MULTIPART = b"multipart/form-data; boundary=b"
CASES = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "a line of junk": b"junk\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "HTTP/2's beginning": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n",
    "an unknown method": b"FETCH /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "TRACE": b"TRACE /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    "CONNECT without a port": b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "a host that is none": b"GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a host of bytes": b"GET /nowhere HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "an absolute address": b"GET http://[::1/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "another scheme": b"GET mailto:x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a port that is none": b"GET http://x:99999/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "an address of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "an address with escaped bytes": b"GET /v1/tasks/%ff%fe%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a broken escape": b"GET /docs/%zz%f HTTP/1.1\r\n" + HOST + b"\r\n",
    "a query of bytes": b"GET /healthz?\xff=%ff&%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a folded field": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n",
    "a field without a name": b"GET /healthz HTTP/1.1\r\n" + HOST + b": b\r\n\r\n",
    "a blank before the colon": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A : b\r\n\r\n",
    "a NUL in a field": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: \x00\r\n\r\n",
    "a carriage return alone": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: a\rb\r\n\r\n",
    "line feeds alone": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "a long field": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: " + LONG + b"\r\n\r\n",
    "a long name of a field": b"GET /healthz HTTP/1.1\r\n" + HOST + LONG + b": a\r\n\r\n",
    "many fields": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 1000 + b"\r\n",
    "a long address": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a length that is none": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n",
    "a negative length": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length beyond 64 bits": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a length just below 64 bits": b"POST /auth/login HTTP/1.1\r\n" + HOST
    + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 18446744073709551614\r\n\r\n",
    "two lengths": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST /auth/login HTTP/1.1\r\n" + HOST
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown transfer coding": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
    "a form cut off": log_in(FORM)[:-5],
    "a form of half an escape": log_in(b"username=%&password=%f"),
    "a form of bytes": log_in(b"username=\xff\xfe&password=\xff"),
    "a form of escaped bytes": log_in(b"username=%ff%fe&password=%ff"),
    "many fields in a form": log_in(b"a=b&" * 2000),
    "an unknown charset": log_in(FORM, b"application/x-www-form-urlencoded; charset=nonesuch"),
    "a charset that is a codec of Python": log_in(FORM, b"application/x-www-form-urlencoded; charset=rot13"),
    "a charset of wide characters": log_in(FORM, b"application/x-www-form-urlencoded; charset=utf-16"),
    "a charset with a NUL": log_in(FORM, b'application/x-www-form-urlencoded; charset="a%00b"'),
    "a type of bytes": log_in(FORM, b"\xff\xfe/\xff"),
    "an empty type": log_in(FORM, b""),
    "gzip that is none": log_in(FORM, URLENCODED, b"Content-Encoding: gzip"),
    "gzip that is cut off": log_in(gzip.compress(FORM)[:-9], URLENCODED, b"Content-Encoding: gzip"),
    "deflate": log_in(FORM, URLENCODED, b"Content-Encoding: deflate"),
    "br": log_in(FORM, URLENCODED, b"Content-Encoding: br"),
    "an unknown coding": log_in(FORM, URLENCODED, b"Content-Encoding: \xff"),
    "no boundary": log_in(FORM, b"multipart/form-data"),
    "a long boundary": log_in(FORM, b"multipart/form-data; boundary=" + b"b" * 200),
    "a boundary of bytes": log_in(FORM, b'multipart/form-data; boundary="\xff\xfe"'),
    "a multipart body that is none": log_in(FORM, MULTIPART),
    "a part with a long field": log_in(build_part(b'form-data; name="username"', b"x", b"X-A: " + LONG), MULTIPART),
    "a part with many fields": log_in(build_part(b'form-data; name="username"', b"x", *([b"X-A: b"] * 500)), MULTIPART),
    "a part with a broken field": log_in(build_part(b'form-data; name="username"', b"x", b"no colon"), MULTIPART),
    "a part with a NUL": log_in(build_part(b'form-data; name="username"', b"x", b"X-A: \x00"), MULTIPART),
    "a part with a broken disposition": log_in(build_part(b'form-data; name="user'), MULTIPART),
    "a part without a name": log_in(build_part(b"form-data"), MULTIPART),
    "a part with an unknown charset": log_in(build_part(b"form-data; name*=nonesuch''x"), MULTIPART),
    "a part with a bad charset": log_in(build_part(b"form-data; name*=utf-8''%ff"), MULTIPART),
    "a part with a type's charset": log_in(
        build_part(b'form-data; name="username"', b"x", b"Content-Type: text/plain; charset=nonesuch"), MULTIPART),
    "a part of bytes": log_in(build_part(b'form-data; name="username"', b"\xff\xfe"), MULTIPART),
    "a part in base64": log_in(
        build_part(b'form-data; name="username"', b"!", b"Content-Transfer-Encoding: base64"), MULTIPART),
    "a part in gzip": log_in(build_part(b'form-data; name="username"', b"!", b"Content-Encoding: gzip"), MULTIPART),
    "a part with parts": log_in(
        build_part(b'form-data; name="username"', b"!", b"Content-Type: multipart/mixed; boundary=c"), MULTIPART),
    "a part with parts without a boundary": log_in(
        build_part(b'form-data; name="username"', b"!", b"Content-Type: multipart/mixed"), MULTIPART),
    "a part with a bad length": log_in(
        build_part(b'form-data; name="username"', b"x", b"Content-Length: -5"), MULTIPART),
    "a part with a length that is none": log_in(
        build_part(b'form-data; name="username"', b"x", b"Content-Length: x"), MULTIPART),
    "chunks cut off": b"POST /auth/login HTTP/1.1\r\n" + CHUNKED + b"5\r\nab",
    "chunks that are none": b"POST /auth/login HTTP/1.1\r\n" + CHUNKED + b"zz\r\nab\r\n",
    "a chunk beyond 64 bits": b"POST /auth/login HTTP/1.1\r\n" + CHUNKED + b"fffffffffffffffff\r\nab\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "HTTP/1.0 that expects": b"POST /auth/login HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    "an unknown expectation": b"POST /auth/login HTTP/1.1\r\n" + HOST + b"Expect: \xff\r\nContent-Length: 0\r\n\r\n",
    "an upgrade": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nmore",
    "an old websocket": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Sec-WebSocket-Key1: x\r\n\r\n",
    "a token of bytes": b"GET /v1/me HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \xff\xfe\r\n\r\n",
    "junk behind a request": b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\njunk junk\r\n\r\n",
    "many requests at once": (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 40,
    "an empty line": b"\r\n",
    "many empty lines": b"\r\n" * 50_000,
    "nothing": b"",
}  # fmt: skip


async def test_junk_is_answered_in_our_words(house: House) -> None:
    answered = await send_all(house, CASES)

    wrong = {
        case: told
        for case, answers in answered.items()
        if (told := list(filter(None, map(tell_what_is_wrong, answers))))
    }
    assert wrong == {}
    await check_works(house)


ADDRESSES = (b"POST /v1/tasks", b"POST /new_task", b"POST /v1/tokens", b"PUT /v1/agent/commands/x/bytes")


@pytest.mark.parametrize("address", ADDRESSES)
async def test_junk_of_known_callers_is_answered_in_our_words(house: House, address: bytes) -> None:
    answered = await send_all(house, send_elsewhere(house, CASES, address))

    wrong = {
        case: told
        for case, answers in answered.items()
        if (told := list(filter(None, map(tell_what_is_wrong, answers))))
    }
    assert wrong == {}
    assert house.left_behind() == []


def send_elsewhere(house: House, cases: dict[str, bytes], address: bytes) -> dict[str, bytes]:
    """The same bodies, sent by somebody who may send them to this address."""
    known = house.agent.headers if b"/agent/" in address else house.headers("alice")
    line = address + b" HTTP/1.1\r\nAuthorization: " + known["Authorization"].encode() + b"\r\n"
    return {
        case: line + sent.removeprefix(b"POST /auth/login HTTP/1.1\r\n")
        for case, sent in cases.items()
        if sent.startswith(b"POST /auth/login HTTP/1.1\r\n")
    }


NAMED = {
    "a line of junk": (400, "broken_request"),
    "no HTTP": (400, "broken_request"),
    "a folded field": (400, "broken_request"),
    "two lengths": (400, "broken_request"),
    "a long field": (431, "header_too_large"),
    "a long name of a field": (431, "header_too_large"),
    "a long address": (414, "url_too_long"),
    "an unknown charset": (415, "unsupported_charset"),
    "a charset of wide characters": (415, "unsupported_charset"),
    "gzip that is none": (415, "unsupported_coding"),
    "br": (415, "unsupported_coding"),
    "a part with a long field": (422, "malformed_form"),
    "a part with a broken field": (422, "malformed_form"),
    "a part of bytes": (422, "malformed_form"),
    "a form cut off": (408, "slow_body"),
    "a length just below 64 bits": (413, "too_large"),
}


async def test_each_kind_of_junk_has_its_name(house: House) -> None:
    answered = await send_all(house, {case: CASES[case] for case in NAMED})

    assert {case: [(one.status, one.problem.key) for one in answers] for case, answers in answered.items()} == {
        case: [named] for case, named in NAMED.items()
    }


async def test_two_lengths_do_not_smuggle_a_request(house: House) -> None:
    inner = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    framing = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(inner) + 5)

    answers = await send(house, b"POST /auth/login HTTP/1.1\r\nHost: x\r\n" + framing + inner)

    assert [answer.status for answer in answers] == [400]


def spoil(seed: int) -> bytes:
    """A good or bad request with bytes changed, doubled, left out or cut off."""
    chance = random.Random(seed)
    sent = bytearray(chance.choice([*CASES.values()])[:3000] or b"GET / HTTP/1.1\r\n")
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(sent))
        piece = chance.choice([b"\x00", b"\xff", b"\r\n", b"\n", b":", b'"', b";", b"%", b"=", b"*", b"'", b" ", b"-1"])
        match chance.randrange(4):
            case 0:
                sent[place : place + len(piece)] = piece
            case 1:
                sent[place:place] = piece * chance.choice([1, 1, 100])
            case 2:
                del sent[place : place + chance.randrange(1, 20)]
            case _:
                sent[place:place] = sent[max(0, place - 30) : place]
        if not sent:
            return b""
    return bytes(sent)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 400, 100))
async def test_spoilt_bodies_of_known_callers_are_answered_in_our_words(house: House, first: int) -> None:
    spoilt = {str(seed): spoil(seed) for seed in range(first, first + 100)}
    answered = await send_all(house, send_elsewhere(house, spoilt, ADDRESSES[first // 100]))

    wrong = {
        seed: told
        for seed, answers in answered.items()
        if (told := list(filter(None, map(tell_what_is_wrong, answers))))
    }
    assert wrong == {}


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 1000, 100))
async def test_spoilt_requests_are_answered_in_our_words(house: House, first: int) -> None:
    answered = await send_all(house, {str(seed): spoil(seed) for seed in range(first, first + 100)})

    wrong = {
        seed: told
        for seed, answers in answered.items()
        if (told := list(filter(None, map(tell_what_is_wrong, answers))))
    }
    assert wrong == {}
    await check_works(house)


async def check_works(house: House) -> None:
    assert (await house.call("GET", "/v1/me"))[0] == 200
