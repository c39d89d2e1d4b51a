"""What the deployments' processes print: each line goes to the service log and to whoever is following.

It owns the service log's writing end. It must never hold up a service: a follower that does not keep up loses its
oldest lines, and a log that cannot be written is told once on standard error.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from toolkit.clock import iso, utc_now
from toolkit.drill.platform.deployments import Deployment, milliseconds

JSON = dict[str, object]
Follower = asyncio.Queue[JSON | None]

_FOLLOWER_ROWS = 1000
_LEVELS = {"debug", "error", "fatal", "info", "trace", "warning"}


class LogBook:
    """Takes lines in, hands rows out. `domain` is the production host that rows name."""

    def __init__(self, path: Path, domain: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._domain = domain
        self._followers: dict[str, set[Follower]] = {}
        self._complained = False

    def take(self, deployment_id: str, line: bytes) -> None:
        """One line of a deployment's standard output, without its newline."""
        self._write(line)
        if self._followers.get(deployment_id):
            self._hand_out(deployment_id, self._row(line.decode(errors="replace")))

    def take_failure(self, deployment: Deployment, method: str, path: str, status: int, code: str, ms: float) -> None:
        """A request that the platform had to answer itself, written as the service writes its own."""
        line: JSON = {
            "at": iso(utc_now()),
            "level": "error",
            "message": f"{method} {path} {status} {code}",
            "deployment": deployment.id,
            "build": deployment.build,
            "method": method,
            "path": path,
            "status": status,
            "ms": round(ms, 3),
            "request_id": None,
            "event_type": None,
            "error": {
                "type": code,
                "sqlstate": None,
                "constraint": None,
                "relation": None,
                "column": None,
                "message": "the platform got no answer from the deployment",
            },
        }
        self.take(deployment.id, json.dumps(line).encode())

    @contextmanager
    def follow(self, deployment_id: str) -> Iterator[Follower]:
        """Rows of this deployment from now on; None ends them."""
        follower: Follower = asyncio.Queue(_FOLLOWER_ROWS)
        self._followers.setdefault(deployment_id, set()).add(follower)
        try:
            yield follower
        finally:
            self._followers[deployment_id].discard(follower)

    def end_followers(self) -> None:
        """No rows any more, so that nobody's open stream holds up the end. Lines are still written."""
        for followers in self._followers.values():
            for follower in followers:
                _put(follower, None)

    def close(self) -> None:
        """After the last line."""
        os.close(self._fd)

    def _write(self, line: bytes) -> None:
        try:
            os.write(self._fd, line + b"\n")
        except OSError as error:
            if not self._complained:
                self._complained = True
                sys.stderr.write(f"The service log cannot be written: {error.strerror}\n")

    def _hand_out(self, deployment_id: str, row: JSON) -> None:
        for follower in self._followers.get(deployment_id, ()):
            _put(follower, row)

    def _row(self, text: str) -> JSON:
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        level = str(told.get("level", "info"))
        return {
            "level": level if level in _LEVELS else "info",
            "message": text,
            "messageTruncated": False,
            "rowId": uuid4().hex,
            "source": "serverless",
            "timestampInMs": milliseconds(utc_now()),
            "domain": self._domain,
            "requestMethod": str(told.get("method") or ""),
            "requestPath": str(told.get("path") or ""),
            "responseStatusCode": int(told.get("status") or 0),
        }


def delimiter_row(domain: str, minutes: int) -> JSON:
    """The vendor's last row when a stream has lasted as long as it may."""
    return {
        "level": "error",
        "message": f"Exceeded query duration limit of {minutes} minutes",
        "messageTruncated": False,
        "rowId": "",
        "source": "delimiter",
        "timestampInMs": milliseconds(utc_now()),
        "domain": domain,
        "requestMethod": "",
        "requestPath": "",
        "responseStatusCode": 0,
    }


def _put(follower: Follower, row: JSON | None) -> None:
    if follower.full():
        follower.get_nowait()
    follower.put_nowait(row)
