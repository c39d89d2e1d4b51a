"""One deployment of the service for a test: started as the platform starts it, asked over a real socket."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from pydantic import SecretStr

from toolkit.adapters.webhook import WEBHOOK_PATH, EventType, WebhookEvent, webhook_headers
from toolkit.clock import utc_now, wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.lifeline import Lifeline, spawn

SECRET, CRON_SECRET = SecretStr("the-webhooks-secret"), "the-crons-secret"
CRON = {"authorization": f"Bearer {CRON_SECRET}"}
MEMBER = "user_who_is_nobodys_business"

_numbers = itertools.count(1)


def event(type: EventType = "payment_failed", **changes: Any) -> WebhookEvent:
    """A webhook of a membership of its own, unless told otherwise."""
    number = next(_numbers)
    reason = "card_declined" if type == "payment_failed" else None
    fields: dict[str, Any] = {
        "id": f"evt_{number}",
        "payment_id": f"pay_{number}",
        "membership_id": f"mem_{number}",
        "user_id": MEMBER,
        "company_id": "biz_00",
        "amount": 1900,
        "created_at": utc_now(),
        "failure_reason": reason,
    }
    return WebhookEvent(type=type, **(fields | changes))


@dataclass
class LiveService:
    """A running deployment. `client` asks it; `log` is its standard output."""

    process: "subprocess.Popen[bytes]"
    client: httpx.Client
    log: Path

    def send(self, sent: WebhookEvent, **headers: str) -> httpx.Response:
        """Deliver a webhook, correctly signed unless a header says otherwise."""
        body = sent.body()
        written = webhook_headers(sent.type, body, SECRET, f"req-{sent.id}", utc_now())
        return self.client.post(WEBHOOK_PATH, content=body, headers=written | headers)

    def remind(self) -> dict[str, Any]:
        """Call the scheduler as the cron does; what it answers."""
        answer = self.client.post("/api/scheduler/reminders", headers=CRON)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def line_of(self, sent: WebhookEvent) -> dict[str, Any]:
        """What it logged of that webhook, which may be a moment after it has answered."""
        wanted = f"req-{sent.id}"
        return wait_until(
            lambda: next((line for line in self.lines() if line.get("request_id") == wanted), None),
            within=20,
            what="the line to be logged",
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def waiting(conn: psycopg.Connection) -> list[int]:
    """The server processes that wait for a lock in this database."""
    rows = conn.execute(
        """
        SELECT DISTINCT pid
        FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
        WHERE NOT granted AND datname = current_database()
        """
    ).fetchall()
    return [pid for (pid,) in rows]


Deploy = Callable[..., LiveService]


@contextmanager
def live_service(
    database: ServiceDatabase, build: int, lifeline: Lifeline, log: Path, **variables: str
) -> Iterator[LiveService]:
    """Start a deployment of `build`; end it, and check that it ended in order."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        environment = {
            "PATH": os.environ["PATH"],
            "LISTEN_FD": str(listening.fileno()),
            "DATABASE_URL": database.url(f"app_b{build}"),
            "WHOP_WEBHOOK_SECRET": SECRET.get_secret_value(),
            "CRON_SECRET": CRON_SECRET,
            "BUILD": str(build),
            "DEPLOYMENT_ID": f"dpl_{build}",
            "PROCESSING_ENABLED": "true",
            "SCHEDULER_ENABLED": "true",
        }
        with log.open("ab") as output:
            process = spawn(
                [sys.executable, "-m", "toolkit.drill.service"],
                lifeline=lifeline,
                env=environment | variables,
                pass_fds=(listening.fileno(),),
                stdout=output,
            )
    with httpx.Client(base_url=address, timeout=10) as client:
        try:
            assert client.get("/api/health").status_code == 200
            yield LiveService(process, client, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
