"""The agent's calls to its gateway (mltm.contract.agent_api): one HTTPS request each, typed answers, typed errors.

It tries once; the caller decides when to try again. A retry is around the call and not in a middleware of aiohttp's
client: aioresponses, which stands in for a gateway in tests, never runs those.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ValidationError

from agent.errors import AgentError, GatewayAwayError, RevokedError
from agent.settings import AgentSettings
from agent.uplink.address import Tls, read_gateway_url, read_proxy
from agent.uplink.credential import read_credential
from mltm.contract import routes
from mltm.contract.agent_api import (
    Ack,
    Answer,
    BytesHeaders,
    Enrolled,
    Enrolment,
    Heartbeat,
    ReportBatch,
    ReportsAnswer,
)
from mltm.contract.base_models import JsonObject
from mltm.contract.problems import Problem, explain_strictness

__all__ = ["GatewayClient", "GatewayRefusedError", "RawCommands", "enrol", "open_session"]

_Answer = TypeVar("_Answer", bound=BaseModel)
_CALL_S = 60.0
_POLL_MARGIN_S = 20.0
OnGeneration = Callable[[str], Awaitable[None]]


class GatewayRefusedError(AgentError):
    """The gateway answered 4xx (not 401, 403, 429): to repeat the call would not help.

    is_judged: the answer is the gateway's own problem document, and not a proxy's page.
    """

    def __init__(self, message: str, *, status: int, next_step: str = "", is_judged: bool = False) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status
        self.is_judged = is_judged


class RawCommands(Answer):
    """The long poll's answer. Each command is parsed later, so that one of a newer kind does not stop the others."""

    commands: list[JsonObject]


class GatewayClient:
    """Calls the gateway. Address and credential are read from their files for each call.

    Each call raises GatewayAwayError, RevokedError, GatewayRefusedError, SettingsError.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        settings: AgentSettings,
        *,
        tls: Tls,
        on_generation: OnGeneration | None = None,
    ) -> None:
        """on_generation: awaited with the generation of every answer."""
        self._session = session
        self._settings = settings
        self._tls = tls
        self._on_generation = on_generation

    async def send_reports(self, batch: ReportBatch) -> ReportsAnswer:
        """Post a batch of events."""
        return await self._call("POST", routes.AGENT_REPORTS, ReportsAnswer, body=batch)

    async def send_heartbeat(self, beat: Heartbeat) -> Answer:
        """Post the agent's health."""
        return await self._call("POST", routes.AGENT_HEARTBEAT, Answer, body=beat)

    async def poll_commands(self, wait_s: float) -> RawCommands:
        """Wait for open commands, at most `wait_s` seconds."""
        path = f"{routes.AGENT_COMMANDS}?wait={wait_s:g}"
        return await self._call("GET", path, RawCommands, timeout_s=wait_s + _POLL_MARGIN_S)

    async def acknowledge(self, command_id: str, ack: Ack) -> Answer:
        """Tell the outcome of a command."""
        return await self._call("POST", routes.AGENT_ACK.format(command_id=command_id), Answer, body=ack)

    async def send_bytes(self, command_id: str, headers: BytesHeaders, data: bytes) -> Answer:
        """Send the bytes that a command asked for."""
        fields = headers.model_dump(exclude_none=True)
        named = {f"X-Mltm-{name.title()}": str(value).lower() for name, value in fields.items()}
        return await self._call("PUT", routes.AGENT_BYTES.format(command_id=command_id), Answer, data=data, named=named)

    async def _call(
        self,
        method: str,
        path: str,
        answer_type: type[_Answer],
        *,
        body: BaseModel | None = None,
        data: bytes | None = None,
        named: Mapping[str, str] | None = None,
        timeout_s: float = _CALL_S,
    ) -> _Answer:
        url = await asyncio.to_thread(read_gateway_url, self._settings)
        known = await asyncio.to_thread(read_credential, self._settings.credential_file)
        content_type = "application/json" if data is None else "application/octet-stream"
        headers = {"Authorization": f"Bearer {known.credential}", "Content-Type": content_type, **(named or {})}
        sent = body.model_dump_json(exclude_defaults=True).encode() if body is not None else data
        answer = await _request(self._session, method, url + path, answer_type, sent, headers, self._tls, timeout_s)
        if self._on_generation is not None and isinstance(answer, Answer):
            await self._on_generation(answer.generation)
        return answer


