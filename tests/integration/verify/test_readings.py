"""What the database tells of itself: migration state, the flow of events, the queue in both of its layouts."""

from collections.abc import Iterator

import psycopg
import pytest

from toolkit.adapters.postgres import Connection
from toolkit.adapters.readings import (
    Flow,
    MigrationState,
    QueueState,
    event_flow,
    exists,
    migration_state,
    queue_state,
    split_name,
)
from toolkit.drill.database import ServiceDatabase

LAYOUTS = {
    24: ("expire_in interval DEFAULT '15 minutes'", "interval '1 minute'"),
    46: ("expire_seconds int DEFAULT 900, blocked boolean DEFAULT false", "60"),
}


@pytest.fixture
def conn(churn_database: ServiceDatabase) -> Iterator[Connection]:
    with psycopg.connect(churn_database.owner_url) as conn:
        yield conn


@pytest.mark.parametrize(
    ("table", "state"),
    [
        ("(version bigint, dirty boolean)", MigrationState(None, False)),  # no migration, and never 0
        ("AS SELECT 9::bigint AS version, true AS dirty", MigrationState(9, True)),
        ("AS SELECT '20240101000000'::varchar AS version", MigrationState(20240101000000, False)),  # dbmate's
        ("AS SELECT 'x' AS id", MigrationState(None, None)),
        (None, MigrationState(None, None)),
    ],
)
def test_the_migration_state_is_read_or_not_known(conn: Connection, table: str | None, state: MigrationState) -> None:
    if table:
        conn.execute(f"CREATE TABLE schema_migrations {table}")
    assert migration_state(conn, "schema_migrations") == state


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_queue_is_read_in_both_layouts(conn: Connection, layout: int) -> None:
    columns, minute = LAYOUTS[layout]
    expiry = columns.split()[0]
    conn.execute(
        f"""
        CREATE SCHEMA queue;
        CREATE TABLE queue.version (version int);
        INSERT INTO queue.version VALUES ({layout});
        CREATE TABLE queue.job (state text, start_after timestamptz DEFAULT now(), started_on timestamptz, {columns});
        INSERT INTO queue.job (state) VALUES ('failed'), ('completed');
        INSERT INTO queue.job (state, start_after) VALUES
            ('created', now() - interval '30 seconds'), ('retry', now() - interval '5 seconds'),
            ('created', now() + interval '1 hour');
        INSERT INTO queue.job (state, started_on, {expiry}) VALUES
            ('active', now() - interval '2 minutes', {minute}), ('active', now(), {minute});
        """
    )
    assert queue_state(conn, "queue") == QueueState(layout, failed=1, ready=2, stuck=1, oldest_ready_s=30.0)


def test_no_queue_is_none_and_an_empty_one_is_well(conn: Connection) -> None:
    assert queue_state(conn, "queue") is None
    conn.execute(
        """
        CREATE SCHEMA queue;
        CREATE TABLE queue.version AS SELECT 24 AS version;
        CREATE TABLE queue.job (state text, start_after timestamptz, started_on timestamptz, expire_in interval);
        """
    )
    assert queue_state(conn, "queue") == QueueState(24, 0, 0, 0, None)


@pytest.mark.parametrize(
    ("seconds_ago", "events", "quarters"),
    [
        (range(10, 50), 40, 4),  # one a second
        ([10, 11, 12, 13], 4, 1),  # a burst
        ([10, 21, 31, 41], 4, 4),
        ([10, 49, 50, 51], 2, 2),  # the span ends 40 s before the newest
    ],
)
def test_the_flow_of_events_is_told_by_the_data(conn: Connection, seconds_ago, events: int, quarters: int) -> None:
    conn.execute("CREATE SCHEMA hooks; CREATE TABLE hooks.received (at timestamptz)")
    for seconds in seconds_ago:
        conn.execute("INSERT INTO hooks.received VALUES (now() - make_interval(secs => %s))", (seconds,))
    flow = event_flow(conn, "hooks.received", "at", 40)
    assert flow.newest_age_s is not None and 10 <= flow.newest_age_s < 20
    assert (flow.events, flow.quarters) == (events, quarters)


def test_without_events_there_is_no_flow(conn: Connection) -> None:
    conn.execute("CREATE TABLE received (at timestamptz)")
    assert event_flow(conn, "received", "at", 40) == Flow(None, 0, 0)


def test_names_are_of_public_unless_they_say_otherwise(conn: Connection) -> None:
    assert split_name("events") == ("public", "events") and split_name("pgboss.job") == ("pgboss", "job")
    conn.execute("CREATE SCHEMA hooks; CREATE TABLE hooks.received (at timestamptz)")
    assert exists(conn, "hooks.received") and not exists(conn, "received")
