"""Assessment while a part of the target is stopped, refuses or fails: it ends in time; what was not seen is unknown.

Each is given less time than any of its own limits, so that what ends it is the deadline, and says so.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from stub_target import StubTarget

from toolkit.adapters import readings
from toolkit.adapters.postgres import Connection, Database
from toolkit.adapters.readings import Activity, event_flow
from toolkit.adapters.systems import Systems
from toolkit.assess import views
from toolkit.assess.standing import standing
from toolkit.assess.status import status_checks
from toolkit.checks import CheckResult, Outcome, run_checks
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up
from toolkit.playbook import load_playbook
from toolkit.server import PostgresServer

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")
WITHIN_S = 1.0
IN_TIME = f"no answer within {WITHIN_S:g} s"
ASKED_OF_THE_DATABASE = ("sessions and locks", "events come in", "migrations", "job queue")


@pytest.fixture
def stub() -> Iterator[StubTarget]:
    stub = StubTarget()
    yield stub
    stub.stop()


@pytest.fixture
def systems(stub: StubTarget, churn_database: ServiceDatabase) -> Iterator[Systems]:
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
    systems = stub.systems(PLAYBOOK, churn_database)
    yield systems
    systems.platform.close()
    systems.service.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """`kill -STOP`: it keeps its sockets, and does not answer."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def looked(systems: Systems) -> dict[str, CheckResult]:
    seen = views.look(systems, sample_s=0.1, within_s=WITHIN_S)
    return {each.name: each for each in run_checks(status_checks(seen, systems.playbook, systems.target))}


def unknown_of(found: dict[str, CheckResult], names: tuple[str, ...], why: str) -> None:
    for name in names:
        assert (found[name].outcome, found[name].evidence) == (Outcome.UNKNOWN, why), name


def test_a_stopped_server_hides_the_database_and_nothing_else(systems: Systems, cluster: PostgresServer) -> None:
    pid = cluster.postmaster_pid()
    assert pid is not None
    with stopped(pid):
        found = looked(systems)
    assert (found["database answers"].outcome, found["database answers"].evidence) == (Outcome.FAIL, IN_TIME)
    unknown_of(found, ASKED_OF_THE_DATABASE, IN_TIME)
    assert found["/api/health"].outcome is Outcome.PASS
    assert "dpl_8" in found["production deployment"].evidence
    assert looked(systems)["database answers"].outcome is Outcome.PASS, "it goes on afterwards"


def test_a_server_that_stops_half_way_has_told_what_it_told(systems: Systems, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def stop(conn: Connection) -> Activity:
        pids.append(conn.info.backend_pid)
        os.kill(pids[0], signal.SIGSTOP)
        conn.execute("SELECT 1")
        raise AssertionError("it answered")

    monkeypatch.setattr(views, "activity", stop)
    try:
        found = looked(systems)
    finally:
        os.kill(pids[0], signal.SIGCONT)
    assert found["database answers"].outcome is Outcome.PASS
    assert "version 8" in found["migrations"].evidence
    unknown_of(found, ("sessions and locks", "events come in", "job queue"), IN_TIME)


def test_a_refused_connection_is_told_as_such(systems: Systems) -> None:
    nowhere = Database(SecretStr("postgresql://nobody@127.0.0.1:1/none"), target="sandbox")
    found = looked(replace(systems, database=nowhere))
    assert found["database answers"].outcome is Outcome.FAIL and "refused" in found["database answers"].evidence
    unknown_of(found, ASKED_OF_THE_DATABASE, found["database answers"].evidence)


def test_a_platform_that_answers_500_hides_deployments_and_requests(stub: StubTarget, systems: Systems) -> None:
    stub.platform_down = True
    found = looked(systems)
    unknown_of(found, ("production deployment", "requests succeed"), IN_TIME)
    whole = standing(systems, within_s=5)
    seen = {each.name: each for each in whole.results}["production deployment"]
    assert seen.outcome is Outcome.UNKNOWN and "500" in seen.evidence, "with time enough it says what it met"
    assert found["database answers"].outcome is Outcome.PASS


def test_half_of_it_silent_leaves_the_other_half(stub: StubTarget, systems: Systems, cluster: PostgresServer) -> None:
    """One health endpoint, the list of deployments and the database hang; production and the rest answer."""
    stub.hangs |= {"/api/health/db", "/v6/deployments"}
    pid = cluster.postmaster_pid()
    assert pid is not None
    with stopped(pid):
        found = looked(systems)
        standing_now = {each.name: each for each in standing(systems, within_s=WITHIN_S).results}
    assert found["/api/health"].outcome is found["/api/health/webhooks"].outcome is Outcome.PASS
    assert (found["/api/health/db"].outcome, found["/api/health/db"].evidence) == (
        Outcome.FAIL,
        f"no answer: {IN_TIME}",
    )
    assert "dpl_8" in found["production deployment"].evidence
    unknown_of(standing_now, ("writes are not frozen", "nobody else is at work", "no rollback is unfinished"), IN_TIME)


def test_a_large_table_without_an_index_is_read_at_its_end_only(
    churn_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "FEW_PAGES", 4)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("CREATE TABLE arrivals AS SELECT now() + interval '1 day' AS at, repeat('x', 100) AS filling")
        conn.execute(
            """
            INSERT INTO arrivals
            SELECT now() - make_interval(secs => 5000 - n), repeat('x', 100)
            FROM generate_series(1, 5000) AS n
            """
        )
        at_its_end = event_flow(conn, "arrivals", "at", 40)
        assert at_its_end.newest_age_s is not None and 0 <= at_its_end.newest_age_s < 60, "the first row was read"
        assert (at_its_end.events, at_its_end.quarters) == (40, 4)
        conn.execute("CREATE INDEX ON arrivals (at)")
        by_its_index = event_flow(conn, "arrivals", "at", 40)
        assert by_its_index.newest_age_s is not None and by_its_index.newest_age_s < 0
        assert (by_its_index.events, by_its_index.quarters) == (1, 1)
        monkeypatch.setattr(readings, "COUNTED", 25)
        conn.execute("DELETE FROM arrivals WHERE at > now()")
        assert event_flow(conn, "arrivals", "at", 40).events == 25