async def enrol(session: aiohttp.ClientSession, url: str, request: Enrolment, tls: Tls) -> Enrolled:
    """Hand in the one-time code. Raises GatewayAwayError, RevokedError (a wrong or used code), GatewayRefusedError."""
    headers = {"Content-Type": "application/json"}
    data = request.model_dump_json().encode()
    return await _request(session, "POST", url + routes.AGENT_ENROL, Enrolled, data, headers, tls, _CALL_S)


async def _request(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    answer_type: type[_Answer],
    data: bytes | None,
    headers: Mapping[str, str],
    tls: Tls,
    timeout_s: float,
) -> _Answer:
    origin, proxy = _parse_origin(url), read_proxy(url)
    try:
        async with session.request(
            method,
            url,
            data=data,
            headers=dict(headers),
            ssl=tls,
            proxy=proxy.url if proxy else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=15),
        ) as response:
            text = await response.text()
            _raise_for_status(response, text, origin)
            return answer_type.model_validate_json(text)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        through = f" The way leads through the proxy {proxy.host}, which {proxy.variable} names." if proxy else ""
        raise GatewayAwayError(_explain_failure(error, origin, timeout_s) + through) from error


def _explain_failure(error: Exception, origin: str, timeout_s: float) -> str:
    match error:
        case TimeoutError():
            return f"The gateway at {origin} did not answer within {timeout_s:g} s."
        case aiohttp.ClientConnectorCertificateError():
            return _explain_certificate(error.certificate_error, origin)
        case ValidationError():
            return f"{origin} did not respond like a compatible gateway."
        case _:
            return f"Cannot reach the gateway at {origin}: {error}."


def _explain_certificate(error: Exception, origin: str) -> str:
    cause = getattr(error, "verify_message", "") or error
    authority = "Set ca_file in the agent's config to the PEM file of the authority that signed it."
    return f"The certificate of {origin} is not trusted: {cause}. {explain_strictness(error, origin) or authority}"


def _raise_for_status(response: aiohttp.ClientResponse, text: str, origin: str) -> None:
    status = response.status
    if status < 300:
        return
    message, next_step = _read_problem(text)
    if status in {401, 403}:
        raise RevokedError(
            f"The gateway at {origin} does not accept this agent ({status}): {message or 'credential unknown'}",
            next_step=next_step or "Enrol the agent again: mltm-agent enroll --gateway URL --code CODE.",
        )
    if status == 429 or status >= 500:
        raise GatewayAwayError(
            f"The gateway at {origin} answered {status}: {message or response.reason}",
            retry_after_s=_read_retry_after(response),
        )
    if status < 400:
        target = response.headers.get("Location", "another address")
        raise GatewayAwayError(f"The gateway at {origin} redirects to {target}. Set gateway_url to its real address.")
    raise GatewayRefusedError(
        f"The gateway at {origin} refused the call ({status}): {message or response.reason}",
        status=status,
        next_step=next_step,
        is_judged=bool(message),
    )


def _read_problem(text: str) -> tuple[str, str]:
    try:
        problem = Problem.model_validate_json(text)
    except ValidationError:
        return "", ""
    return problem.detail, problem.next_step


def _read_retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Read Retry-After: seconds, or a date, which is compared with the server's own clock and never with ours."""
    value = response.headers.get("Retry-After", "")
    try:
        if value.strip().isdigit():
            return float(value)
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(response.headers["Date"])
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def open_session() -> aiohttp.ClientSession:
    """Open a session; the caller closes it. No cookies: the credential is all that is ever sent."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "mltm-agent"})


def _parse_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
