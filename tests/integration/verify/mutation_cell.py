"""One mutation: a copy of a database of version 12, a service in miniature before it, and what verification finds.

For the tests, which ask what they need, and for the table (`mutation_table.py`), which asks everything.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from mutations import ONE_CASE
from one_service import CASES, EXPORT, KPIS, NORMAL, PLAYBOOK, Operator, Receiver
from stub_target import PRODUCTION, StubTarget, as_json, healthy

from toolkit.adapters.postgres import StablePoint
from toolkit.adapters.systems import Systems, connect
from toolkit.checks import CheckResult, Outcome, run_checks
from toolkit.clock import iso, utc_now, wait_until
from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.drill.schema import migrate_up, seed
from toolkit.server import PostgresServer
from toolkit.verify import verification
from toolkit.verify.background import background_checks
from toolkit.verify.baseline import database_baseline
from toolkit.verify.database import database_checks
from toolkit.verify.expectation import Expectation
from toolkit.verify.schema import schema_checks
from toolkit.verify.steady import SteadyWindow

VERSION = 12
TEMPLATE, COPY = "verify_template", "verify_copy"
WINDOW_S, REQUESTS = 0.5, 40


def make_template(cluster: PostgresServer, passwords: Mapping[str, str]) -> ServiceDatabase:
    """Version 12 with rows. One constraint is left unvalidated, as the migrations leave it."""
    database = create_database(cluster, passwords, TEMPLATE)
    with psycopg.connect(database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=2000, cases=300)
        migrate_up(conn, VERSION)
        conn.execute("UPDATE creator_settings SET incentive_days = incentive_days + 1")
        conn.execute(ONE_CASE.format("before"))
    return database


def stable_of(template: ServiceDatabase) -> StablePoint:
    """What was normal, as the toolkit would have kept it."""
    baseline = database_baseline(systems_of(template)).model_dump(mode="json")
    latencies = dict.fromkeys(PLAYBOOK.endpoints.health_checks, 1000.0)
    measured = {"steady_state": NORMAL, "latencies": latencies, "stale_variables": []}
    return StablePoint(VERSION, PRODUCTION, utc_now(), baseline | measured)


def copy_of(template: ServiceDatabase) -> ServiceDatabase:
    """A fresh one, in place of the last."""
    with psycopg.connect(template.server.url(), autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {COPY} TEMPLATE {TEMPLATE}")
    return ServiceDatabase(template.server, COPY, template.passwords)


def systems_of(database: ServiceDatabase) -> Systems:
    return systems_at(database.toolkit_url)


def systems_at(database_url: str) -> Systems:
    environment = {
        "DATABASE_URL": database_url,
        "SERVICE_URL": "http://127.0.0.1:9",
        "VERCEL_API_URL": "http://127.0.0.1:9",
        "VERCEL_TOKEN": "token-of-the-test",
        "VERCEL_PROJECT_ID": "prj_test",
        "VERCEL_TEAM_ID": "team_test",
        "WHOP_WEBHOOK_SECRET": "whop-secret-of-the-test",
        "CRON_SECRET": "cron-secret-of-the-test",
        "TOOLKIT_SANDBOX": "none-of-this-name",
    }
    return connect(PLAYBOOK, PLAYBOOK.target("sandbox", environment))


def verify(database: ServiceDatabase, stable: StablePoint | None, version: int | None = VERSION) -> list[CheckResult]:
    """Every check that only the database answers."""
    systems = systems_of(database)
    rows = stable.baseline["rows"] if stable else None
    server = systems.database.identity()
    expectation = Expectation(version, PRODUCTION, stable, rows, server)
    checks = [*database_checks(systems, expectation), *schema_checks(systems, expectation)]
    return run_checks([*checks, *(each for each in background_checks(systems) if "scheduler" not in each.name)])


def failing(results: Sequence[CheckResult]) -> set[str]:
    return {result.name for result in results if result.outcome is not Outcome.PASS}


def change(database: ServiceDatabase, statements: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        conn.execute("SET allow_system_table_mods = on")
        conn.execute(statements)


@dataclass
class World:
    """The copy with a service in miniature before it, in which all is well until a mutation comes."""

    stub: StubTarget
    systems: Systems
    database: ServiceDatabase
    expectation: Expectation
    failed: int = 0
    slow: int = 0

    def verify(self, without: Collection[str] = ()) -> list[CheckResult]:
        """The whole verification under some traffic; `without` the checks of these areas."""
        window = SteadyWindow(self.systems, WINDOW_S)
        checks = verification(self.systems, expectation=self.expectation, window=window)
        window.begin()
        wait_until(lambda: self.stub.followed, within=10, what="the log to be read")
        self.stub.log(REQUESTS - self.failed - self.slow, path="/dashboard")
        self.stub.log(self.failed, path="/dashboard", status=500)
        self.stub.log(self.slow, path="/dashboard", ms=9000.0)
        return run_checks(check for check in checks if check.area not in without)


@contextmanager
def world(template: ServiceDatabase, stable: StablePoint) -> Iterator[World]:
    """On a fresh copy."""
    database, now = copy_of(template), iso(utc_now())
    rows = stable.baseline["rows"]["recovery_cases"]
    with psycopg.connect(database.admin_url) as conn:
        recent = conn.execute(
            "SELECT count(*) FROM recovery_cases WHERE first_failure_at >= now() - interval '14 days'"
        ).fetchone()
    export = "id,status\n" + "".join(f"{n},open\n" for n in range(rows))
    stub = StubTarget(
        {
            KPIS: as_json({"cases": recent[0]}),
            CASES: as_json({"total": rows}),
            EXPORT: (200, "text/csv; charset=utf-8", export),
            "/api/scheduler/reminders": healthy(enabled=True, lastRunAt=now),
        }
    )
    stub.receive, stub.act = Receiver(database), Operator(database)
    stub.receive.reason = "expired_card"
    stub._server.handle_error = lambda *_: None  # a receiver that the database refuses is what some mutations do
    systems = stub.systems(PLAYBOOK, database)
    expectation = Expectation(VERSION, PRODUCTION, stable, stable.baseline["rows"], systems.database.identity())
    try:
        yield World(stub, systems, database, expectation)
    finally:
        systems.platform.close()
        systems.service.close()
        stub.stop()
