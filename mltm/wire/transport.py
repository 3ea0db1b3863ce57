"""Sends one request to the gateway, and repeats it while that can help. Owns the HTTP session; knows no routes."""

import asyncio
import os
import re
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import quote

import aiohttp
import yarl
from pydantic import ValidationError

from mltm.contract.problems import Problem
from mltm.network.authorities import AuthoritiesError, Trusted, load_authorities
from mltm.network.proxies import Proxy, ProxyError, find_proxy
from mltm.wire.errors import MltmError, UnreachableError, build_error
from mltm.wire.failures import Way, explain_failure, is_temporary, read_fingerprint
from mltm.wire.header_values import clean_token
from mltm.wire.retry_policy import Retry, RetryPolicy, parse_retry_after, plan_retry

__all__ = ["Call", "RetryNotice", "Transport", "build_path"]

T = TypeVar("T")
RetryNotice = Callable[[MltmError, float], None]
"""Gets every failure that will be tried again, and in how many seconds."""

_PLACE = re.compile(r"\{(\w+)(:[^}]*)?\}")
_AGAIN = frozenset({429, 502, 503, 504})
_BIG_UPLOAD = 1024 * 1024
_CA_NAME = "--ca, MLTM_CA, ca_file= or the stored login"


def build_path(route: str, **parts: str) -> str:
    """Fill a route's places: `{name}` takes one segment, `{name:.+}` a path. Everything else is percent-encoded."""
    return _PLACE.sub(lambda found: quote(parts[found[1]], safe="/" if found[2] else ""), route)


def _is_good(status: int) -> bool:
    return 200 <= status < 300


