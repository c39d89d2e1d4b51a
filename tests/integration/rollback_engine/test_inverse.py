"""What a statement brought is taken back by what the catalog tells of it, for every kind of object."""

from collections.abc import Iterator
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from toolkit.drill.database import create_database
from toolkit.rollback.inverse import changes, inverse
from toolkit.server import PostgresServer
from toolkit.verify.fingerprints import SchemaSignature, schema_signature

BASE = """
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE shops (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'calm', note varchar(40),
    amount positive, "Odd name" int, code text COLLATE "C", UNIQUE (name, code)
);
CREATE TABLE visits (id int PRIMARY KEY, shop bigint REFERENCES shops ON DELETE CASCADE, at timestamptz DEFAULT now());
CREATE INDEX visits_at_idx ON visits (at DESC) WHERE shop > 3;
CREATE VIEW busy AS SELECT id, name FROM shops WHERE mood = 'busy';
GRANT SELECT (name), INSERT ON shops TO churn_app;
GRANT SELECT ON busy TO churn_app WITH GRANT OPTION;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION twice(n int, m int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT n * m';
GRANT EXECUTE ON FUNCTION twice TO churn_app;
CREATE TRIGGER touched BEFORE UPDATE OF name ON shops FOR EACH ROW WHEN (NEW.id > 1) EXECUTE FUNCTION touched();
ALTER TABLE shops ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shops AS RESTRICTIVE FOR UPDATE TO churn_app, PUBLIC USING (id > 1) WITH CHECK (id > 2);
CREATE RULE quiet AS ON DELETE TO visits DO INSTEAD NOTHING;
"""
# each statement leads there and back by itself
SINGLE = [
    "CREATE TABLE more (id serial PRIMARY KEY, shop bigint REFERENCES shops, CHECK (id > 0))",
    "CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at)",
    'CREATE UNLOGGED TABLE "Odd table" ("Odd column" int)',
    "ALTER TABLE shops ADD COLUMN region text NOT NULL DEFAULT 'x'",
    "ALTER TABLE shops ADD COLUMN total int GENERATED ALWAYS AS (id::int + 1) STORED",
    "ALTER TABLE shops ADD COLUMN seq serial UNIQUE",
    "ALTER TABLE shops ALTER COLUMN note TYPE text, ALTER COLUMN note SET NOT NULL, ALTER COLUMN note SET DEFAULT 'y'",
    "ALTER TABLE shops ALTER COLUMN mood DROP DEFAULT",
    "ALTER TABLE shops ALTER COLUMN name DROP NOT NULL",
    'ALTER TABLE shops ALTER COLUMN "Odd name" SET DEFAULT 7, ALTER COLUMN "Odd name" SET NOT NULL',
    'ALTER TABLE shops ALTER COLUMN "Odd name" TYPE text USING "Odd name"::text',
    "ALTER TABLE shops ADD CONSTRAINT named CHECK (name <> '') NOT VALID",
    "ALTER TABLE visits ADD CONSTRAINT once UNIQUE (shop, at)",
    "ALTER TABLE visits DROP CONSTRAINT visits_shop_fkey",
    "ALTER TABLE visits DROP CONSTRAINT visits_pkey",
    "ALTER TABLE shops DROP CONSTRAINT shops_name_code_key",
    "CREATE INDEX visits_shop_idx ON visits (shop)",
    'CREATE UNIQUE INDEX "Odd index" ON visits (shop) INCLUDE (at)',
    "DROP INDEX visits_at_idx",
    "CREATE VIEW later AS SELECT * FROM visits",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM visits",
    "CREATE OR REPLACE VIEW busy AS SELECT id, name FROM shops WHERE mood = 'calm'",
    "CREATE OR REPLACE VIEW busy AS SELECT id, name, code FROM shops",
    "DROP VIEW busy",
    "CREATE FUNCTION other(a int, b text[]) RETURNS void LANGUAGE sql AS ''",
    "CREATE PROCEDURE doing(INOUT a int) LANGUAGE plpgsql AS 'BEGIN a := 1; END'",
    "CREATE OR REPLACE FUNCTION twice(n int, m int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT n * m * 1'",
    "DROP FUNCTION twice",
    "CREATE TRIGGER later AFTER INSERT ON visits EXECUTE FUNCTION touched()",
    "DROP TRIGGER touched ON shops",
    "CREATE OR REPLACE TRIGGER touched AFTER INSERT ON shops EXECUTE FUNCTION touched()",
    "DROP POLICY own ON shops",
    "ALTER POLICY own ON shops TO churn_app USING (true)",
    "CREATE POLICY others ON shops",
    "ALTER TABLE shops DISABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE visits ENABLE ROW LEVEL SECURITY",
    "DROP RULE quiet ON visits",
    "CREATE TYPE colour AS ENUM ('red')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN short AS text CONSTRAINT brief CHECK (length(VALUE) < 9) NOT NULL",
    "ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 100)",
    "CREATE SEQUENCE counting START 5 INCREMENT 2 CYCLE",
    "REVOKE INSERT ON shops FROM churn_app",
    "GRANT UPDATE (name), DELETE ON shops TO churn_app",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC",
    "REVOKE SELECT (name) ON shops FROM churn_app",
    "REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC, churn_app",
    "GRANT USAGE ON TYPE mood TO churn_app",
    "ALTER TABLE visits OWNER TO churn_app",
    "ALTER FUNCTION twice OWNER TO churn_app",
    "ALTER TYPE mood OWNER TO churn_app",
]
LOSING = {
    "ALTER TABLE shops DROP COLUMN note": "column public.shops.note was removed",
    "DROP TABLE visits": "table public.visits was removed",
    "ALTER TYPE mood ADD VALUE 'wild'": "enum public.mood was changed",
    "ALTER TABLE visits SET (fillfactor = 50)": "table public.visits was changed",
    "ALTER INDEX visits_at_idx RENAME TO renamed": "",
}


