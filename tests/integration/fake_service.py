"""A service in miniature for the platform's tests: it tells which build it is, and fails when asked. No database."""

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toolkit import lifeline

TOLD = ("BUILD", "DEPLOYMENT_ID", "PROCESSING_ENABLED", "K")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        path, _, query = self.path.partition("?")
        if path == "/crash":
            os._exit(3)
        if path == "/slow":
            time.sleep(float(query))
        told: dict[str, Any] = {name: os.environ.get(name) for name in TOLD}
        if path == "/echo":
            told |= {
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "method": self.command,
                "path": self.path,
                "body": body.decode(),
            }
        self._tell(path, 200)
        self._send(200, json.dumps(told).encode())

    do_GET = do_POST = do_PUT = _serve

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(content)

    def _tell(self, path: str, status: int) -> None:
        line = {
            "level": "info",
            "message": path,
            "deployment": os.environ["DEPLOYMENT_ID"],
            "build": os.environ["BUILD"],
        }
        line |= {"method": self.command, "path": path, "status": status}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main() -> None:
    lifeline.tie()
    if os.environ["BUILD"] == os.environ.get("DIES_AT_START"):
        sys.exit("this build dies at its start")
    server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(os.environ["LISTEN_FD"]))
    server.server_address = server.socket.getsockname()
    server.server_name, server.server_port = "localhost", server.server_address[1]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # at once: whoever ends it must have waited for its requests
    server.serve_forever()


main()