@dataclass(frozen=True)
class Call:
    """A request. `open_body` is called for every try. `repeatable` False: it is repeated only if nothing was sent.

    build_headers: headers of one try; count_progress: grows while tries that break off achieve something, and then the
    patience begins anew; accepts: which statuses go to the consumer.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    build_headers: Callable[[], Mapping[str, str]] = dict
    count_progress: Callable[[], int] = int
    accepts: Callable[[int], bool] = _is_good
    open_body: Callable[[], AbstractContextManager[object]] = nullcontext
    body_size: int = 0
    repeatable: bool = True
    waiting: bool = False


class _FailedTryError(Exception):
    """A try that failed. `again`: another try can help."""

    def __init__(self, error: MltmError, *, again: bool, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.again, self.retry_after_s = error, again, retry_after_s


class Transport:
    """The session with one gateway. A login may set `token` later."""

    def __init__(
        self, url: str, token: str | None, ca_file: Path | None, retry_policy: RetryPolicy, on_retry: RetryNotice | None
    ) -> None:
        self.url, self.token, self.retry_policy = url.strip().rstrip("/"), clean_token(token), retry_policy
        self._ca_file, self._on_retry = ca_file, on_retry
        self._session: aiohttp.ClientSession | None = None
        self._proxy: Proxy | None = None
        self._trusted: Trusted | None = None

    async def open(self) -> None:
        """Make the session. Raises MltmError for certificates that cannot be read, and a proxy that is none.

        aiohttp's trust_env is not used: it would also send what ~/.netrc holds.
        """
        try:
            self._proxy = find_proxy(self.url, os.environ)
            is_plain = self.url.startswith("http://")  # then no certificate is looked at
            self._trusted = load_authorities(self._ca_file, _CA_NAME, {} if is_plain else os.environ)
        except ProxyError as error:
            raise build_error("bad_proxy", str(error), error.next_step, status=400) from error
        except AuthoritiesError as error:
            step = "Name a PEM file that exists, or unset the variable."
            raise build_error("bad_ca_file", str(error), step, status=400) from error
        # No total limit: uploads and downloads may take long; silence may not.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(ssl=self._trusted.context), headers={"User-Agent": "mltm"}
        )

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()

    def abandon(self) -> None:
        """Forget the session without closing it: after a fork its connections are the parent's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # that nobody closed them is the point
            if self._session is not None:
                self._session.detach()
            self._session = None

    async def call(self, call: Call, consume: Callable[[aiohttp.ClientResponse], Awaitable[T]]) -> T:
        """Send a request and give its good answer to `consume`, both again where that can help. Raises MltmError."""
        limit_s = self.retry_policy.waiting_s if call.waiting else self.retry_policy.request_s
        retry: Retry | None = None
        progress = call.count_progress()
        while True:
            try:
                return await self._try_once(call, consume)
            except _FailedTryError as failure:
                if call.count_progress() > progress:
                    progress, retry = call.count_progress(), None
                retry = plan_retry(retry, self.retry_policy, limit_s, failure.retry_after_s) if failure.again else None
                if retry is None:
                    raise failure.error from failure.__cause__
                if self._on_retry is not None:
                    self._on_retry(failure.error, retry.delay_s)
            await self.retry_policy.sleep(retry.delay_s)

    async def _try_once(self, call: Call, consume: Callable[[aiohttp.ClientResponse], Awaitable[T]]) -> T:
        try:
            with call.open_body() as body:
                async with self._send(call, body) as response:
                    if call.accepts(response.status):
                        return await consume(response)
                    await _refuse(response, repeatable=call.repeatable)
        except (aiohttp.ClientError, TimeoutError) as error:
            unsent = isinstance(error, aiohttp.ClientConnectorError)
            again = is_temporary(error) and (call.repeatable or unsent)
            raise _FailedTryError(await self._explain(error), again=again) from error

    def _send(self, call: Call, body: object) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the client is not open: use it in `async with Client(…) as client:`")
        headers = {**call.headers, **call.build_headers()}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return self._session.request(
            call.method, self._build_url(call), params=dict(call.query), data=body, headers=headers,
            allow_redirects=False,  # a redirect could carry the token elsewhere
            expect100=call.body_size > _BIG_UPLOAD,  # a refusal comes before the bytes are sent
            proxy=self._proxy.url if self._proxy else None,
        )  # fmt: skip

    def _build_url(self, call: Call) -> yarl.URL:
        try:
            address = yarl.URL(self.url)
        except ValueError as error:  # a port that is not a number, half an IPv6 address, a name that is not text
            raise aiohttp.InvalidURL(self.url) from error
        is_whole = address.scheme in {"http", "https"} and address.host and self.url.isprintable()
        # A user name in it would become a second Authorization header.
        if not is_whole or " " in self.url or address.user is not None or "?" in self.url or "#" in self.url:
            raise aiohttp.InvalidURL(self.url)
        return yarl.URL(self.url + call.path, encoded=True)

    async def _explain(self, error: Exception) -> MltmError:
        shown = ""
        if isinstance(error, aiohttp.ClientConnectorCertificateError) and self._proxy is None:
            shown = await asyncio.to_thread(read_fingerprint, self.url)
        trusted = self._trusted.source if self._trusted else ""
        return explain_failure(error, self.url, Way(self._proxy, trusted, shown))


async def _refuse(response: aiohttp.ClientResponse, *, repeatable: bool) -> NoReturn:
    problem = _read_problem(await response.read(), response)
    again = response.status in _AGAIN
    error = UnreachableError(problem) if again else MltmError(problem)
    after = parse_retry_after(response.headers.get("Retry-After"))
    raise _FailedTryError(error, again=again and repeatable, retry_after_s=after)


def _read_problem(body: bytes, response: aiohttp.ClientResponse) -> Problem:
    """Read the problem document. A proxy between here and the gateway may have answered without one."""
    try:
        return Problem.model_validate_json(body)
    except ValidationError:
        pass
    where = f"{response.url.scheme}://{response.url.authority}"
    if 300 <= response.status < 400:
        to = response.headers.get("Location", "elsewhere")
        detail, step = f"{where} redirects to {to}.", "If you trust that address, log in to it."
    else:
        detail = f"{where} answered {response.status} {response.reason or ''}".strip() + " without an explanation."
        step = "A proxy may have answered instead of the gateway. Try again, or ask the administrator of the gateway."
    return Problem(
        title="not an answer of a gateway", status=response.status, detail=detail, key="no_problem", next_step=step
    )
