"""The health endpoints, with the oddities of the real ones, because whoever watches the service must live with them.

`/api/health` alone says that the process lives and asks nobody. `webhooks` stays healthy when no event comes in:
silence must be found in the data. Every question to the database has LIMIT_S, and there is one of a kind at a time, so
that probes can neither hang nor use up the pool while the database does. While writes are frozen it stays healthy, as
it reads, and says `maintenance`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolkit.clock import iso, utc_now
from toolkit.drill.service.database import EVERY_COMPANY, Connection, Database
from toolkit.drill.service.environment import Environment
from toolkit.drill.service.reminders import scheduler_facts

LIMIT_S, POOL_WAIT_S = 2.5, 2.0
CRITICAL_TABLES = ("events", "recovery_cases", "creator_settings")
FAILED_JOBS_ALLOWED = 10
WRITTEN = {"db": "events", "webhooks": "events", "queue": "pgboss.job", "scheduler": "pgboss.job"}

Facts = dict[str, object]
Question = Callable[[Connection], Awaitable[Facts]]


class Health:
    """/api/health and what is below it, and GET /api/scheduler/reminders."""

    def __init__(self, environment: Environment, database: Database) -> None:
        self._environment, self._database = environment, database
        self._began = time.monotonic()
        self._probes: dict[str, asyncio.Task[Facts]] = {}
        self._questions: Mapping[str, Question] = {
            "db": _database_facts,
            "webhooks": _webhook_facts,
            "queue": _queue_facts,
            "scheduler": scheduler_facts,
        }

    async def general(self, request: Request) -> Response:
        """GET /api/health, `?type=db|webhooks|queue|external`, `?detailed=true` for all of these at once."""
        kind = request.query_params.get("type")
        if kind == "external":
            return self._answer(self._external())
        if kind is not None and kind not in ("db", "webhooks", "queue"):
            return JSONResponse({"error": "bad_request", "parameter": "type"}, status_code=400)
        if kind is not None:
            return self._answer(await self._ask(kind))
        if request.query_params.get("detailed") != "true":
            return self._answer({"status": "healthy"})
        kinds = ("db", "webhooks", "queue")
        answers = await asyncio.gather(*(self._ask(kind) for kind in kinds))
        checks = dict(zip(kinds, answers, strict=True)) | {"external": self._external()}
        healthy = all(check["status"] == "healthy" for check in checks.values())
        frozen = any(check.get("maintenance") for check in checks.values())
        told = {"status": "healthy" if healthy else "unhealthy", "checks": checks}
        return self._answer(told | {"maintenance": frozen or self._environment.maintenance})

    async def db(self, _request: Request) -> Response:
        """503 when one of the three critical tables is missing or there is no connection."""
        return self._answer(await self._ask("db"))

    async def webhooks(self, _request: Request) -> Response:
        """Healthy with zero recent events, as long as they can be counted."""
        return self._answer(await self._ask("webhooks"))

    async def scheduler(self, _request: Request) -> Response:
        """Healthy as long as its queue can be read; when it last ran is for the reader to judge."""
        facts = await self._ask("scheduler")
        return self._answer(facts | {"enabled": self._environment.scheduler_enabled})

    def _external(self) -> Facts:
        """What other services would need: the stand-in has nobody to ask, only secrets to have."""
        return {"status": "healthy", "services": {"whop": "configured", "cron": "configured"}}

    def _answer(self, facts: Facts) -> Response:
        body = {
            "status": facts["status"],
            "timestamp": iso(utc_now()),
            "uptime": round(time.monotonic() - self._began, 1),
            "version": f"0.{self._environment.build}.0",
            "environment": "production",
            "maintenance": self._environment.maintenance,
        }
        return JSONResponse(body | facts, status_code=200 if facts["status"] == "healthy" else 503)

    async def _ask(self, kind: str) -> Facts:
        """The facts of a kind within LIMIT_S; unhealthy where there are none."""
        probe = self._probes.get(kind)
        if probe is None or probe.done():
            probe = self._probes[kind] = asyncio.create_task(self._facts(kind))
            probe.add_done_callback(_look_at_the_end)
        done, _ = await asyncio.wait({probe}, timeout=LIMIT_S)
        if not done:
            probe.cancel()  # it may take its time about that; we do not wait
        if not done or probe.cancelled():
            return {"status": "unhealthy", "error": "no answer in time"}
        error = probe.exception()
        if isinstance(error, psycopg.OperationalError):
            return {"status": "unhealthy", "error": "no connection"}
        if isinstance(error, psycopg.Error):
            return {"status": "unhealthy", "error": f"cannot be read ({error.sqlstate})"}
        return probe.result()

    async def _facts(self, kind: str) -> Facts:
        began = time.monotonic()
        async with self._database.transaction(EVERY_COMPANY, wait_s=POOL_WAIT_S) as conn:
            facts = await self._questions[kind](conn)
            facts["maintenance"] = self._environment.maintenance or not await _writable(conn, WRITTEN[kind])
        if kind == "db":
            facts["connectionTime"] = round((time.monotonic() - began) * 1000, 1)
        return {"status": "healthy"} | facts


def _look_at_the_end(probe: "asyncio.Task[Facts]") -> None:
    """An error that nobody waited for is known already; asyncio need not complain."""
    if not probe.cancelled():
        probe.exception()


async def _writable(conn: Connection, table: str) -> bool:
    """Whether we may add rows to it: not while writes are frozen. A table that is missing is another's business."""
    row = await (
        await conn.execute(
            "SELECT has_table_privilege(to_regclass(%(table)s), 'INSERT') IS NOT FALSE AS may", {"table": table}
        )
    ).fetchone()
    return bool(row and row["may"])


