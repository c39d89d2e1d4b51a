"""A target in miniature over real sockets: a service and its platform, which answer, fail or hang as a test says.

One server for both, since their paths do not meet. It keeps nothing; what a webhook does is the test's.
"""

import json
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toolkit.adapters.systems import Systems, connect
from toolkit.drill.database import ServiceDatabase
from toolkit.playbook import Monitoring, Playbook

PRODUCTION, SECRET = "dpl_8", "whop-secret-of-the-test"
HTML = ("text/html; charset=utf-8", "<!doctype html><html><body>ok</body></html>")

Answer = tuple[int, str, str]
Receive = Callable[[bytes, dict[str, str]], Answer]


def as_json(body: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(body)


def healthy(**more: Any) -> Answer:
    return as_json({"status": "healthy", "timestamp": "2026-11-24T03:00:00Z", "uptime": 1.0} | more)


@dataclass
class StubTarget:
    """`answers` by path; a path in `hangs` is accepted and never answered. `log` is what the deployment prints,
    `act` what comes of a person's click; `variables` are the platform's."""

    answers: dict[str, Answer] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    receive: Receive = lambda _body, _headers: as_json({"received": True})
    act: Callable[[str], Answer] = lambda _path: as_json({})
    variables: list[dict[str, Any]] = field(default_factory=list)
    production: str = PRODUCTION
    platform_down: bool = False
    earlier: tuple[str, ...] = ()  # deployments that the platform still has beside the live one

    def __post_init__(self) -> None:
        self._streams: list[tuple[str, queue.Queue[str | None]]] = []
        self._ended = threading.Event()
        self.asked: list[str] = []
        self.answers = {
            "/api/health": healthy(),
            "/api/health/db": healthy(tablesCount=3, connectionTime=1.0),
            "/api/health/webhooks": healthy(recentEventsCount=0),
            "/api/scheduler/reminders": healthy(enabled=True),
            "/dashboard": (200, *HTML),
            "/settings": (200, *HTML),
        } | self.answers
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                stub._serve(self, b"")

            def do_POST(self) -> None:
                stub._serve(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def log_message(self, *_: Any) -> None:
                """Nothing on standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def environment(self, database: ServiceDatabase) -> dict[str, str]:
        """The variables of the playbook's target `sandbox`."""
        return {
            "DATABASE_URL": database.toolkit_url,
            "SERVICE_URL": self.url,
            "VERCEL_API_URL": self.url,
            "VERCEL_TOKEN": "token-of-the-test",
            "VERCEL_PROJECT_ID": "prj_test",
            "VERCEL_TEAM_ID": "team_test",
            "WHOP_WEBHOOK_SECRET": SECRET,
            "CRON_SECRET": "cron-secret-of-the-test",
            "TOOLKIT_SANDBOX": "none-of-this-name",
        }

    def systems(self, playbook: Playbook, database: ServiceDatabase, **monitoring: Any) -> Systems:
        """Clients for it, with the monitoring's settings changed."""
        target = playbook.target("sandbox", self.environment(database))
        changed = Monitoring(**(target.monitoring.model_dump() | monitoring))
        return connect(playbook, target.model_copy(update={"monitoring": changed}))

    def log(self, count: int = 1, *, status: int = 200, path: str = "/api/webhooks/whop", **more: Any) -> None:
        """Print requests as the live deployment does."""
        told = {"method": "POST", "path": path, "status": status, "ms": 5.0, "request_id": "evt", "error": None} | more
        row = {
            "rowId": "r",
            "level": "info",
            "message": json.dumps(told),
            "source": "serverless",
            "timestampInMs": int(time.time() * 1000),
            "requestMethod": "POST",
            "requestPath": path,
            "responseStatusCode": status,
        }
        for deployment, stream in list(self._streams):
            if deployment == self.production:
                for _ in range(count):
                    stream.put(json.dumps(row))

    @property
    def followed(self) -> bool:
        """Whether somebody reads the live deployment's log."""
        return any(deployment == self.production for deployment, _ in self._streams)

    @property
    def asked_for_logs(self) -> int:
        """How often somebody began to read a log."""
        return sum(path.endswith("/runtime-logs") for path in self.asked)

    def break_off(self) -> None:
        """End every log that is being read."""
        for _, stream in list(self._streams):
            stream.put(None)

    def stop(self) -> None:
        self._ended.set()
        self.break_off()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path.partition("?")[0]
        self.asked.append(path)
        if path in self.hangs:
            self._ended.wait(60)
            return
        if path.startswith(("/v1/", "/v6/", "/v10/", "/v13/")) and self.platform_down:
            self._send(handler, *as_json({"error": {"code": "internal", "message": "down"}}, 500))
        elif path.endswith("/runtime-logs"):
            self._stream(handler, path.split("/")[-2])
        elif path.startswith("/v13/deployments/"):
            self._send(handler, *as_json(self._deployment()))
        elif path == "/v6/deployments":
            listed = [self._deployment() | {"uid": uid, "id": uid} for uid in (self.production, *self.earlier)]
            self._send(handler, *as_json({"deployments": listed, "pagination": {"next": None}}))
        elif path.startswith("/v9/projects/"):
            self._send(handler, *as_json({"id": "prj_test", "name": "churn-saver"}))
        elif path.startswith("/v10/projects/"):
            self._send(handler, *as_json({"envs": self.variables}))
        elif handler.command == "POST" and path.startswith("/api/cases/"):
            self._send(handler, *self.act(path))
        elif handler.command == "POST":
            self._send(handler, *self.receive(body, {name.lower(): value for name, value in handler.headers.items()}))
        else:
            self._send(handler, *self.answers.get(path, as_json({"error": "not_found"}, 404)))

    def _deployment(self) -> dict[str, Any]:
        told = {"id": self.production, "url": "test.vercel.app", "name": "churn-saver", "createdAt": 1}
        return told | {"readyState": "READY", "target": "production", "projectId": "prj_test", "aliasAssigned": True}

    def _send(self, handler: BaseHTTPRequestHandler, status: int, kind: str, text: str) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(text.encode())))
        handler.end_headers()
        handler.wfile.write(text.encode())

    def _stream(self, handler: BaseHTTPRequestHandler, deployment: str) -> None:
        stream: queue.Queue[str | None] = queue.Queue()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/stream+json")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        self._streams.append((deployment, stream))
        try:
            while (line := stream.get()) is not None:
                handler.wfile.write(line.encode() + b"\n")
                handler.wfile.flush()
        except OSError:
            pass
        finally:
            self._streams.remove((deployment, stream))
