"""Recovery cases: how they open, merge and close, and what a person may do with one.

Owns the rule that failures of one membership within 14 days are one case. Changes to a membership's cases happen one
after the other, under a lock on the membership, because two failures at once would otherwise open two cases.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.drill.service.builds import Build, category_of
from toolkit.drill.service.database import Connection, Database
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.questions import company_of
from toolkit.drill.service.request_log import note_of

MERGE_WINDOW = timedelta(days=14)

STATUS_AFTER = {"nudge": "open", "cancel": "cancelled", "terminate": "terminated"}


@dataclass(frozen=True)
class FailedPayment:
    """A payment that failed. `failed_at` is UTC."""

    company: str
    membership: str
    user: str
    reason: str
    failed_at: datetime


@dataclass(frozen=True)
class Payment:
    """A payment that succeeded."""

    company: str
    membership: str
    amount_cents: int
    currency: str


def status_after_failure(status: str) -> str:
    """A case that was won back opens again; one that a person has ended stays ended."""
    return "open" if status == "recovered" else status


class Cases:
    """What happens to cases, in the words of one build."""

    def __init__(self, environment: Environment, database: Database, build: Build) -> None:
        self._environment, self._database, self._build = environment, database, build

    async def fail(self, conn: Connection, failure: FailedPayment) -> None:
        """Open a case, or merge the failure into that of the membership which began nearest to it, before or after."""
        await _lock_membership(conn, failure.company, failure.membership)
        parameters = {**vars(failure), "category": category_of(failure.reason)}
        nearest = await (
            await conn.execute(
                """
                SELECT id, status
                FROM recovery_cases
                WHERE membership_id = %(membership)s AND company_id = %(company)s
                  AND first_failure_at BETWEEN %(failed_at)s - %(window)s AND %(failed_at)s + %(window)s
                ORDER BY greatest(first_failure_at - %(failed_at)s, %(failed_at)s - first_failure_at)
                LIMIT 1
                """,
                parameters | {"window": MERGE_WINDOW},
            )
        ).fetchone()
        if nearest is None:
            await conn.execute(self._build.open_case, parameters)
            return
        parameters |= {"case": nearest["id"], "status": status_after_failure(nearest["status"])}
        await conn.execute(self._build.merge_failure, parameters)

    async def recover(self, conn: Connection, payment: Payment) -> None:
        """Close the membership's open cases and book the amount. Without an open case nothing changes."""
        await _lock_membership(conn, payment.company, payment.membership)
        await conn.execute(
            self._build.close_cases,
            {
                "membership": payment.membership,
                "company": payment.company,
                "amount": payment.amount_cents,
                "currency": payment.currency,
            },
        )

    async def act(self, request: Request) -> Response:
        """POST /api/cases/{id}/{action}: 200 done, 404 no such case, 409 not open, 503 while processing is off."""
        case, action = request.path_params["id"], request.path_params["action"]
        if action not in STATUS_AFTER:
            return JSONResponse({"error": "not_found"}, status_code=404)
        if not self._environment.processing_enabled:
            note_of(request).message = "processing is switched off"
            return JSONResponse({"error": "processing_disabled"}, status_code=503, headers={"retry-after": "10"})
        async with self._database.transaction(company_of(request)) as conn:
            status = await self._do(conn, case, action)
        if status is None:
            return JSONResponse({"error": "not_found"}, status_code=404)
        if status != "open":
            return JSONResponse({"error": "not_open", "status": status}, status_code=409)
        return JSONResponse({"id": str(case), "action": action, "status": STATUS_AFTER[action]})

    async def _do(self, conn: Connection, case: UUID, action: str) -> str | None:
        """Act on an open case; the status that was found, None where there is no case."""
        found = await (
            await conn.execute("SELECT status FROM recovery_cases WHERE id = %(case)s FOR UPDATE", {"case": case})
        ).fetchone()
        if found is None:
            return None
        if found["status"] != "open":
            return str(found["status"])
        await conn.execute(
            """
            UPDATE recovery_cases
            SET status = %(status)s,
                attempts = attempts + %(nudges)s,
                last_nudge_at = CASE WHEN %(nudges)s > 0 THEN now() ELSE last_nudge_at END
            WHERE id = %(case)s
            """,
            {"case": case, "status": STATUS_AFTER[action], "nudges": int(action == "nudge")},
        )
        channel = "push" if action == "nudge" else None
        await conn.execute(self._build.record_operators_action, {"case": case, "action": action, "channel": channel})
        return "open"


async def _lock_membership(conn: Connection, company: str, membership: str) -> None:
    """Wait for whoever is changing this membership's cases; the lock ends with the transaction."""
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%(company)s || ':' || %(membership)s, 0))",
        {"company": company, "membership": membership},
    )
