"""Verification is tested by mutation: each thing that goes wrong with a database must make a check fail that names it.

The same checks pass on the database that nobody touched, and on the one that the service changed as it should.
"""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from mutations import (
    ALLOWED,
    CODE,
    CONSTRAINTS,
    EMPTIED,
    EVENTS_OF_BEFORE,
    GRANTS,
    INDEXES,
    MUTATIONS,
    POLICIES,
    ROWS,
    TABLES,
    TYPES,
    VALIDATED,
    VIEWS,
)
from psycopg import sql

from toolkit.adapters.postgres import StablePoint
from toolkit.adapters.systems import Systems, connect
from toolkit.checks import CheckResult, Outcome, run_checks
from toolkit.clock import utc_now
from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.drill.schema import migrate_up, seed
from toolkit.playbook import load_playbook
from toolkit.server import PostgresServer
from toolkit.verify import verification
from toolkit.verify.background import background_checks
from toolkit.verify.baseline import database_baseline
from toolkit.verify.database import database_checks
from toolkit.verify.expectation import Expectation
from toolkit.verify.schema import schema_checks

PLAYBOOK = load_playbook(Path(__file__).parents[3] / "playbook.toml")
VERSION = 12


@pytest.fixture(scope="module")
def template(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[ServiceDatabase]:
    """Version 12 with rows; every test gets a copy. One constraint is left unvalidated, as the migrations leave it."""
    database = create_database(cluster, role_passwords, "verify_template")
    with psycopg.connect(database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=2000, cases=300)
        migrate_up(conn, VERSION)
        conn.execute("UPDATE creator_settings SET incentive_days = incentive_days + 1")
    yield database
    with psycopg.connect(cluster.url(), autocommit=True) as conn:
        conn.execute("DROP DATABASE verify_template WITH (FORCE)")


@pytest.fixture(scope="module")
def stable(template: ServiceDatabase) -> StablePoint:
    """What was normal, as the toolkit would have kept it."""
    baseline = database_baseline(systems_of(template))
    assert baseline.events is not None and baseline.events.rows > 10 and len(baseline.quiet) == 3
    return StablePoint(VERSION, "dpl_12", utc_now(), baseline.model_dump(mode="json"))


@pytest.fixture
def database(template: ServiceDatabase) -> Iterator[ServiceDatabase]:
    copy = ServiceDatabase(template.server, "verify_copy", template.passwords)
    with psycopg.connect(template.server.url(), autocommit=True) as conn:
        conn.execute("DROP DATABASE IF EXISTS verify_copy WITH (FORCE)")
        conn.execute("CREATE DATABASE verify_copy TEMPLATE verify_template")
    yield copy


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
    expectation = Expectation(version, "dpl_12", stable, rows, server)
    checks = [*database_checks(systems, expectation), *schema_checks(systems, expectation)]
    return run_checks([*checks, *(each for each in background_checks(systems) if "scheduler" not in each.name)])


def failing(results: Sequence[CheckResult]) -> set[str]:
    return {result.name for result in results if result.outcome is not Outcome.PASS}


def change(database: ServiceDatabase, statements: str) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        conn.execute("SET allow_system_table_mods = on")
        conn.execute(statements)


def test_a_database_that_nobody_touched_passes(database: ServiceDatabase, stable: StablePoint) -> None:
    results = verify(database, stable)
    assert failing(results) == set(), [r for r in results if r.outcome is not Outcome.PASS]
    excused = next(result for result in results if result.name == VALIDATED)
    assert excused.evidence == "1 not validated, all of them since before"


@pytest.mark.parametrize("what", ALLOWED)
def test_what_the_service_does_passes(database: ServiceDatabase, stable: StablePoint, what: str) -> None:
    change(database, ALLOWED[what])
    assert failing(verify(database, stable)) == set()


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_mutation_fails_the_checks_that_name_it(database: ServiceDatabase, stable: StablePoint, what: str) -> None:
    statements, named = MUTATIONS[what]
    change(database, statements)
    assert failing(verify(database, stable)) == named


def test_without_a_stable_point_nothing_is_passed_that_needs_one(database: ServiceDatabase) -> None:
    results = {result.name: result for result in verify(database, None)}
    unknown = {name for name, result in results.items() if result.outcome is Outcome.UNKNOWN}
    assert {TABLES, CONSTRAINTS, INDEXES, VIEWS, CODE, TYPES, POLICIES, GRANTS} <= unknown
    assert {ROWS.format("events"), EMPTIED.format("events")} <= unknown
    assert results[VALIDATED].outcome is Outcome.FAIL, "and what is unusual is not excused"
    assert EVENTS_OF_BEFORE not in results


def test_a_signature_of_another_version_is_not_compared_with(database: ServiceDatabase, stable: StablePoint) -> None:
    results = {result.name: result for result in verify(database, stable, version=11)}
    assert results[TABLES].outcome is Outcome.UNKNOWN and "no signature of version 11" in results[TABLES].evidence
    assert results["the migration version is the expected one"].outcome is Outcome.FAIL


def test_another_server_is_noticed(database: ServiceDatabase, stable: StablePoint) -> None:
    systems = systems_of(database)
    identity = next(iter(run_checks(database_checks(systems, Expectation(VERSION, "dpl_12", stable, None))[:1])))
    assert identity.outcome is Outcome.FAIL and "database verify_template was expected" in identity.evidence


def test_a_session_that_waits_for_a_lock_is_noticed(database: ServiceDatabase, stable: StablePoint) -> None:
    from toolkit.clock import wait_until

    name = "sessions are few enough and none is blocked"
    with psycopg.connect(database.owner_url) as holder, psycopg.connect(database.owner_url) as waiter:
        holder.execute("LOCK TABLE creator_settings")
        waiter.execute("SET LOCAL statement_timeout = '20s'")
        with waiter.pipeline():
            waiter.execute("SELECT 1 FROM creator_settings FOR UPDATE")
            wait_until(
                lambda: name in failing(run_checks(background_checks(systems_of(database))[:1])),
                within=10,
                what="the blocked session to be noticed",
            )
            holder.rollback()


def test_a_database_that_hangs_is_unknown_and_asked_once(stable: StablePoint) -> None:
    """A port that takes connections and says nothing, as a stopped server does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://toolkit:nothing-to-hide@127.0.0.1:{silent.getsockname()[1]}/churn"
        systems = systems_at(url)
        rows = stable.baseline["rows"]
        expectation = Expectation(VERSION, "dpl_12", stable, rows, steady_window_s=0.1)
        results = run_checks(verification(systems, expectation=expectation))
    asked = [result for result in results if result.seconds > 1 and result.area not in ("platform", "steady state")]
    assert len(asked) == 2, "once by itself, once for all the others"
    assert not [result for result in results if result.outcome is Outcome.PASS]


def test_identifiers_with_odd_names_are_only_names(database: ServiceDatabase) -> None:
    from toolkit.adapters.readings import relation

    odd = 'ev"ents; DROP TABLE events'
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE TABLE {} (id int)").format(sql.Identifier(odd)))
        assert conn.execute(sql.SQL("SELECT count(*) FROM {}").format(relation(odd))).fetchone() == (0,)
