"""Verification is tested by mutation: each thing that goes wrong with a database must make a check fail that names it.

The same checks pass on the database that nobody touched, and on the one that the service changed as it should.
"""

import socket
from collections.abc import Iterator

import psycopg
import pytest
from mutation_cell import (
    TEMPLATE,
    VERSION,
    change,
    copy_of,
    failing,
    make_template,
    stable_of,
    systems_at,
    systems_of,
    verify,
    world,
)
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
from service_mutations import SERVICE
from stub_target import PRODUCTION

from toolkit.adapters.postgres import StablePoint
from toolkit.checks import Outcome, run_checks
from toolkit.drill.database import ServiceDatabase
from toolkit.server import PostgresServer
from toolkit.verify import actions, background, verification
from toolkit.verify.background import background_checks
from toolkit.verify.database import database_checks
from toolkit.verify.expectation import Expectation

WITHOUT = ("data", "schema")


@pytest.fixture(scope="module")
def template(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[ServiceDatabase]:
    """Every test gets a copy."""
    yield make_template(cluster, role_passwords)
    with psycopg.connect(cluster.url(), autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


@pytest.fixture(scope="module")
def stable(template: ServiceDatabase) -> StablePoint:
    point = stable_of(template)
    assert point.baseline["events"]["rows"] > 10 and len(point.baseline["quiet"]) == 3
    return point


@pytest.fixture
def database(template: ServiceDatabase) -> ServiceDatabase:
    return copy_of(template)


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


@pytest.mark.parametrize("what", SERVICE)
def test_what_is_wrong_with_the_service_fails_the_checks_that_name_it(
    template: ServiceDatabase, stable: StablePoint, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """By the checks that are not of the database's content and schema, which are tested above."""
    monkeypatch.setattr(background, "NEXT_RUN_WITHIN_S", 0.3)
    monkeypatch.setattr(actions, "OPENED_WITHIN_S", 0.3)
    mutate, named = SERVICE[what]
    with world(template, stable) as one:
        mutate(one)
        assert failing(one.verify(WITHOUT)) == named


def test_a_service_that_nobody_touched_passes_the_whole_verification(
    template: ServiceDatabase, stable: StablePoint
) -> None:
    with world(template, stable) as one:
        results = one.verify()
    assert failing(results) == set(), [r for r in results if r.outcome is not Outcome.PASS]
    assert len({result.name for result in results}) == len(results) > 50


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
    identity = next(iter(run_checks(database_checks(systems, Expectation(VERSION, PRODUCTION, stable, None))[:1])))
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
        expectation = Expectation(VERSION, PRODUCTION, stable, rows, steady_window_s=0.1)
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
