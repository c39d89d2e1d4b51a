"""A receiver of webhooks over real HTTP that fails as it is told, and remembers what it stored. No database."""

import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WEBHOOK_SECRET, CRON_SECRET = "whsec_of_these_tests", "cron_of_these_tests"


class Receiver:
    """Starts and stops on one port. `decide(event id, times seen)` names what becomes of a webhook.

    ok: stored, 200 · error: not stored, 500 · stored_error: stored, 500 · late: stored, 200 after 0.2 s ·
    drop: the connection is cut without an answer · broken: stored, half an answer, then cut · hang: 500 at `release`
    """

    def __init__(self) -> None:
        self.decide: Callable[[str, int], str] = lambda _event, _seen: "ok"
        self.seen: Counter[str] = Counter()
        self.bodies: dict[str, set[bytes]] = {}
        self.stored: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.stamps: dict[tuple[str, int], int] = {}  # by event and attempt, in seconds
        self.under_way = self.most_under_way = 0
        self.released = threading.Event()
        self.lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        handler = type("BoundHandler", (Handler,), {"receiver": self})
        self._server = Server(("127.0.0.1", self.port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on. What hangs is released."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def receive(self, headers: dict[str, str], body: bytes) -> str:
        """Note a webhook, and say what becomes of it."""
        event = json.loads(body)
        with self.lock:
            name = event["id"]
            self.seen[name] += 1
            self.bodies.setdefault(name, set()).add(body)
            self._check(headers, body, event)
            decision = self.decide(name, self.seen[name])
            if decision in ("ok", "late", "stored_error", "broken"):
                self.stored.setdefault(name, event)
        return decision

    def _check(self, headers: dict[str, str], body: bytes, event: dict[str, Any]) -> None:
        """By code of its own: is it signed and named? When does it say it was sent?"""
        digest = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
        expected = {
            "x-whop-signature": f"sha256={digest}",
            "x-whop-event": event["type"],
            "x-request-id": f"{event['id']}-{self.seen[event['id']]}",
        }
        self.faults += [
            f"{name}: {headers.get(name)}" for name, value in expected.items() if headers.get(name) != value
        ]
        self.stamps[event["id"], self.seen[event["id"]]] = int(headers["x-whop-timestamp"])


class Server(ThreadingHTTPServer):
    """Keeps the connections of clients, and forgets them when it is closed."""

    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        self.open: set[socket.socket] = set()
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for connection in self.open:
            cut(connection)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def do_GET(self) -> None:
        self._note()
        self._send(200, b"x" * 1000)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path != "/api/webhooks/whop":
            self._note()
            return self._send(200, b"{}")
        with self.receiver.lock:
            self.receiver.under_way += 1
            self.receiver.most_under_way = max(self.receiver.most_under_way, self.receiver.under_way)
        try:
            self._answer(self.receiver.receive(self._lower_headers(), body))
        finally:
            with self.receiver.lock:
                self.receiver.under_way -= 1

    def _answer(self, decision: str) -> None:
        match decision:
            case "late":
                time.sleep(0.2)
            case "hang":
                self.receiver.released.wait()
                return self._send(500, b"too late")
            case "error" | "stored_error":
                return self._send(500, b"no")
            case "drop":
                return self._cut()
            case "broken":
                self._send(200, b'{"received": ', announced=100)
                return self._cut()
        self._send(200, b'{"received": true}')

    def _note(self) -> None:
        with self.receiver.lock:
            self.receiver.requests.append((self.command, self.path.partition("?")[0], self._lower_headers()))

    def _lower_headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _send(self, status: int, content: bytes, announced: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(announced or len(content)))
        self.send_header("x-vercel-deployment-id", "dpl_test")
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        cut(self.connection)
        self.close_connection = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone, or the receiver was stopped
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
