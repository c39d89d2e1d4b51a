"""What a down destroys is copied first, whatever destroys it, and goes back after the migration was applied again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from downs import Migrated

from toolkit.drill.database import ServiceDatabase
from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.salvage import estimate, salvage_schema
from toolkit.verify.fingerprints import difference

BASE = """
CREATE TABLE parents (id int PRIMARY KEY, name text NOT NULL, status text NOT NULL DEFAULT 'open', at timestamptz);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents (id) ON DELETE CASCADE, note text);
CREATE TABLE keyless (a int, b text);
"""
ROWS = (
    "INSERT INTO parents SELECT i, 'p' || i, CASE i % 3 WHEN 0 THEN 'paused' ELSE 'open' END, now() "
    "FROM generate_series(1, 30) i",
    "INSERT INTO children SELECT i, i % 30 + 1, 'c' || i FROM generate_series(1, 60) i",
    "INSERT INTO keyless SELECT i % 4, 'k' || i % 4 FROM generate_series(1, 20) i",
)


@dataclass(frozen=True)
class Case:
    """A migration, what is written while it is there, and its down."""

    up: str
    down: str
    writes: tuple[str, ...] = ()


CASES = {
    "a column": Case(
        "ALTER TABLE parents ADD COLUMN mood text DEFAULT 'fine'",
        "ALTER TABLE parents DROP COLUMN mood",
        ("UPDATE parents SET mood = CASE WHEN id % 2 = 0 THEN 'm' || id END",),
    ),
    "a column of json": Case(
        "ALTER TABLE parents ADD COLUMN extra json",
        "ALTER TABLE parents DROP extra",
        ("UPDATE parents SET extra = '{\"a\":  1}'",),
    ),
    "two columns of a table without a key": Case(
        "ALTER TABLE keyless ADD COLUMN c int, ADD COLUMN d json",
        "ALTER TABLE keyless DROP COLUMN c, DROP COLUMN d",
        ("UPDATE keyless SET c = 100 * a + (random() * 10)::int, d = to_json(a)",),
    ),
    "a table": Case(
        "CREATE TABLE moods (id serial PRIMARY KEY, parent int REFERENCES parents (id), mood text, "
        "long text GENERATED ALWAYS AS (mood || '!') STORED)",
        "DROP TABLE moods",
        ("INSERT INTO moods (parent, mood) SELECT i, 'm' || i FROM generate_series(1, 10) i",),
    ),
    "tables that point at each other, children first": Case(
        "CREATE TABLE one (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); "
        "CREATE TABLE two (id int PRIMARY KEY, one int REFERENCES one)",
        "DROP TABLE two; DROP TABLE one",
        (
            "INSERT INTO one SELECT FROM generate_series(1, 5)",
            "INSERT INTO two SELECT i, i FROM generate_series(1, 5) i",
        ),
    ),
    "tables by a cascade, parents first": Case(
        "CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY, one int REFERENCES one)",
        "DROP TABLE one, two CASCADE",
        ("INSERT INTO one SELECT generate_series(1, 5)", "INSERT INTO two SELECT i, i FROM generate_series(1, 5) i"),
    ),
    "a table without a key": Case(
        "CREATE TABLE loose (a int, b json)", "DROP TABLE loose", ("INSERT INTO loose VALUES (1, '{}'), (1, '{}')",)
    ),
    "a schema": Case(
        "CREATE SCHEMA extra CREATE TABLE things (id int PRIMARY KEY, v text)",
        "DROP SCHEMA extra CASCADE",
        ("INSERT INTO extra.things SELECT i, 'v' FROM generate_series(1, 5) i",),
    ),
    "a type, with the column that uses it": Case(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE parents ADD COLUMN mood mood",
        "DROP TYPE mood CASCADE",
        ("UPDATE parents SET mood = 'bad' WHERE id < 7",),
    ),
    "a label of an enum": Case(
        "CREATE TYPE state AS ENUM ('open', 'paused'); ALTER TABLE parents ALTER status DROP DEFAULT, "
        "ALTER status TYPE state USING status::state",
        "UPDATE parents SET status = 'open' WHERE status = 'paused'; "
        "ALTER TABLE parents ALTER status TYPE text; ALTER TABLE parents ALTER status SET DEFAULT 'open'; "
        "DROP TYPE state",
    ),
    "an enum that is made anew without a label": Case(
        "CREATE TYPE colour AS ENUM ('red', 'blue'); ALTER TABLE parents ADD COLUMN colour colour; ",
        "ALTER TYPE colour RENAME TO colour_old; CREATE TYPE colour AS ENUM ('red'); "
        "UPDATE parents SET colour = 'red' WHERE colour = 'blue'; "
        "ALTER TABLE parents ALTER COLUMN colour TYPE colour USING colour::text::colour; "
        "DROP TYPE colour_old; ALTER TABLE parents DROP COLUMN colour; DROP TYPE colour",
        ("UPDATE parents SET colour = CASE id % 2 WHEN 0 THEN 'red' ELSE 'blue' END::colour",),
    ),
    "values by a change of type": Case(
        "ALTER TABLE children ALTER note TYPE varchar(100)",
        "ALTER TABLE children ALTER COLUMN note TYPE text USING left(note, 1)",
    ),
    "rows by their condition": Case(
        "INSERT INTO children VALUES (1001, 1, 'new'), (1002, 2, 'new')",
        "DELETE FROM children AS c WHERE c.note = 'new'",
        ("UPDATE children SET parent = 7 WHERE id = 1002",),
    ),
    "values by their condition": Case(
        "ALTER TABLE parents ADD CHECK (id > 0)",
        "UPDATE ONLY parents p SET (name, status) = ('x', 'y') WHERE p.id IS DISTINCT FROM 3 AND p.id < 9; "
        "ALTER TABLE parents DROP CONSTRAINT parents_id_check",
    ),
    "rows by another table": Case(
        "SELECT 1", "DELETE FROM children USING parents p WHERE p.id = children.parent AND p.status = 'paused'"
    ),
    "values by another table": Case(
        "SELECT 1", "UPDATE children SET note = p.name FROM parents p WHERE p.id = parent AND p.id < 5"
    ),
    "rows that go with their parents": Case("SELECT 1", "DELETE FROM parents WHERE id IN (3, 4)"),
    "rows by a common table expression": Case(
        "SELECT 1", "WITH gone AS (DELETE FROM children WHERE id < 9 RETURNING id) SELECT count(*) FROM gone"
    ),
    "rows by code": Case("SELECT 1", "DO $$ BEGIN DELETE FROM children WHERE id % 2 = 0; END $$"),
    "values by code": Case("SELECT 1", "DO $$ BEGIN UPDATE parents SET name = 'x', at = NULL WHERE id < 4; END $$"),
    "a column by code": Case(
        "ALTER TABLE parents ADD COLUMN mood text",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE parents DROP COLUMN mood'; END $$",
        ("UPDATE parents SET mood = name",),
    ),
    "a table by code, which code had changed before": Case(
        "CREATE TABLE moods (id int PRIMARY KEY, v text)",
        "DO $$ BEGIN UPDATE moods SET v = 'lost'; END $$; DROP TABLE moods",
        ("INSERT INTO moods SELECT i, 'v' || i FROM generate_series(1, 9) i",),
    ),
    "everything, emptied": Case("SELECT 1", "TRUNCATE parents CASCADE"),
    "everything, emptied by code": Case("SELECT 1", "DO $$ BEGIN TRUNCATE children; END $$"),
    "values, and what a trigger changes with them": Case(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$; "
        "CREATE TRIGGER touched BEFORE UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION touch()",
        "UPDATE parents SET name = 'x' WHERE id = 2; DROP TRIGGER touched ON parents; DROP FUNCTION touch()",
    ),
    "a column of a partitioned table": Case(
        "CREATE TABLE parts (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day); "
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); "
        "CREATE TABLE parts_2 PARTITION OF parts DEFAULT",
        "DELETE FROM parts WHERE id = 3; ALTER TABLE parts DROP COLUMN v; DROP TABLE parts",
        ("INSERT INTO parts SELECT i, '2026-01-28'::date + i, 'v' || i FROM generate_series(1, 9) i",),
    ),
    "names that want quotes": Case(
        'CREATE TABLE "Odd ""Name" ("Key;" int PRIMARY KEY, "a%b" text, "{}" int)',
        'ALTER TABLE "Odd ""Name" DROP COLUMN "a%b"; DELETE FROM "Odd ""Name" WHERE "{}" = 2; DROP TABLE "Odd ""Name"',
        ("INSERT INTO \"Odd \"\"Name\" VALUES (1, '50%', 1), (2, ';', 2)",),
    ),
    "a column that is renamed first": Case(
        "ALTER TABLE parents ADD COLUMN mood text",
        "ALTER TABLE parents RENAME COLUMN mood TO temper; ALTER TABLE parents RENAME TO folk; "
        "ALTER TABLE folk DROP COLUMN temper; ALTER TABLE folk RENAME TO parents",
        ("UPDATE parents SET mood = name",),
    ),
    "a column of a domain, an array and a composite": Case(
        "CREATE DOMAIN age AS int CHECK (VALUE > 0); CREATE TYPE place AS (x int, y text); "
        "CREATE TYPE hue AS ENUM ('r', 'g'); "
        "ALTER TABLE parents ADD COLUMN age age, ADD COLUMN place place, ADD COLUMN hues hue[]",
        "ALTER TABLE parents DROP COLUMN age, DROP COLUMN place, DROP COLUMN hues; "
        "DROP DOMAIN age; DROP TYPE place, hue",
        ("UPDATE parents SET age = id, place = (id, 'a,\"b'), hues = '{r,g}' WHERE id > 3",),
    ),
    "rows that are hidden even from their owner": Case(
        "ALTER TABLE parents ADD COLUMN mood text; ALTER TABLE parents ENABLE ROW LEVEL SECURITY; "
        "ALTER TABLE parents FORCE ROW LEVEL SECURITY",
        "ALTER TABLE parents DROP COLUMN mood; ALTER TABLE parents NO FORCE ROW LEVEL SECURITY; "
        "ALTER TABLE parents DISABLE ROW LEVEL SECURITY",
    ),
}  # fmt: skip


@pytest.fixture
def migrated(churn_database: ServiceDatabase, tmp_path: Path) -> Iterator[Migrated]:
    made = Migrated(churn_database, tmp_path)
    made.apply(1, BASE)
    made.write(*ROWS)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_goes_and_comes_back(migrated: Migrated, case: Case) -> None:
    earlier = migrated.signature()
    migrated.apply(2, case.up, case.down)
    migrated.write(*case.writes)
    before = migrated.content()
    migrated.take_back(2)
    assert difference(earlier, migrated.signature()) == []
    assert migrated.salvaged()
    migrated.apply_again(2)
    migrated.put_back()
    assert migrated.content() == before


def test_rows_of_parents_and_children_by_code_go_back_in_order(migrated: Migrated) -> None:
    migrated.apply(
        2, "SELECT 1", "DO $$ BEGIN DELETE FROM children WHERE id > 5; DELETE FROM parents WHERE id > 6; END $$"
    )
    migrated.there_and_back(2)


def test_code_that_destroys_is_told_and_copied_before_it_runs_again(migrated: Migrated) -> None:
    migrated.apply(2, "SELECT 1", "DO $$ BEGIN DELETE FROM children WHERE id <= 7; END $$")
    migrated.take_back(2)
    told = [data for kind, data in migrated.told if kind == "step.hidden_losses"]
    assert told == [{"losses": ["7 rows of children were changed or removed"]}]
    assert [each.rows for each in migrated.salvaged()] == [7], "cut down to what has changed"


def test_only_the_owner_of_the_tables_may_use_the_copies(migrated: Migrated) -> None:
    migrated.write("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO churn_app")
    migrated.write("ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO churn_app")
    migrated.apply(2, "ALTER TABLE parents ADD COLUMN mood text", "ALTER TABLE parents DROP COLUMN mood")
    migrated.take_back(2)
    kept = migrated.salvaged()[0]
    owner = f"SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = '{kept.kept_schema}'"
    assert migrated.query(owner) == [("churn_owner",)]
    with (
        psycopg.connect(migrated.database.url("app_b8")) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema"),
    ):
        conn.execute(f'SELECT * FROM {kept.kept_schema}."{kept.kept_table}"')


def test_nothing_is_kept_when_the_down_fails(migrated: Migrated) -> None:
    migrated.apply(2, "SELECT 1", "DELETE FROM children; DROP TABLE not_there")
    with pytest.raises(DatabaseError, match=r"does not exist .*DROP TABLE, line 1"):
        migrated.take_back(2)
    assert migrated.salvaged() == [] and migrated.version() == [(2, False)]
    assert migrated.query("SELECT to_regnamespace('salvage_incident_of_the_test')") == [(None,)]


def test_what_went_back_does_not_go_back_twice(migrated: Migrated) -> None:
    migrated.apply(2, "CREATE TABLE loose (a int)", "DROP TABLE loose")
    migrated.write("INSERT INTO loose VALUES (1), (1)")
    migrated.there_and_back(2)
    assert migrated.put_back() == []
    assert len(migrated.content()["public.loose"]) == 2


def test_it_goes_back_only_where_it_came_from(migrated: Migrated) -> None:
    migrated.apply(2, "ALTER TABLE parents ADD COLUMN mood text", "ALTER TABLE parents DROP COLUMN mood")
    migrated.take_back(2)
    with pytest.raises(RollbackError, match="mood is missing") as raised:
        migrated.put_back()
    assert "apply migration 2 again" in raised.value.next


def test_a_second_rollback_in_the_same_incident_keeps_both_copies(migrated: Migrated) -> None:
    migrated.apply(2, "ALTER TABLE parents ADD COLUMN mood text", "ALTER TABLE parents DROP COLUMN mood")
    migrated.there_and_back(2)
    migrated.write("UPDATE parents SET mood = 'later'")
    migrated.there_and_back(2)
    assert [each.put_back_at is not None for each in migrated.salvaged()] == [True, True]


def test_updated_rows_of_a_table_without_a_key_and_without_a_text_are_kept_and_it_is_said(migrated: Migrated) -> None:
    migrated.apply(2, "SELECT 1", "DO $$ BEGIN UPDATE keyless SET b = 'x' WHERE a = 1; END $$")
    migrated.take_back(2)
    kept = migrated.salvaged()[0]
    assert (kept.put_back, kept.rows) == ("", 20) and "by hand" in kept.note


@pytest.mark.parametrize(
    "incident", ["plain", "2026-11-25-outage", "ÄÖ", "", "a" * 80, "with space; DROP", "x_" + "y" * 54, "x-" + "y" * 54]
)
def test_an_incident_s_schema_is_an_identifier_of_its_own(incident: str) -> None:
    name = salvage_schema(incident)
    assert name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    assert name.startswith("salvage_") and 8 < len(name) <= 63
    assert name == "salvage_plain" or name != salvage_schema(incident.replace("-", "_") + "_")


def test_the_cost_is_told_beforehand(migrated: Migrated) -> None:
    migrated.apply(2, "ALTER TABLE parents ADD COLUMN mood text", "ALTER TABLE parents DROP COLUMN mood")
    migrated.write("UPDATE parents SET mood = repeat('m', 200)", "ANALYZE parents")
    found = estimate(migrated.systems.database, [read_folder(migrated.folder / "migrations").migrations[2].down])
    assert [(each.what, each.rows) for each in found] == [("columns mood of parents", 30)]
    assert 30 * 200 < found[0].bytes < 30 * 400 and 0 < found[0].seconds < 1