@pytest.fixture(scope="module")
def conn(cluster: PostgresServer, role_passwords: dict[str, str]) -> Iterator[psycopg.Connection]:
    """As a superuser: of who may do what the diagnosis has tests of its own."""
    name = "churn_inverse"
    database = create_database(cluster, role_passwords, name)
    with psycopg.connect(database.admin_url) as conn:
        conn.execute(BASE)
        conn.commit()
        yield conn
    with psycopg.connect(cluster.url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def signature(conn: psycopg.Connection) -> SchemaSignature:
    return schema_signature(conn, ["public"])


def there_and_back(conn: psycopg.Connection, statements: list[str]) -> list[str]:
    """What differs after the statements and their inverses; those that fail on what others did are passed over."""
    before = signature(conn)
    states = [before]
    for statement in statements:
        conn.execute("SAVEPOINT one")
        try:
            conn.execute(statement)
        except psycopg.Error:
            conn.execute("ROLLBACK TO SAVEPOINT one")
            continue
        states.append(signature(conn))
    for earlier, later in reversed(list(pairwise(states))):
        back = inverse(earlier, later)
        assert back.lost == ()
        for statement in back.statements:
            conn.execute(statement)
    return [f"{key}: {change}" for key, change in changes(before, signature(conn)).items()]


@pytest.mark.parametrize("statement", SINGLE)
def test_each_statement_is_taken_back(conn: psycopg.Connection, statement: str) -> None:
    with conn.transaction(force_rollback=True):
        before = signature(conn)
        conn.execute(statement)
        assert changes(before, signature(conn)), "it changed nothing, so this proves nothing"
    with conn.transaction(force_rollback=True):
        assert there_and_back(conn, [statement]) == []


@example(statements=["ALTER POLICY own ON shops TO churn_app USING (true)", "DROP POLICY own ON shops"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements=st.lists(st.sampled_from(SINGLE), min_size=2, max_size=6, unique=True))
def test_several_are_taken_back_from_the_last_to_the_first(conn: psycopg.Connection, statements: list[str]) -> None:
    with conn.transaction(force_rollback=True):
        assert there_and_back(conn, statements) == []


@pytest.mark.parametrize("statement", LOSING)
def test_what_cannot_be_brought_back_is_said(conn: psycopg.Connection, statement: str) -> None:
    with conn.transaction(force_rollback=True):
        before = signature(conn)
        conn.execute(statement)
        back = inverse(before, signature(conn))
        assert LOSING[statement] in "; ".join(back.lost)
        assert bool(back.lost) is bool(LOSING[statement])
