"""One call to the gateway: what each answer, and each missing answer, is said to be."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from aioresponses import aioresponses

from agent.errors import AgentError, GatewayAwayError, RevokedError, SettingsError
from agent.uplink import client as client_module
from agent.uplink.address import build_tls
from agent.uplink.client import GatewayClient, GatewayRefusedError, open_session
from mltm.contract import routes
from mltm.contract.agent_api import Ack, Answer, BytesHeaders, ReportBatch
from tests.agent.uplink.build import GENERATION, SECRET, URL, UplinkKit, problem
from tests.certificates import make_certificate
from tests.gateway.certificates import Authority, build_strict_context

REPORTS = URL + routes.AGENT_REPORTS
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
EMPTY = ReportBatch(reports=[])
DATE = "Thu, 24 Dec 2026 12:00:00 GMT"
HALF_A_MINUTE_ON = "Thu, 24 Dec 2026 12:00:30 GMT"


@asynccontextmanager
async def serve(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A real server on the loopback, whatever is asked of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
    finally:
        await server.close()


async def say_nothing_new(_: web.Request) -> web.Response:
    return web.json_response({"generation": GENERATION, "outcomes": []})


def test_no_cookie_is_kept_or_sent() -> None:
    async def look() -> bool:
        async with open_session() as session:
            return isinstance(session.cookie_jar, aiohttp.DummyCookieJar)

    assert asyncio.run(look())


@pytest.mark.parametrize(
    ("status", "headers", "retry_after_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (503, {"Retry-After": " 120 "}, 120),
        (503, {"Retry-After": HALF_A_MINUTE_ON, "Date": DATE}, 30),
        (503, {"Retry-After": DATE, "Date": HALF_A_MINUTE_ON}, 0),
        (503, {"Retry-After": HALF_A_MINUTE_ON}, None),  # whose clock? not ours
        (503, {"Retry-After": HALF_A_MINUTE_ON, "Date": "soon"}, None),
        (503, {"Retry-After": "soon"}, None),
        (503, {"Retry-After": "-5"}, None),
        (503, {"Retry-After": "²"}, None),
        (500, {}, None),
        (502, {}, None),
    ],
)
async def test_a_gateway_that_cannot_now_is_away_and_says_for_how_long(
    client: GatewayClient, gateway: aioresponses, status: int, headers: dict[str, str], retry_after_s: float | None
) -> None:
    gateway.post(REPORTS, status=status, headers=headers, body=problem(status, "Not now."))
    with pytest.raises(GatewayAwayError, match=f"https://gateway.test:8008 answered {status}: Not now") as caught:
        await client.send_reports(EMPTY)
    assert caught.value.retry_after_s == retry_after_s


async def test_a_proxys_error_page_is_away_and_not_quoted(client: GatewayClient, gateway: aioresponses) -> None:
    gateway.post(REPORTS, status=502, reason="Bad Gateway", body="<html>" + "x" * 5000, content_type="text/html")
    with pytest.raises(GatewayAwayError, match=r"answered 502: Bad Gateway$"):
        await client.send_reports(EMPTY)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_revoked_credential_is_said_with_the_next_step(
    client: GatewayClient, gateway: aioresponses, status: int
) -> None:
    gateway.post(REPORTS, status=status, body=problem(status, "It was revoked.", "Ask Maria."))
    gateway.post(REPORTS, status=status, body="")
    with pytest.raises(RevokedError, match=rf"does not accept this agent \({status}\): It was revoked\. Ask Maria"):
        await client.send_reports(EMPTY)
    with pytest.raises(RevokedError, match=r"Enrol the agent again: mltm-agent enroll --gateway URL --code CODE"):
        await client.send_reports(EMPTY)


@pytest.mark.parametrize(("body", "is_judged"), [(problem(422, "seq: too small"), True), ("<html>", False)])
async def test_a_refusal_tells_the_gateways_judgement_from_a_page_between(
    client: GatewayClient, gateway: aioresponses, body: str, is_judged: bool
) -> None:
    gateway.post(REPORTS, status=422, body=body)
    with pytest.raises(GatewayRefusedError, match="refused the call") as caught:
        await client.send_reports(EMPTY)
    assert (caught.value.status, caught.value.is_judged) == (422, is_judged)


@pytest.mark.parametrize("body", ["", "{}", "<html>", '{"generation": 7}', '{"outcomes": []}', "null", "[1]"])
async def test_what_answers_200_and_is_no_gateway_is_away(
    client: GatewayClient, gateway: aioresponses, body: str
) -> None:
    gateway.post(REPORTS, body=body)
    with pytest.raises(GatewayAwayError, match=r"https://gateway\.test:8008 did not respond like a compatible gateway"):
        await client.send_reports(EMPTY)


async def test_a_newer_gateways_further_fields_are_passed_over(client: GatewayClient, gateway: aioresponses) -> None:
    gateway.post(REPORTS, payload={"generation": GENERATION, "outcomes": [], "new": {"a": 1}})
    assert (await client.send_reports(EMPTY)).generation == GENERATION


@pytest.mark.parametrize("path", [routes.AGENT_REPORTS, routes.AGENT_HEARTBEAT, routes.AGENT_COMMANDS])
async def test_a_redirect_is_not_followed_with_the_credential(uplink: UplinkKit, path: str) -> None:
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPPermanentRedirect(f"http://{request.host}/elsewhere")

    async with serve(redirect) as url, AsyncExitStack() as stack:
        uplink.settings = uplink.settings.model_copy(update={"gateway_url": url})
        client = await uplink.open_client(stack)
        with pytest.raises(GatewayAwayError, match=r"redirects to http://127.*/elsewhere\. Set gateway_url"):
            await client._call("POST", path, Answer, body=EMPTY)
    assert asked == [path]


async def test_nobody_there_is_away(uplink: UplinkKit) -> None:
    uplink.settings = uplink.settings.model_copy(update={"gateway_url": f"http://127.0.0.1:{unused_port()}"})
    async with AsyncExitStack() as stack:
        client = await uplink.open_client(stack)
        with pytest.raises(GatewayAwayError, match=r"Cannot reach the gateway at http://127\.0\.0\.1:\d+") as caught:
            await client.send_reports(EMPTY)
    assert SECRET not in str(caught.value)


async def test_a_gateway_that_hangs_is_away_after_a_time(uplink: UplinkKit, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(client_module, "_POLL_MARGIN_S", 0.05)
    async with serve(hang) as url, AsyncExitStack() as stack:
        uplink.settings = uplink.settings.model_copy(update={"gateway_url": url})
        client = await uplink.open_client(stack)
        with pytest.raises(GatewayAwayError, match=r"did not answer within 0\.05 s"):
            await client.poll_commands(0)


async def test_an_answer_that_breaks_off_is_away(uplink: UplinkKit) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"generation": "a", ')
        assert request.transport is not None
        request.transport.close()
        return answer

    async with serve(half) as url, AsyncExitStack() as stack:
        uplink.settings = uplink.settings.model_copy(update={"gateway_url": url})
        client = await uplink.open_client(stack)
        with pytest.raises(GatewayAwayError, match="Cannot reach"):
            await client.send_reports(EMPTY)


async def test_a_certificate_is_checked_and_the_sites_authority_counts(uplink: UplinkKit, tmp_path: Path) -> None:
    certificate, key = await asyncio.to_thread(make_certificate, tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async with serve(say_nothing_new, context) as url, open_session() as session:
        settings = uplink.settings.model_copy(update={"gateway_url": url})
        with pytest.raises(GatewayAwayError, match=r"is not trusted: self.signed certificate\. Set ca_file"):
            await GatewayClient(session, settings, tls=True).send_reports(EMPTY)
        trusting = GatewayClient(session, settings, tls=build_tls(certificate))
        assert (await trusting.send_reports(EMPTY)).generation == GENERATION


async def test_a_certificate_that_only_new_pythons_refuse_is_explained(uplink: UplinkKit, tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path / "ca", strict=False)
    pair = await asyncio.to_thread(authority.issue, "gateway")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)

    async with serve(say_nothing_new, context) as url, open_session() as session:
        settings = uplink.settings.model_copy(update={"gateway_url": url})
        with pytest.raises(
            GatewayAwayError, match=r"not include key usage extension\. Python 3.13 and newer"
        ) as caught:
            await GatewayClient(session, settings, tls=build_strict_context(authority.cert)).send_reports(EMPTY)
    assert "openssl s_client -x509_strict" in str(caught.value)
    assert "ca_file" not in str(caught.value)


async def test_address_and_credential_are_read_at_each_call(
    uplink: UplinkKit, client: GatewayClient, gateway: aioresponses
) -> None:
    gateway.post(REPORTS, payload={"generation": GENERATION, "outcomes": []}, repeat=True)
    await client.send_reports(EMPTY)
    uplink.enrol("another")
    await client.send_reports(EMPTY)
    uplink.settings.credential_file.unlink()
    with pytest.raises(SettingsError, match="There is no credential file"):
        await client.send_reports(EMPTY)
    sent = [call.kwargs["headers"]["Authorization"] for calls in gateway.requests.values() for call in calls]
    assert sent == [f"Bearer {SECRET}", "Bearer another"]


@pytest.mark.parametrize("credential", ["line\nfeed", "nul\0"])
async def test_a_credential_that_is_no_header_is_an_error_in_words(uplink: UplinkKit, credential: str) -> None:
    uplink.enrol(credential)
    async with serve(say_nothing_new) as url, AsyncExitStack() as stack:
        uplink.settings = uplink.settings.model_copy(update={"gateway_url": url})
        client = await uplink.open_client(stack)
        with pytest.raises(AgentError, match="Cannot reach") as caught:
            await client.send_reports(EMPTY)
    assert credential not in str(caught.value)


async def test_every_answers_generation_is_compared(
    uplink: UplinkKit, stack: AsyncExitStack, gateway: aioresponses
) -> None:
    heard: list[str] = []

    async def compare(generation: str) -> None:
        heard.append(generation)

    client = await uplink.open_client(stack, compare)
    gateway.post(REPORTS, payload={"generation": "1", "outcomes": []})
    gateway.get(f"{URL}{routes.AGENT_COMMANDS}?wait=25", payload={"generation": "2", "commands": []})
    gateway.post(URL + routes.AGENT_ACK.format(command_id="c"), payload={"generation": "3"})
    gateway.put(URL + routes.AGENT_BYTES.format(command_id="c"), payload={"generation": "4"})
    await client.send_reports(EMPTY)
    await client.poll_commands(25)
    await client.acknowledge("c", Ack(outcome="done"))
    await client.send_bytes("c", BytesHeaders(offset=0, size=3, final=True), b"abc")
    assert heard == ["1", "2", "3", "4"]


async def test_bytes_travel_raw_with_their_place_as_headers(client: GatewayClient, gateway: aioresponses) -> None:
    gateway.put(URL + routes.AGENT_BYTES.format(command_id="c"), payload={"generation": "1"})
    await client.send_bytes("c", BytesHeaders(offset=5, size=8, final=True), b"\x00\xff\n")
    ((call,),) = gateway.requests.values()
    assert call.kwargs["data"] == b"\x00\xff\n"
    named = {name: value for name, value in call.kwargs["headers"].items() if name.startswith("X-Mltm")}
    assert named == {"X-Mltm-Offset": "5", "X-Mltm-Size": "8", "X-Mltm-Final": "true"}
