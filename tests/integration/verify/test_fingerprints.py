"""Fingerprints on a real PostgreSQL: what changes them, what must not, and what a schema's difference says."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.postgres import Connection, Database
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS, migrate_up
from toolkit.errors import DatabaseError
from toolkit.verify.fingerprints import (
    SchemaSignature,
    columns_of,
    difference,
    fingerprint,
    schema_signature,
)

THINGS = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN price AS numeric CHECK (VALUE >= 0);
CREATE TABLE things (
    id int PRIMARY KEY, name text, short varchar(5), tags text[], amounts numeric[], doc jsonb, raw json, place point,
    at timestamptz, span interval, cost price, mood mood, moods mood[], bytes bytea, period tstzrange, bits bit(3),
    flag boolean, ip inet, net cidr, share double precision
);
INSERT INTO things
SELECT n, 'thing ' || n, 'x', ARRAY['a', NULL], ARRAY[1.0, 2], '{"a": 1}', '{"a":  1}', point(1, n),
       '2026-01-01 00:00:00+00'::timestamptz + n * interval '1 day', interval '1 hour', n, 'good',
       '{good,bad}', '\\x00ff',
       tstzrange('2026-01-01', NULL), B'101', n % 2 = 0, '127.0.0.1', '10.0.0.0/8', n / 3.0
FROM generate_series(1, 50) AS n;
"""


@pytest.fixture
def conn(churn_database: ServiceDatabase) -> Iterator[Connection]:
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute(THINGS)
        yield conn


def digest(conn: Connection, **options) -> tuple[int, str]:
    found = fingerprint(conn, "things", **options)
    return found.rows, found.digest


def test_every_type_can_be_fingerprinted(conn: Connection) -> None:
    found = fingerprint(conn, "things")
    assert found.rows == 50 and found.columns == columns_of(conn, "things") and int(found.digest) != 0


def test_it_depends_neither_on_order_nor_on_settings(conn: Connection) -> None:
    before = digest(conn)
    conn.execute("CREATE TEMP TABLE copied AS SELECT * FROM things; TRUNCATE things")
    conn.execute("INSERT INTO things SELECT * FROM copied ORDER BY random()")
    for setting in (
        "TimeZone = 'Asia/Tokyo'",
        "DateStyle = 'German'",
        "extra_float_digits = -5",
        "bytea_output = escape",
    ):
        conn.execute(f"SET LOCAL {setting}")
        assert digest(conn) == before, setting


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE things SET name = 'other' WHERE id = 7",
        "UPDATE things SET name = NULL WHERE id = 7",
        "UPDATE things SET raw = '{\"a\": 1}' WHERE id = 7",
        "UPDATE things SET cost = 7.0 WHERE id = 7",
        "UPDATE things SET amounts = ARRAY[1.00, 2] WHERE id = 7",
        "UPDATE things SET place = point(0, 0) WHERE id = 7",
        "UPDATE things SET bits = B'111' WHERE id = 7",
        "UPDATE things SET mood = 'bad' WHERE id = 7",
        "UPDATE things SET name = other.name FROM things AS other WHERE things.id = 7 AND other.id = 8",
        "DELETE FROM things WHERE id = 7",
        "ALTER TABLE things DROP CONSTRAINT things_pkey; INSERT INTO things SELECT * FROM things WHERE id IN (7, 8)",
    ],
)
def test_any_change_of_content_shows(conn: Connection, change: str) -> None:
    before = digest(conn)
    conn.execute(change)
    assert digest(conn) != before


def test_two_equal_rows_do_not_cancel_each_other(conn: Connection) -> None:
    conn.execute("CREATE TABLE twice AS SELECT 1 AS a, 'x' AS b")
    once = fingerprint(conn, "twice")
    conn.execute("INSERT INTO twice SELECT * FROM twice; INSERT INTO twice SELECT * FROM twice")
    four = fingerprint(conn, "twice")
    assert (four.rows, int(four.digest)) == (4, 4 * int(once.digest))


def test_named_columns_compare_across_a_column_that_came(conn: Connection) -> None:
    columns = columns_of(conn, "things")
    before = digest(conn, columns=columns)
    conn.execute("ALTER TABLE things ADD COLUMN extra int DEFAULT 5")
    assert digest(conn, columns=columns) == before
    assert digest(conn) != before


def test_an_empty_table_and_a_part_of_one(conn: Connection) -> None:
    from toolkit.adapters.postgres import sql

    whole, none = digest(conn), digest(conn, where=sql.SQL("id > %(most)s"), parameters={"most": 999})
    some = digest(conn, where=sql.SQL("id <= %(most)s"), parameters={"most": 20})
    assert none == (0, "0") and some[0] == 20 and whole[0] == 50


