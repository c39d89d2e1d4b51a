"""Deployments of the service against schemas of every version: what really happens, and what is recorded of it.

The service's own application runs in this process, as one build's role, on a copy of one version's database. It writes
its statement log as in a sandbox, and the server records its queries by its role.
"""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.adapters.webhook import WEBHOOK_PATH, EventType, WebhookEvent, webhook_headers
from toolkit.clock import utc_now
from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.drill.service.app import create_app
from toolkit.drill.service.environment import Environment
from toolkit.rollback.pair.evidence import Evidence
from toolkit.rollback.pair.queries import recorded_queries
from toolkit.rollback.pair.standing_in import read_application
from toolkit.rollback.pair.statement_log import read_log
from toolkit.server import PostgresServer
from toolkit.verify.fingerprints import SchemaSignature, schema_signature

SECRET, CRON = SecretStr("a-secret-for-webhooks"), "a-secret-for-cron"
SCHEMAS = ("public", "pgboss")
REASONS = ("card_declined", "insufficient_funds", "expired_card", "authentication_required")

_numbers = itertools.count(1)


@dataclass
class Versions:
    """One database for each schema version on one server, made when it is first asked for."""

    server: PostgresServer
    passwords: dict[str, str]
    templates: dict[int, ServiceDatabase] = field(default_factory=dict)
    failing: dict[int, set[str]] = field(default_factory=dict)

    def template(self, version: int) -> ServiceDatabase:
        """That version with some rows, which nobody writes to."""
        if version not in self.templates:
            made = create_database(self.server, self.passwords, f"pair_v{version}_{next(_numbers)}")
            with psycopg.connect(made.owner_url) as conn:
                migrate_up(conn, 8)
                seed(conn, seed=1, events=200, cases=60)
                for down in (file for v, file in _downs() if version < v <= 8):
                    conn.execute(down.read_bytes())
                conn.commit()
                migrate_up(conn, max(version, 8))
            self.templates[version] = made
        return self.templates[version]

    @contextmanager
    def empty(self, version: int) -> Iterator[ServiceDatabase]:
        """That version without rows, as migrations build it."""
        made = create_database(self.server, self.passwords, f"pair_empty_{version}_{next(_numbers)}")
        try:
            with psycopg.connect(made.owner_url) as conn:
                migrate_up(conn, version)
            yield made
        finally:
            with psycopg.connect(self.server.url(), autocommit=True) as conn:
                conn.execute(f"DROP DATABASE {made.name} WITH (FORCE)")

    @contextmanager
    def database(self, version: int) -> Iterator[ServiceDatabase]:
        """A database of its own at that version, on a server whose record has room for what is asked there."""
        template, name = self.template(version), f"pair_copy_{next(_numbers)}"
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            conn.execute("SELECT pg_stat_statements_reset()")  # other tests fill it, and the rarest would be forgotten
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template.name} OWNER churn_owner")
        try:
            yield ServiceDatabase(self.server, name, self.passwords)
        finally:
            with psycopg.connect(self.server.url(), autocommit=True) as conn:
                conn.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def signature(self, version: int) -> SchemaSignature:
        with copy_of(self.template(version)).reading() as conn:
            return schema_signature(conn, SCHEMAS)

    def drop(self) -> None:
        with psycopg.connect(self.server.url(), autocommit=True) as conn:
            for made in self.templates.values():
                conn.execute(f"DROP DATABASE {made.name} WITH (FORCE)")


def _downs() -> list[tuple[int, Path]]:
    files = sorted(MIGRATIONS.glob("*.down.sql"), reverse=True)
    return [(int(file.name[:3]), file) for file in files]


def copy_of(database: ServiceDatabase) -> Database:
    """As a scratch server gives it: the superuser's connection."""
    return Database(SecretStr(database.admin_url), target="copy")


def deployment_of(build: int) -> str:
    return f"dpl_{build}"


