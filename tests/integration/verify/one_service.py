"""A service of which one thing can go wrong at a time, what was normal before, and results by name."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from stub_target import PRODUCTION, SECRET, as_json

from toolkit.adapters.postgres import StablePoint
from toolkit.checks import CheckResult, Outcome
from toolkit.clock import utc_now
from toolkit.drill.database import ServiceDatabase
from toolkit.playbook import load_playbook
from toolkit.verify.expectation import Expectation

PLAYBOOK = load_playbook(Path(__file__).parents[3] / "playbook.toml")
KPIS, CASES, EXPORT = PLAYBOOK.endpoints.data
EXPORTED = ("text/csv; charset=utf-8", "id,status\n" + "".join(f"{n},open\n" for n in range(3)))
NORMAL = {"window_s": 8, "requests": 200, "failed": 0, "error_rate": 0.0, "p50_ms": 4, "p95_ms": 9, "rate_per_s": 25}
TAKEN = "signed webhooks are taken, recorded once, and removed again"
REFUSED, PROCESSED = "a webhook with a wrong signature is refused", "webhooks are processed"
PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN


class Receiver:
    """The service's side of the webhook. `before` and `after` are what a test lets go wrong around the recording."""

    def __init__(self, database: ServiceDatabase) -> None:
        self.database = database
        self.checks_signature, self.secret = True, SECRET
        self.rows = 1
        self.reason: str | None = None  # that is recorded for every failure, for a schema that knows only some
        self.after: Callable[[psycopg.Connection, dict[str, Any]], None] = lambda _conn, _event: None
        self.refuses: set[str] = set()

    def __call__(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        expected = "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        if self.checks_signature and headers["x-whop-signature"] != expected:
            return as_json({"error": "invalid_signature"}, 401)
        event = json.loads(body)
        if event["data"]["failure_reason"] in self.refuses:
            return as_json({"error": "internal_error"}, 500)
        with psycopg.connect(self.database.owner_url) as conn:
            self._record(conn, event)
            self.after(conn, event)
        return as_json({"received": True})

    def _record(self, conn: psycopg.Connection, event: dict[str, Any]) -> None:
        data = event["data"] | ({"failure_reason": self.reason} if self.reason else {})
        for _ in range(self.rows):
            conn.execute(
                """
                INSERT INTO events (whop_event_id, type, membership_id, company_id, payload)
                VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
                """,
                (event["id"], event["type"], data["membership_id"], data["company_id"], json.dumps(event)),
            )
        if event["type"] == "payment_failed":
            conn.execute(
                """
                INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)
                SELECT %(company_id)s, %(membership_id)s, %(user_id)s, %(failure_reason)s, now()
                WHERE NOT EXISTS (SELECT FROM recovery_cases WHERE membership_id = %(membership_id)s)
                """,
                data,
            )


@dataclass
class Operator:
    """The service's side of a manual action. `changes` and `records` are what a test lets go wrong."""

    database: ServiceDatabase
    changes: bool = True
    records: bool = True
    status: int = 200

    def __call__(self, path: str) -> tuple[int, str, str]:
        *_, case, action = path.split("/")
        status = {"nudge": "open", "cancel": "cancelled", "terminate": "terminated"}[action]
        with psycopg.connect(self.database.owner_url) as conn:
            if self.changes:
                conn.execute(
                    "UPDATE recovery_cases SET status = %s, last_nudge_at = now() WHERE id::text = %s", (status, case)
                )
            if self.records:
                conn.execute("INSERT INTO recovery_actions (case_id, type) VALUES (%s, %s)", (case, action))
        return as_json({"status": status}, self.status)


def expecting(**baseline: Any) -> Expectation:
    stable = StablePoint(8, PRODUCTION, utc_now(), {"steady_state": NORMAL} | baseline)
    return Expectation(8, PRODUCTION, stable, None, steady_window_s=0.5)


def by_name(results: list[CheckResult]) -> dict[str, CheckResult]:
    return {result.name: result for result in results}


def bad(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: result.evidence for name, result in results.items() if result.outcome is not PASS}