def test_what_is_not_there_is_an_error(conn: Connection) -> None:
    with pytest.raises(DatabaseError, match="There is no table nothing"):
        fingerprint(conn, "nothing")
    with pytest.raises(DatabaseError, match="has no column colour"):
        fingerprint(conn, "things", ["id", "colour"])


def test_a_role_that_sees_only_some_rows_gets_an_error_and_no_fingerprint(churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as owner:
        migrate_up(owner, 8)
    database = Database(SecretStr(churn_database.url("app_b8")), target="test")
    with pytest.raises(DatabaseError, match=r"row-level security .*42501"), database.reading() as conn:
        fingerprint(conn, "events")


def test_the_toolkits_role_sees_all_rows(churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as owner:
        migrate_up(owner, 8)
        owner.execute(
            "INSERT INTO events (whop_event_id, type, membership_id, company_id, payload) VALUES ('a','b','c','d','{}')"
        )
    with Database(SecretStr(churn_database.toolkit_url), target="test").reading() as conn:
        assert fingerprint(conn, "public.events").rows == 1


# Schemas


def signature(database: ServiceDatabase) -> SchemaSignature:
    with Database(SecretStr(database.toolkit_url), target="test").reading() as conn:
        return schema_signature(conn, ["public", "pgboss", "toolkit"])


def test_a_signature_survives_json(churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as owner:
        migrate_up(owner, 8)
    found = signature(churn_database)
    again = SchemaSignature.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found and again.digest == found.digest and difference(found, again) == []


def test_each_migrations_down_restores_the_signature(churn_database: ServiceDatabase) -> None:
    """The signature sees what each up changes, and nothing that each down does not take back."""
    with psycopg.connect(churn_database.owner_url, autocommit=True) as owner:
        migrate_up(owner, 1)
        for version in range(2, 13):
            before = signature(churn_database)
            migrate_up(owner, version)
            after = signature(churn_database)
            assert difference(before, after) != [], version
            down = next(MIGRATIONS.glob(f"{version:03}_*.down.sql"))
            owner.execute(down.read_bytes())
            assert difference(before, signature(churn_database)) == [], version
            owner.execute(f"UPDATE schema_migrations SET version = {version - 1}")
            migrate_up(owner, version)
            assert signature(churn_database).digest == after.digest


def test_neither_content_nor_the_toolkits_own_schema_is_part_of_it(churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as owner:
        migrate_up(owner, 8)
    before = signature(churn_database)
    database = Database(SecretStr(churn_database.toolkit_url), target="test")
    database.prepare()
    with psycopg.connect(churn_database.owner_url) as owner:
        owner.execute("UPDATE schema_migrations SET version = 7")
        owner.execute("INSERT INTO creator_settings (company_id) VALUES ('biz')")
    assert signature(churn_database).digest == before.digest


def test_a_queues_new_partition_is_no_difference(churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as owner:
        migrate_up(owner, 8)
    before = signature(churn_database)
    with psycopg.connect(churn_database.owner_url) as owner:
        owner.execute("SELECT pgboss.create_queue('digest', '{}')")
        owner.execute("GRANT SELECT ON pgboss.job TO PUBLIC")
    after = signature(churn_database)
    assert difference(before, after) == ["grant SELECT on table pgboss.job to PUBLIC is new"]
    assert difference(after, before) != [], "that one is gone again is a difference"


def test_a_difference_says_what_it_was_and_what_it_became(churn_database: ServiceDatabase) -> None:
    with psycopg.connect(churn_database.owner_url) as owner:
        migrate_up(owner, 8)
    before = signature(churn_database)
    with psycopg.connect(churn_database.owner_url) as owner:
        owner.execute("ALTER TABLE recovery_cases ALTER COLUMN status SET DEFAULT 'new'")
        owner.execute("DROP INDEX events_created_at_idx")
        owner.execute("ALTER TABLE events DISABLE ROW LEVEL SECURITY")
    assert difference(before, signature(churn_database)) == [
        "column public.recovery_cases.status changed: text NOT NULL DEFAULT 'open'::text became "
        "text NOT NULL DEFAULT 'new'::text",
        "index public.events_created_at_idx is gone "
        "(CREATE INDEX events_created_at_idx ON public.events USING btree (created_at))",
        "row-level security public.events changed: enabled became disabled",
    ]
