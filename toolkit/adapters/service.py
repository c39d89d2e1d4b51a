"""The service's own HTTP surface, as an outsider sees it: health, pages, data, and the webhook.

Owns the limits of each request, in time and in bytes. It judges nothing: an outage is an answer like any other, because
an assessment must go on. It must never write, keep or show a secret, and it never retries, because what it reports is
what one request met.
"""

import secrets
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from toolkit.adapters.timing import Stopwatch, Timing
from toolkit.adapters.webhook import REQUEST_ID_HEADER, WEBHOOK_PATH, WebhookEvent, sign, webhook_headers
from toolkit.clock import utc_now
from toolkit.errors import UsageError

__all__ = ["Answer", "Health", "HealthBody", "ServiceClient", "ServiceConfig", "Timing", "WebhookEvent", "sign"]

DEPLOYMENT_HEADER = "x-vercel-deployment-id"
SCHEDULER_PATH = "/api/scheduler/reminders"
KEPT_HEADERS = ("content-type", "retry-after", "x-vercel-id", DEPLOYMENT_HEADER)
HEALTHY = "healthy"
BODY_LIMIT_BYTES = 1024 * 1024

HEALTH_PATHS: Mapping[str | None, str] = {
    None: "/api/health",
    "db": "/api/health/db",
    "webhooks": "/api/health/webhooks",
    "queue": "/api/health?type=queue",
    "external": "/api/health?type=external",
    "scheduler": SCHEDULER_PATH,
}


class ServiceConfig(BaseModel):
    """Where the service answers and how long to wait for one request, in seconds. Prints without its secrets.

    Without a `base_url` there is no service that could be asked, which counts as no answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str | None
    webhook_secret: SecretStr | None = None
    cron_secret: SecretStr | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 5
    webhook_path: str = WEBHOOK_PATH
    scheduler_path: str = SCHEDULER_PATH
    healthy_word: str = HEALTHY

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("an http or https address without a user or password is wanted")
        return value.rstrip("/")


@dataclass(frozen=True)
class Answer:
    """What one request met. Without an answer `status_code` is None and `error` names the kind of failure.

    `ms` is the whole request. `size` is the bytes of the body that were read, at most BODY_LIMIT_BYTES; a body that
    was longer is `truncated`. An answer that broke off has both a status code and an error.
    """

    status_code: int | None
    ms: float
    size: int = 0
    error: str | None = None
    headers: Mapping[str, str] | None = None
    text: str = ""
    truncated: bool = False

    @property
    def acknowledged(self) -> bool:
        """What a sender of webhooks takes as delivered: a whole answer with a 2xx."""
        return self.status_code is not None and 200 <= self.status_code < 300 and self.error is None

    @property
    def deployment(self) -> str | None:
        """The deployment that answered, where the platform says so."""
        return (self.headers or {}).get(DEPLOYMENT_HEADER)


class HealthBody(BaseModel):
    """What the health endpoints say. Keys that are not known here are kept, and none has to be there."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    status: str | None = None
    timestamp: str | None = None
    uptime: float | None = None
    version: str | None = None
    environment: str | None = None
    connection_ms: float | None = Field(None, alias="connectionTime")
    tables_count: int | None = Field(None, alias="tablesCount")
    recent_events_count: int | None = Field(None, alias="recentEventsCount")
    recent_events_timeframe: str | None = Field(None, alias="recentEventsTimeframe")


@dataclass(frozen=True)
class Health:
    """One health endpoint's answer. `error` is set when there was none, or none that could be read."""

    path: str
    status_code: int | None
    status: str | None
    latency_ms: float
    error: str | None
    deployment: str | None
    body: HealthBody | None

    @property
    def healthy(self) -> bool:
        """It answered 200 and says that it is healthy. Anything else, silence included, is not."""
        return self.status_code == 200 and self.status == HEALTHY


