"""One request over the wire, and what it met. A failure is an outcome here, never an exception."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

from toolkit.adapters.service import DEPLOYMENT_HEADER
from toolkit.drill.ledger import Outcome

TIMEOUT_S = 5.0
GIVE_UP_S = 6.0  # for an answer that trickles in and never times out
KEEPALIVE_S = 2.0  # shorter than servers keep a connection, or a request now and then meets one that is just closing


class Caller:
    """The connections of the senders. Use it as an asynchronous context manager."""

    def __init__(self, base_url: str, connections: int) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=KEEPALIVE_S),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Outcome:
        """Send one request and read the whole answer. Takes at most GIVE_UP_S seconds."""
        started = time.monotonic()
        status: int | None = None
        error: str | None = None
        deployment: str | None = None
        try:
            async with (
                asyncio.timeout(GIVE_UP_S),
                self._client.stream(method, url, headers=headers, content=body) as response,
            ):
                status = response.status_code
                deployment = response.headers.get(DEPLOYMENT_HEADER)
                async for _ in response.aiter_raw():
                    pass
        except (httpx.HTTPError, TimeoutError) as failure:
            error = type(failure).__name__
        return Outcome(status, (time.monotonic() - started) * 1000, error, deployment)
