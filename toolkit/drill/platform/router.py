"""The production address: a reverse proxy to whichever deployment production points at.

It owns what a visitor sees of the platform: the headers it adds, and its answers when a deployment gives none. A
request stays with the deployment that it was given to, so that a switch loses nothing. A Host header that names a
deployment's own host reaches that deployment instead. It must never log a body.
"""

import contextlib
import secrets
import time
from collections.abc import Iterable

import httpx
from starlette.types import Receive, Scope, Send

from toolkit.drill.platform.deployments import Deployment
from toolkit.drill.platform.operations import Platform, now_ms
from toolkit.drill.platform.processes import ServiceProcess, StartFailed
from toolkit.drill.platform.refusal import Refused

RawHeaders = list[tuple[bytes, bytes]]

REGION = "iad1"
LARGEST_BODY = 4_718_592  # bytes, the vendor's 4.5 MB

_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# Shorter than a service keeps an idle connection open, or a request could be sent into one that is just being closed.
_KEEP_IDLE_S = 2.0


class _NoAnswer(Exception):
    """The platform answers itself."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class _NotTaken(Exception):
    """A process did not take the connection."""

    def __init__(self, process: ServiceProcess) -> None:
        super().__init__()
        self.process = process


class Router:
    """The ASGI application on the production socket."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        limit = platform.config.function_timeout_s
        self._timeout = httpx.Timeout(limit, connect=5.0).as_dict()
        # The transport, not a client: a proxy wants neither cookies nor redirects nor a charset.
        self._transport = httpx.AsyncHTTPTransport(
            trust_env=False,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=_KEEP_IDLE_S),
        )

    async def close(self) -> None:
        await self._transport.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        began = time.monotonic()
        request_id = f"{REGION}::{secrets.token_hex(3)[:5]}-{now_ms()}-{secrets.token_hex(6)}"
        try:
            deployment = self._deployment(scope)
        except _NoAnswer as failed:
            await _answer(send, failed.status, _plain(request_id), _text(failed, request_id))
            return
        headers = [(b"x-vercel-id", request_id.encode()), (b"x-vercel-deployment-id", deployment.id.encode())]
        try:
            status, answered, body = await self._forward(scope, receive, deployment, request_id)
        except _NoAnswer as failed:
            spent = (time.monotonic() - began) * 1000
            logs = self._platform.logs
            logs.take_failure(deployment, scope["method"], scope["path"], failed.status, failed.code, spent)
            error = [*_plain(request_id), (b"x-vercel-error", failed.code.encode()), headers[1]]
            await _answer(send, failed.status, error, _text(failed, request_id))
            return
        await _answer(send, status, [*answered, *headers], body)

    def _deployment(self, scope: Scope) -> Deployment:
        """The deployment that the Host header names, or else production's."""
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        project = self._platform.project
        found = project.production
        with contextlib.suppress(Refused):
            found = project.find(host)
        if found is None or found.ready_ms is None:
            raise _NoAnswer(404, "DEPLOYMENT_NOT_FOUND")
        return found

    async def _forward(
        self, scope: Scope, receive: Receive, deployment: Deployment, request_id: str
    ) -> tuple[int, RawHeaders, bytes]:
        body = await _read_body(receive)
        try:
            return await self._exchange(scope, body, await self._platform.process(deployment), request_id)
        except _NotTaken as missed:  # it has just ended, and the request never reached it
            missed.process.answering = False
        except StartFailed:
            raise _NoAnswer(502, "NO_RESPONSE_FROM_FUNCTION") from None
        try:
            return await self._exchange(scope, body, await self._platform.process(deployment), request_id)
        except (_NotTaken, StartFailed):
            raise _NoAnswer(502, "NO_RESPONSE_FROM_FUNCTION") from None

    async def _exchange(
        self, scope: Scope, body: bytes, process: ServiceProcess, request_id: str
    ) -> tuple[int, RawHeaders, bytes]:
        target = httpx.URL(process.url).copy_with(raw_path=_raw_path(scope))
        request = httpx.Request(
            scope["method"],
            target,
            headers=_forwarded(scope, body, request_id),
            content=body or None,
            extensions={"timeout": self._timeout},
        )
        process.in_flight += 1
        try:
            answer = await self._transport.handle_async_request(request)
            try:
                content = b"".join([chunk async for chunk in answer.aiter_raw()])
            finally:
                await answer.aclose()
        except httpx.TimeoutException:
            raise _NoAnswer(504, "FUNCTION_INVOCATION_TIMEOUT") from None
        except httpx.ConnectError:
            raise _NotTaken(process) from None
        except httpx.HTTPError:
            raise _NoAnswer(502, "NO_RESPONSE_FROM_FUNCTION") from None
        finally:
            process.in_flight -= 1
        dropped = {*_HOP_BY_HOP, b"server", b"date"}
        return answer.status_code, _without(answer.headers.raw, dropped), content


def _forwarded(scope: Scope, body: bytes, request_id: str) -> RawHeaders:
    """The visitor's headers for the deployment, with what the platform says about the visitor."""
    told = {b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-vercel-id"}
    kept = _without(scope["headers"], {*_HOP_BY_HOP, *told, b"content-length"})
    visitor = (scope.get("client") or ("127.0.0.1", 0))[0].encode()
    host = dict(kept).get(b"host", b"")
    if body or scope["method"] in ("POST", "PUT", "PATCH"):
        kept.append((b"content-length", str(len(body)).encode()))
    return [
        *kept,
        (b"x-forwarded-for", visitor),
        (b"x-real-ip", visitor),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", b"https"),
        (b"x-vercel-id", request_id.encode()),
    ]


def _without(headers: Iterable[tuple[bytes, bytes]], dropped: set[bytes]) -> RawHeaders:
    """The headers that go on: none that belongs to one connection, listed or named by `Connection`."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {part.strip().lower() for name, value in pairs if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in pairs if name not in dropped and name not in named]


def _raw_path(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + (b"?" + query if query else b"")


async def _read_body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _NoAnswer(499, "CLIENT_CLOSED_REQUEST")
        size += len(message.get("body", b""))
        if size > LARGEST_BODY:
            raise _NoAnswer(413, "FUNCTION_PAYLOAD_TOO_LARGE")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _plain(request_id: str) -> RawHeaders:
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"x-vercel-id", request_id.encode())]


def _text(failed: _NoAnswer, request_id: str) -> bytes:
    return f"An error occurred with this application.\n\n{failed.code}\n\n{request_id}\n".encode()


async def _answer(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    if not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"server", b"Vercel")]})
    await send({"type": "http.response.body", "body": body})
