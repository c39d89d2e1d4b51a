"""Slack, PagerDuty and Statuspage over real HTTP, as their documentation says they behave, and as they fail.

`fail` is what becomes of the next requests that change something, in order:
429:N · 500 · 403 · lost (taken, then the connection is cut) · cut (cut before it is taken) · hang (until `release`).
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, ROUTING_KEY, PAGE_TOKEN = "xoxb-of-these-tests", "R0UT1NGKEY0FTHESETESTS", "page-token-of-these-tests"
READING = ("conversations.history", "conversations.list")


class Providers:
    """One server for all three, and what they have taken: the truth that a test looks at."""

    def __init__(self) -> None:
        self.fail: list[str] = []
        self.posts: list[dict[str, Any]] = []  # Slack's messages
        self.channels: dict[str, str] = {"incidents": "C0000001", "engineering": "C0000002", "product": "C0000003"}
        self.events: list[dict[str, Any]] = []  # PagerDuty's
        self.alerts: dict[str, str] = {}  # its alerts by dedup_key
        self.incidents: dict[str, dict[str, Any]] = {}  # Statuspage's
        self.requests: list[tuple[str, str]] = []
        self.released = threading.Event()
        self.lock = threading.Lock()
        handler = type("Bound", (_Handler,), {"providers": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # Each answers (status, body); None for a path that is not theirs

    def slack(self, method: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        if token != f"Bearer {TOKEN}":
            return 200, {"ok": False, "error": "invalid_auth"}
        match method:
            case "chat.postMessage":
                return self._post(body)
            case "conversations.history":
                if body["channel"] not in self.channels.values():
                    return 200, {"ok": False, "error": "channel_not_found"}
                mine = [each for each in self.posts if each["channel"] == body["channel"]]
                return 200, {"ok": True, "messages": mine[::-1], "has_more": False}
            case "conversations.list":
                listed = [{"id": key, "name": name} for name, key in self.channels.items()]
                return 200, {"ok": True, "channels": listed, "response_metadata": {"next_cursor": ""}}
            case "conversations.create":
                if body["name"] in self.channels:
                    return 200, {"ok": False, "error": "name_taken"}
                self.channels[body["name"]] = f"C000000{len(self.channels) + 1}"
                return 200, {"ok": True, "channel": {"id": self.channels[body["name"]], "name": body["name"]}}
        return 200, {"ok": False, "error": "unknown_method"}

    def _post(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["channel"].removeprefix("#")
        channel = self.channels.get(name, name)
        if channel not in self.channels.values():
            return 200, {"ok": False, "error": "channel_not_found"}
        ts = f"1764000000.{len(self.posts):06}"
        self.posts.append({"channel": channel, "text": body["text"], "metadata": body.get("metadata"), "ts": ts})
        return 200, {"ok": True, "channel": channel, "ts": ts}

    def pagerduty(self, body: dict[str, Any]) -> tuple[int, Any]:
        errors = [f"'{key}' is missing or blank" for key in ("routing_key", "event_action") if not body.get(key)]
        payload = body.get("payload", {})
        if body.get("event_action") == "trigger":
            errors += [
                f"'payload.{key}' is missing" for key in ("summary", "source", "severity") if not payload.get(key)
            ]
        if payload and payload.get("severity") not in ("critical", "error", "warning", "info"):
            errors.append("'payload.severity' is invalid")
        if errors or body["routing_key"] != ROUTING_KEY:
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        self.events.append(body)
        self.alerts[body["dedup_key"]] = body["event_action"]
        return 202, {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}

    def statuspage(self, verb: str, rest: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        if token != f"OAuth {PAGE_TOKEN}":
            return 401, {"error": "Could not authenticate"}
        if verb == "GET":
            found = self.incidents.get(rest) if rest else list(self.incidents.values())[::-1]
            return (200, found) if found is not None else (404, {"error": "Not found"})
        told = body.get("incident", {})
        if told.get("status") not in ("investigating", "identified", "monitoring", "resolved"):
            return 422, {"error": ["Status is not included in the list"]}
        if verb == "POST":
            if not told.get("name"):
                return 422, {"error": ["Name can't be blank"]}
            made = {"id": f"inc{len(self.incidents)}", "incident_updates": [], "metadata": told.get("metadata", {})}
            self.incidents[made["id"]] = made | {"name": told["name"]}
            rest = str(made["id"])
        incident = self.incidents[rest]
        incident["status"] = told["status"]
        incident["incident_updates"].insert(0, {"body": told["body"], "status": told["status"]})
        return (201 if verb == "POST" else 200), incident


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    providers: Providers

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(content) if content else {}
        providers, token = self.providers, self.headers.get("authorization", "")
        reading = self.command == "GET" or self.path.rpartition("/")[2] in READING
        with providers.lock:
            providers.requests.append((self.command, self.path))
            failure = providers.fail.pop(0) if providers.fail and not reading else ""
        match failure.partition(":"):
            case ("429", _, seconds):
                return self._answer(429, {"ok": False, "error": "ratelimited"}, {"retry-after": seconds})
            case ("500" | "403" as status, _, _):
                return self._answer(int(status), {"error": "as the test wants it"})
            case ("hang", _, _):
                providers.released.wait()
                return self._cut()
            case ("cut", _, _):
                return self._cut()
        with providers.lock:
            answered = self._route(token, body)
        if failure == "lost":
            return self._cut()
        self._answer(*answered)

    do_GET = do_POST = do_PATCH = _serve

    def _route(self, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        _, first, *rest = self.path.split("/")
        if first == "slack":
            return self.providers.slack(rest[-1], token, body)
        if first == "v2":
            return self.providers.pagerduty(body)
        return self.providers.statuspage(self.command, rest[3] if len(rest) > 3 else "", token, body)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""