class ServiceClient:
    """The service, asked by requests that always end. Use it as a context manager, from one thread."""

    def __init__(self, config: ServiceConfig, transport: httpx.BaseTransport | None = None) -> None:
        self.config = config
        self._transport = transport
        self._client = self._connect(httpx.Limits(keepalive_expiry=2.0))
        weakref.finalize(self, self._client.close)  # whoever forgets leaves no socket behind

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._client.close()

    def health(self, kind: str | None = None) -> Health:
        """A health endpoint: None for the general one, or a key of HEALTH_PATHS. Never raises for an outage."""
        if kind not in HEALTH_PATHS:
            known = ", ".join(str(name) for name in HEALTH_PATHS if name)
            raise UsageError(f"There is no health endpoint {kind!r}", next=f"use one of {known}")
        return self.probe(HEALTH_PATHS[kind])

    def probe(self, path: str) -> Health:
        """The health endpoint at a path, as the playbook names them. Never raises for an outage."""
        answer = self.fetch(path)
        body, unreadable = _read_health(answer) if self.config.healthy_word else (None, None)
        return Health(
            path=path,
            status_code=answer.status_code,
            status=self._status(answer, body),
            latency_ms=answer.ms,
            error=answer.error or unreadable,
            deployment=answer.deployment,
            body=body,
        )

    def _status(self, answer: Answer, body: HealthBody | None) -> str | None:
        """What it says of itself; HEALTHY where that is this service's word for it."""
        word, said = self.config.healthy_word, body.status if body else None
        if word and said is not None and said.lower() == word.lower():
            return HEALTHY
        return said if word else HEALTHY if answer.status_code == 200 else None

    def fetch(self, path: str) -> Answer:
        """GET a path. Never raises for an outage."""
        return self._ask("GET", path, {REQUEST_ID_HEADER: _request_id()})

    def send_event(self, event: WebhookEvent, *, signature: Literal["valid", "wrong"]) -> Answer:
        """POST one webhook once. `wrong` signs with a secret that nobody has, which the service must refuse with 401.

        Raises UsageError when the webhook secret is needed and was not given. Never raises for an outage.
        """
        secret = SecretStr(secrets.token_hex()) if signature == "wrong" else self.config.webhook_secret
        if secret is None:
            raise UsageError("The webhook secret was not given", next="export it, then repeat the command")
        body = event.body()
        headers = webhook_headers(event.type, body, secret, _request_id(), utc_now())
        return self._ask("POST", self.config.webhook_path, headers, body)

    def press(self, path: str) -> Answer:
        """POST to a path once, with nothing in it, as a button does. Never raises for an outage."""
        return self._ask("POST", path, {REQUEST_ID_HEADER: _request_id()})

    def run_reminders(self) -> Answer:
        """POST to the scheduler once, as the cron caller does. It nudges members: not for production's assessment."""
        if self.config.cron_secret is None:
            raise UsageError("The cron secret was not given", next="export it, then repeat the command")
        bearer = f"Bearer {self.config.cron_secret.get_secret_value()}"
        return self._ask(
            "POST", self.config.scheduler_path, {"authorization": bearer, REQUEST_ID_HEADER: _request_id()}
        )

    def timings(self, path: str, samples: int) -> list[Timing]:
        """GET a path `samples` times, each over a connection of its own. Never raises for an outage."""
        if self.config.base_url is None:
            return []
        limit_bytes, limit_s = BODY_LIMIT_BYTES, self.config.timeout_s
        with self._connect(httpx.Limits(max_keepalive_connections=0)) as client:
            looks_up = self._transport is None and not (client.trust_env and getproxies())
            return [
                Stopwatch().time(client, path, limit_bytes=limit_bytes, limit_s=limit_s, looks_up=looks_up)
                for _ in range(samples)
            ]

    def _connect(self, limits: httpx.Limits) -> httpx.Client:
        return httpx.Client(
            base_url=self.config.base_url or "",
            timeout=self.config.timeout_s,
            limits=limits,
            transport=self._transport,
            trust_env=not _is_loopback(self.config.base_url or ""),
        )

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        if self.config.base_url is None:
            return Answer(None, 0.0, error="its URL is not set")
        started = time.monotonic()
        status: int | None = None
        kept: dict[str, str] = {}
        content, error, truncated = bytearray(), None, False
        try:
            with self._client.stream(method, path, headers=headers, content=body) as response:
                status = response.status_code
                kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > BODY_LIMIT_BYTES:
                        truncated = True
                        break
                    if time.monotonic() - started > self.config.timeout_s:
                        error = "TotalTimeout"
                        break
        except httpx.HTTPError as failure:
            error = type(failure).__name__
        ms = (time.monotonic() - started) * 1000
        content = content[:BODY_LIMIT_BYTES]
        return Answer(status, ms, len(content), error, kept, content.decode(errors="replace"), truncated)


def _read_health(answer: Answer) -> tuple[HealthBody | None, str | None]:
    if answer.status_code is None or answer.error:
        return None, None
    try:
        return HealthBody.model_validate_json(answer.text), None
    except ValidationError:
        return None, "UnreadableBody"


def _request_id() -> str:
    return f"toolkit-{secrets.token_hex(8)}"


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