def serve(database: ServiceDatabase, build: int, log: Path | None = None) -> set[str]:
    """Let a build serve one of each kind of request; what failed, by path and by the failure's reason."""
    return asyncio.run(_serve(database, build, log))


def recorded(versions: Versions, build: int, folder: Path) -> Evidence:
    """What is known of a build that ran on the schema it was built for."""
    with versions.database(build) as home:
        serve(home, build, folder)
        return evidence_of(home, build, folder)


def broken(versions: Versions, build: int, version: int) -> set[str]:
    """What fails on that schema and not on the one that the build was made for, where build 9 fails too."""
    if build not in versions.failing:
        with versions.database(build) as home:
            versions.failing[build] = serve(home, build)
    with versions.database(version) as there:
        return serve(there, build) - versions.failing[build]


def evidence_of(home: ServiceDatabase, build: int, folder: Path | None = None) -> Evidence:
    known = Database(SecretStr(home.toolkit_url), target="test")
    with known.reading() as conn:
        application = read_application(conn, f"app_b{build}")
    queries = recorded_queries(known, deployment_of(build), f"app_b{build}")
    requests = read_log(folder, deployment_of(build)) if folder else []
    return Evidence(tuple(queries), tuple(requests), application)


async def _serve(database: ServiceDatabase, build: int, log: Path | None) -> set[str]:
    environment = Environment(
        listen_fd=0,
        database_url=database.url(f"app_b{build}"),
        webhook_secret=SECRET.get_secret_value(),
        cron_secret=CRON,
        build=build,
        deployment=deployment_of(build),
        processing_enabled=True,
        scheduler_enabled=True,
        statement_log=str(log) if log else "",
    )
    app = create_app(environment)
    failed = set()
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            case = _open_case(database)
            for name, request in _requests(client, case):
                answer = await client.send(request)
                retried = answer.headers["content-type"] == "application/json" and answer.json().get("failed", 0)
                if answer.status_code >= 500 or retried:
                    failed.add(name)
    return failed


def _open_case(database: ServiceDatabase) -> str:
    with psycopg.connect(database.admin_url) as conn:
        row = conn.execute("SELECT id FROM recovery_cases WHERE status = 'open' ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    return str(row[0])


def _requests(client: httpx.AsyncClient, case: str) -> Iterator[tuple[str, httpx.Request]]:
    for reason in REASONS:
        yield f"merge {reason}", _webhook(client, "payment_failed", reason, "mem_merging")
        yield f"open {reason}", _webhook(client, "payment_failed", reason, f"mem_{next(_numbers)}")
    yield "close", _webhook(client, "payment_succeeded", None, "mem_merging")
    for path in ("/api/dashboard/kpis", "/api/dashboard/cases", "/api/cases/export.csv", "/dashboard", "/settings"):
        yield path, client.build_request("GET", path)
    yield "health", client.build_request("GET", "/api/health?detailed=true")
    yield "nudge", client.build_request("POST", f"/api/cases/{case}/nudge")
    bearer = {"authorization": f"Bearer {CRON}"}
    yield "clean up", client.build_request("POST", "/api/cleanup/events", headers=bearer)
    yield "remind", client.build_request("POST", "/api/scheduler/reminders", headers=bearer)


def _webhook(client: httpx.AsyncClient, type: EventType, reason: str | None, member: str) -> httpx.Request:
    number, now = next(_numbers), utc_now()
    sent = WebhookEvent(
        type=type,
        id=f"evt_pair_{number}",
        payment_id=f"pay_{number}",
        membership_id=member,
        user_id="user_of_nobody",
        company_id="biz_00",
        amount=1900,
        created_at=now - timedelta(seconds=1),
        failure_reason=reason,
    )
    body = sent.body()
    headers = webhook_headers(type, body, SECRET, f"req-{number}", now)
    return client.build_request("POST", WEBHOOK_PATH, content=body, headers=headers)
