"""The service's client over a real socket: an outage is an answer, every request ends, no secret is shown."""

import gc
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from toolkit.adapters.service import Answer, ServiceClient, ServiceConfig, WebhookEvent, sign
from toolkit.errors import UsageError

SECRET, CRON_SECRET = "whsec_hidden_value", "cron_hidden_value"
NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
EVENT = WebhookEvent("evt_verify_1", "payment_failed", "pay", "mem", "user", "biz_00", 1900, NOON, "expired_card")
HEALTHY = {"status": "healthy", "timestamp": "2026-11-24T12:00:00Z", "uptime": 12.5, "version": "8"}
GONE = "http://127.0.0.1:1"


class Handler(BaseHTTPRequestHandler):
    """What each path answers."""

    protocol_version = "HTTP/1.1"
    requests: list[tuple[str, str, dict[str, str], bytes]]
    connections: set[tuple[str, int]]
    released: threading.Event

    def do_GET(self) -> None:
        self._note(b"")
        match self.path:
            case "/api/health":
                self._send(200, json.dumps(HEALTHY | {"environment": "production", "region": "fra1"}).encode())
            case "/api/health/db":
                unhealthy = {"status": "unhealthy", "connectionTime": 3.5, "tablesCount": 2}
                self._send(503, json.dumps(unhealthy).encode())
            case "/api/health/webhooks":
                self._send(200, b"<html>somebody else's page</html>")
            case "/hang":
                self.released.wait()
                self.close_connection = True
            case "/trickle":
                self._trickle()
            case "/large":
                self._send(200, b"x" * 3 * 1024 * 1024)
            case "/torn":
                self._send(200, b"half", announced=1000)
                self.close_connection = True
            case _:
                self._send(404, b"no such page")

    def do_POST(self) -> None:
        self._note(self.rfile.read(int(self.headers.get("content-length") or 0)))
        self._send(500 if self.path == "/api/scheduler/reminders" else 200, b"{}")

    def _note(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.requests.append((self.command, self.path, headers, body))
        self.connections.add(self.client_address)

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        while not self.released.wait(0.05):
            self.wfile.write(b"x")

    def _send(self, status: int, content: bytes, announced: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(announced or len(content)))
        self.send_header("x-vercel-deployment-id", "dpl_8")
        self.send_header("set-cookie", "token=private")
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client went away, as it should

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("Bound", (Handler,), {"requests": [], "connections": set(), "released": threading.Event()})
    found = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    yield found
    handler.released.set()
    found.shutdown()
    found.server_close()
    thread.join()


def config(url: str, timeout_s: float = 5) -> ServiceConfig:
    return ServiceConfig(
        base_url=url, webhook_secret=SecretStr(SECRET), cron_secret=SecretStr(CRON_SECRET), timeout_s=timeout_s
    )


@pytest.fixture
def client(server: Server) -> Iterator[ServiceClient]:
    with ServiceClient(config(server.url)) as found:
        yield found


# Health


def test_health_is_read_with_whatever_else_it_says(client: ServiceClient) -> None:
    health = client.health()
    assert (health.status_code, health.status, health.healthy, health.error) == (200, "healthy", True, None)
    assert health.body is not None
    assert (health.body.uptime, health.body.version, health.body.environment) == (12.5, "8", "production")
    assert health.body.model_extra == {"region": "fra1"}
    assert health.deployment == "dpl_8"
    assert 0 < health.latency_ms < 5000


def test_an_unhealthy_answer_keeps_its_details(client: ServiceClient) -> None:
    health = client.health("db")
    assert (health.status_code, health.status, health.healthy) == (503, "unhealthy", False)
    assert health.body is not None
    assert (health.body.connection_ms, health.body.tables_count) == (3.5, 2)


def test_a_page_in_place_of_health_is_not_healthy(client: ServiceClient) -> None:
    health = client.health("webhooks")
    assert (health.status_code, health.status, health.healthy) == (200, None, False)
    assert (health.body, health.error) == (None, "UnreadableBody")


def test_silence_is_an_answer() -> None:
    with ServiceClient(config(GONE)) as client:
        health = client.health()
    assert (health.status_code, health.status, health.healthy, health.body) == (None, None, False, None)
    assert health.error == "ConnectError"


def test_a_playbooks_path_is_probed_as_it_stands(client: ServiceClient) -> None:
    assert client.probe("/api/health").healthy
    assert client.probe("/no/such/health").status_code == 404


def test_an_unknown_kind_of_health_is_wrong_use(client: ServiceClient) -> None:
    with pytest.raises(UsageError, match="databse"):
        client.health("databse")


def test_one_that_is_forgotten_leaves_no_socket_behind(server: Server) -> None:
    client = ServiceClient(config(server.url))
    client.fetch("/api/health")
    connections = client._client
    del client
    gc.collect()
    assert connections.is_closed


# Every request ends


@pytest.mark.parametrize(
    ("path", "status", "error"), [("/hang", None, "ReadTimeout"), ("/trickle", 200, "TotalTimeout")]
)
def test_a_request_ends_in_time(server: Server, path: str, status: int | None, error: str) -> None:
    started = time.monotonic()
    with ServiceClient(config(server.url, timeout_s=0.3)) as client:
        answer = client.fetch(path)
        (timing,) = client.timings(path, 1)
    assert (answer.status_code, answer.error, answer.acknowledged) == (status, error, False)
    assert (timing.status_code, timing.error) == (status, error)
    assert time.monotonic() - started < 20


def test_a_large_answer_is_cut(client: ServiceClient) -> None:
    answer = client.fetch("/large")
    assert (answer.status_code, answer.size, len(answer.text), answer.truncated) == (200, 2**20, 2**20, True)
    assert answer.error is None
    assert client.fetch("/api/health").size < 1000


def test_a_torn_answer_is_none(client: ServiceClient) -> None:
    answer = client.fetch("/torn")
    assert (answer.status_code, answer.error, answer.acknowledged) == (200, "RemoteProtocolError", False)


def test_only_harmless_headers_are_kept(client: ServiceClient) -> None:
    answer = client.fetch("/")
    assert (answer.status_code, answer.text, answer.deployment) == (404, "no such page", "dpl_8")
    assert set(answer.headers or {}) == {"x-vercel-deployment-id"}


def test_a_proxy_for_the_world_is_not_asked_for_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", GONE)
    monkeypatch.setenv("http_proxy", GONE)
    with ServiceClient(config(server.url)) as client:
        assert client.health().healthy


# Webhooks


def signature_of(body: bytes) -> str:
    return "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def test_a_webhook_is_signed_and_dated(client: ServiceClient, server: Server) -> None:
    answer = client.send_event(EVENT, signature="valid")
    assert isinstance(answer, Answer)
    assert answer.acknowledged
    ((method, path, headers, body),) = server.RequestHandlerClass.requests
    assert (method, path) == ("POST", "/api/webhooks/whop")
    assert headers["x-whop-signature"] == signature_of(body) == sign(SecretStr(SECRET), body)
    assert headers["x-whop-event"] == "payment_failed"
    assert abs(int(headers["x-whop-timestamp"]) - time.time()) < 5
    assert json.loads(body) == {
        "id": "evt_verify_1",
        "type": "payment_failed",
        "data": {
            "id": "pay",
            "membership_id": "mem",
            "user_id": "user",
            "company_id": "biz_00",
            "amount": 1900,
            "currency": "usd",
            "failure_reason": "expired_card",
        },
        "created_at": "2026-11-24T12:00:00.000000Z",
    }


def test_a_wrong_signature_is_wrong_and_needs_no_secret(server: Server) -> None:
    with ServiceClient(ServiceConfig(base_url=server.url)) as client:
        client.send_event(EVENT, signature="wrong")
        with pytest.raises(UsageError, match="webhook secret"):
            client.send_event(EVENT, signature="valid")
        with pytest.raises(UsageError, match="cron secret"):
            client.run_reminders()
    ((_, _, headers, body),) = server.RequestHandlerClass.requests
    assert headers["x-whop-signature"].startswith("sha256=")
    assert headers["x-whop-signature"] != signature_of(body)


def test_nothing_is_tried_twice(client: ServiceClient, server: Server) -> None:
    assert client.run_reminders().status_code == 500
    ((method, path, headers, _),) = server.RequestHandlerClass.requests
    assert (method, path, headers["authorization"]) == ("POST", "/api/scheduler/reminders", f"Bearer {CRON_SECRET}")


# Timings


def test_timings_are_taken_over_fresh_connections(client: ServiceClient, server: Server) -> None:
    timings = client.timings("/api/health", 3)
    assert len(timings) == 3
    assert len(server.RequestHandlerClass.connections) == 3
    for timing in timings:
        assert timing.connect_ms is not None
        assert timing.first_byte_ms is not None
        assert 0 < timing.connect_ms <= timing.first_byte_ms <= timing.total_ms
        assert (timing.status_code, timing.error) == (200, None)
        assert (timing.name_lookup_ms, timing.tls_ms) == (None, None)


def test_the_name_is_looked_up_and_its_time_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second address is tried where the first takes no connection; the server is asked by the name."""
    port = server.server_port
    asked: list[tuple[object, ...]] = []

    def found(host: str, *more: object, **options: object) -> list[tuple[object, ...]]:
        asked.append((host, *more))
        addresses = ("127.0.0.9", "127.0.0.1") if host == "service.internal" else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with ServiceClient(config(f"http://service.internal:{port}")) as client:
        (timing,) = client.timings("/api/health", 1)
    assert asked[0] == ("service.internal", port) and (timing.status_code, timing.error) == (200, None)
    assert timing.name_lookup_ms is not None and timing.connect_ms is not None
    assert 0 < timing.name_lookup_ms <= timing.connect_ms


def test_a_name_that_is_nobodys_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with ServiceClient(config("http://nobody.internal")) as client:
        (timing,) = client.timings("/", 1)
    assert (timing.error, timing.name_lookup_ms) == ("ConnectError", None)


def test_a_timing_of_nothing_says_how_far_it_came() -> None:
    with ServiceClient(config(GONE)) as client:
        (timing,) = client.timings("/", 1)
    assert (timing.status_code, timing.error, timing.connect_ms) == (None, "ConnectError", None)
    assert timing.total_ms > 0
