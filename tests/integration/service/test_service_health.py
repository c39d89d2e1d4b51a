"""The service when its database is away, hangs or lacks a table; its health's oddities; and how its process ends."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from live_service import Deploy, LiveService, event, live_service, waiting

from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up
from toolkit.lifeline import Lifeline
from toolkit.server import PostgresServer

# The service promises an answer in about 3 s, and a pool left to itself waits for 30; between them a busy machine.
PROMPT_S = 15.0


def answered(service: LiveService, path: str) -> tuple[int, float]:
    """A path's status and how many seconds it took."""
    began = time.monotonic()
    return service.client.get(path).status_code, time.monotonic() - began


def is_healthy(service: LiveService) -> bool:
    return service.client.get("/api/health/db").status_code == 200


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """The server takes connections and never says a word, as behind a broken network."""
    pid = server.postmaster_pid()
    assert pid is not None
    postmaster = psutil.Process(pid)
    stopped = [postmaster]
    postmaster.suspend()
    try:
        for child in postmaster.children():
            child.suspend()
            stopped.append(child)
        yield
    finally:
        for process in reversed(stopped):
            process.resume()


def test_health_with_its_oddities(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    client = deploy(8).client
    general = client.get("/api/health").json()
    assert {name: general[name] for name in ("status", "version", "environment")} == {
        "status": "healthy",
        "version": "0.8.0",
        "environment": "production",
    }
    silent = client.get("/api/health/webhooks")
    assert (silent.status_code, silent.json()["recentEventsCount"]) == (200, 0), "silence is healthy here"
    assert client.get("/api/health/db").json()["tablesCount"] == 3
    assert client.get("/api/health?detailed=true").json()["checks"].keys() == {"db", "webhooks", "queue", "external"}
    for kind in ("db", "webhooks", "queue", "external"):
        assert client.get("/api/health", params={"type": kind}).json()["status"] == "healthy"
    assert client.get("/api/health?type=moon").status_code == 400


def test_a_missing_table_and_failed_jobs_are_unhealthy(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    client = deploy(8).client
    owner.execute("ALTER TABLE creator_settings RENAME TO creator_settings_gone")
    answer = client.get("/api/health/db")
    assert (answer.status_code, answer.json()["status"], answer.json()["tablesCount"]) == (503, "unhealthy", 2)
    owner.execute("ALTER TABLE creator_settings_gone RENAME TO creator_settings")
    for failed, status in ((10, 200), (1, 503)):
        owner.execute(
            """
            INSERT INTO pgboss.job (name, state) SELECT 'reminders', 'failed' FROM generate_series(1, %s)
            """,
            [failed],
        )
        assert client.get("/api/health?type=queue").status_code == status
    assert client.get("/api/health?detailed=true").status_code == 503
    assert client.get("/api/health").status_code == 200


@pytest.mark.parametrize("table", ["events", "pgboss.job"])
def test_what_cannot_be_read_is_unhealthy(owner: psycopg.Connection, deploy: Deploy, table: str) -> None:
    migrate_up(owner, 8)
    client = deploy(8).client
    owner.execute(f"REVOKE ALL ON {table} FROM churn_app")
    kind = "webhooks" if table == "events" else "queue"
    answer = client.get(f"/api/health?type={kind}")
    assert (answer.status_code, answer.json()["error"]) == (503, "cannot be read (42501)")


def test_the_database_stops_and_comes_back(owner: psycopg.Connection, deploy: Deploy, cluster: PostgresServer) -> None:
    migrate_up(owner, 8)
    service, kept = deploy(8), event()
    assert service.send(event()).status_code == 200
    cluster.stop(immediately=True)
    try:
        for path in ("/api/health/db", "/api/health/webhooks", "/api/health?detailed=true", "/api/dashboard/kpis"):
            status, seconds = answered(service, path)
            assert status == 503 and seconds < PROMPT_S, path
        assert answered(service, "/api/health")[0] == 200
        refused = service.send(kept)
        assert (refused.status_code, refused.json()) == (503, {"error": "database_unavailable"})
    finally:
        cluster.start()
    wait_until(lambda: is_healthy(service), within=20, what="the service to find its database again")
    assert service.send(kept).json() == {"received": True, "duplicate": False}


def test_nobody_meets_a_connection_from_before_a_restart(
    owner: psycopg.Connection, deploy: Deploy, cluster: PostgresServer
) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    assert service.send(event()).status_code == 200
    cluster.stop(immediately=True)
    cluster.start()
    began = time.monotonic()
    assert [service.send(event()).status_code for _ in range(10)] == [200] * 10
    assert time.monotonic() - began < 2.5, "dead connections are thrown away, not waited for"


def test_a_service_starts_without_its_database(
    churn_database: ServiceDatabase, deploy: Deploy, cluster: PostgresServer
) -> None:
    cluster.stop(immediately=True)
    try:
        service = deploy(8)
        assert answered(service, "/api/health/db")[0] == 503
    finally:
        cluster.start()
    with psycopg.connect(churn_database.owner_url, autocommit=True) as owner:
        migrate_up(owner, 8)
    wait_until(lambda: is_healthy(service), within=10, what="the service to find its database")


def test_health_checks_outlast_a_database_that_hangs(
    owner: psycopg.Connection, deploy: Deploy, cluster: PostgresServer
) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    assert service.send(event()).status_code == 200
    with frozen(cluster), ThreadPoolExecutor(12) as threads:
        for status, seconds in threads.map(lambda _: answered(service, "/api/health/db"), range(12)):
            assert status == 503 and seconds < PROMPT_S
        assert answered(service, "/api/health")[0] == 200
    wait_until(lambda: is_healthy(service), within=15, what="the service to find its database again")
    assert service.send(event()).status_code == 200


def test_health_checks_of_a_kind_wait_together_on_one_connection(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    with ThreadPoolExecutor(6) as threads, owner.transaction():
        owner.execute("LOCK TABLE events")
        answers = [threads.submit(answered, service, "/api/health/webhooks") for _ in range(6)]
        most = 0
        while not all(answer.done() for answer in answers):
            most = max(most, len(waiting(owner)))
        assert {answer.result()[0] for answer in answers} == {503}
        assert most == 1


def test_told_to_end_it_finishes_what_it_has_begun(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service, late = deploy(8), event()
    with ThreadPoolExecutor(1) as threads:
        with owner.transaction():
            owner.execute("LOCK TABLE events")
            answer = threads.submit(service.send, late)
            wait_until(lambda: waiting(owner), within=5, what="the webhook to reach the table")
            service.process.terminate()
            wait_until(lambda: not _accepts(service), within=5, what="the service to take nothing new")
        assert answer.result().status_code == 200
    assert service.process.wait(5) == 0
    assert owner.execute("SELECT count(*) FROM events WHERE whop_event_id = %s", [late.id]).fetchone() == (1,)


def test_it_ends_with_its_lifeline(owner: psycopg.Connection, churn_database: ServiceDatabase, tmp_path: Path) -> None:
    migrate_up(owner, 8)
    line = Lifeline.create()
    with live_service(churn_database, 8, line, tmp_path / "service.log") as service:
        line.cut()
        assert service.process.wait(5) == 0


def _accepts(service: LiveService) -> bool:
    address = service.client.base_url
    return any(
        connection.laddr.port == address.port and connection.status == psutil.CONN_LISTEN
        for connection in psutil.Process(service.process.pid).net_connections("tcp")
    )