async def _database_facts(conn: Connection) -> Facts:
    row = await (
        await conn.execute(
            "SELECT count(to_regclass(name)) AS tables FROM unnest(%(names)s::text[]) AS critical (name)",
            {"names": list(CRITICAL_TABLES)},
        )
    ).fetchone()
    tables = row["tables"] if row else 0
    return {"status": "healthy" if tables == len(CRITICAL_TABLES) else "unhealthy", "tablesCount": tables}


async def _webhook_facts(conn: Connection) -> Facts:
    row = await (
        await conn.execute(
            """
            SELECT count(*) AS recent, max(created_at) AS last
            FROM events
            WHERE created_at > now() - interval '1 hour'
            """
        )
    ).fetchone()
    assert row is not None
    return {
        "recentEventsCount": row["recent"],
        "recentEventsTimeframe": "1 hour",
        "lastEventAt": _moment(row["last"]),
    }


async def _queue_facts(conn: Connection) -> Facts:
    """Unhealthy with more than FAILED_JOBS_ALLOWED failed jobs."""
    rows = await (await conn.execute("SELECT state::text, count(*) AS jobs FROM pgboss.job GROUP BY state")).fetchall()
    jobs = {row["state"]: row["jobs"] for row in rows}
    row = await (
        await conn.execute(
            """
            SELECT min(start_after) FILTER (WHERE state < 'active' AND start_after <= now()) AS oldest_ready,
                   count(*) FILTER (WHERE state = 'active' AND started_on + expire_in < now()) AS stuck
            FROM pgboss.job
            WHERE state <= 'active'
            """
        )
    ).fetchone()
    assert row is not None
    healthy = jobs.get("failed", 0) <= FAILED_JOBS_ALLOWED
    return {
        "status": "healthy" if healthy else "unhealthy",
        "jobs": jobs,
        "oldestReadyAt": _moment(row["oldest_ready"]),
        "stuckJobs": row["stuck"],
    }


def _moment(value: datetime | None) -> str | None:
    return iso(value) if value else None
