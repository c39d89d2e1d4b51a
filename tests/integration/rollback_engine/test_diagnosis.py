"""A migration that died after any of its statements is diagnosed, and what is proposed leads where it should."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.drill.database import OWNER, ServiceDatabase, create_database
from toolkit.errors import RollbackError
from toolkit.rollback.diagnosis import Diagnosis, diagnose
from toolkit.rollback.half_applied import Verdict
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.rollback.sql_lexer import cut
from toolkit.verify.fingerprints import SchemaSignature, difference, schema_signature

FIRST = """
CREATE TYPE mood AS ENUM ('calm', 'busy');
CREATE TABLE shops (id bigint PRIMARY KEY, name text NOT NULL, mood mood NOT NULL DEFAULT 'calm', note varchar(40));
CREATE INDEX shops_name_idx ON shops (name);
CREATE VIEW busy_shops AS SELECT id, name FROM shops WHERE mood = 'busy';
GRANT SELECT ON busy_shops TO churn_app;
GRANT SELECT, INSERT ON shops TO churn_app;
CREATE FUNCTION greet(name text) RETURNS text LANGUAGE sql AS 'SELECT $$hello $$ || name';
"""
SECOND = """
-- All that a migration does, and an index that wants no transaction.
SET lock_timeout = '5s';
ALTER TABLE shops ADD COLUMN region text;
UPDATE shops SET region = 'north';
ALTER TABLE shops ALTER COLUMN region SET NOT NULL;
ALTER TABLE shops ALTER COLUMN region SET DEFAULT 'north', ADD CONSTRAINT region_known CHECK (region <> '');
CREATE INDEX CONCURRENTLY shops_region_idx ON shops (region);
CREATE TABLE visits (id bigserial PRIMARY KEY, shop bigint NOT NULL REFERENCES shops, at timestamptz DEFAULT now());
GRANT INSERT ON visits TO churn_app;
ALTER TABLE visits ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_shop ON visits TO churn_app USING (shop > 0) WITH CHECK (shop > 1);
DROP INDEX CONCURRENTLY shops_name_idx;
CREATE OR REPLACE FUNCTION greet(name text) RETURNS text LANGUAGE sql AS 'SELECT $$good day $$ || name';
CREATE OR REPLACE VIEW busy_shops AS SELECT id, name, region FROM shops WHERE mood = 'busy';
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN RETURN NEW; END; $body$;
CREATE TRIGGER touched BEFORE UPDATE ON shops FOR EACH ROW EXECUTE FUNCTION touched();
REVOKE INSERT ON shops FROM churn_app;
ALTER TABLE shops ALTER COLUMN note TYPE text;
CREATE DOMAIN amount AS integer CHECK (VALUE > 0);
INSERT INTO visits (shop) SELECT id FROM shops;
"""
STATE_TABLE = "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)"
STATEMENTS = [text for _, text in cut(SECOND)]


def answered(statements: tuple[str, ...]) -> list[str]:
    """What a person makes of them who looked at the rows: the statements that nobody could tell are run."""
    return [
        "\n".join(line.removeprefix("--   ") for line in each.splitlines() if line[:4] != "-- N") for each in statements
    ]


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as server:
        yield server


class Half:
    """A live database at version 1, and as much of version 2 as a test wants."""

    def __init__(self, live: ServiceDatabase, folder: Path, second: str = SECOND) -> None:
        self.live, self.folder = live, folder
        folder.mkdir()
        (folder / "1_shops.up.sql").write_text(FIRST)
        (folder / "2_regions.up.sql").write_text(second)
        self.run(FIRST, "INSERT INTO shops (id, name) VALUES (1, 'a'), (2, 'b')")
        self.run(STATE_TABLE)
        self.run("INSERT INTO schema_migrations VALUES (2, true)")

    def run(self, *statements: str) -> None:
        """Each by itself, as whoever owns the schema."""
        with psycopg.connect(self.live.owner_url, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    def diagnose(self, scratch: Scratch, version: int | None = None) -> Diagnosis:
        systems: Any = SimpleNamespace(
            database=Database(SecretStr(self.live.toolkit_url), target="test"),
            target=SimpleNamespace(migrations=self.folder, name="test"),
            playbook=SimpleNamespace(
                database=SimpleNamespace(schemas=("public",), state_table="schema_migrations"),
            ),
        )
        self.heard = list[tuple[str, float, float | None]]()
        return diagnose(systems, version, scratch=scratch, advance=lambda *told: self.heard.append(told))

    def signature(self) -> SchemaSignature:
        with psycopg.connect(self.live.owner_url) as conn:
            return schema_signature(conn, ["public"])

    def state(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.live.owner_url) as conn:
            return conn.execute("SELECT version, dirty FROM schema_migrations").fetchall()


@pytest.fixture
def half(churn_database: ServiceDatabase, tmp_path: Path) -> Half:
    return Half(churn_database, tmp_path / "migrations")


@pytest.fixture(scope="module")
def whole(cluster: Any, role_passwords: Any) -> SchemaSignature:
    """What the whole migration makes."""
    database = create_database(cluster, role_passwords, "churn_whole")
    try:
        with psycopg.connect(database.owner_url, autocommit=True) as conn:
            for statement in (FIRST, STATE_TABLE, *STATEMENTS):
                conn.execute(statement)
            with conn.transaction():
                return schema_signature(conn, ["public"])
    finally:
        with psycopg.connect(cluster.url(), autocommit=True) as conn:
            conn.execute("DROP DATABASE churn_whole WITH (FORCE)")


@pytest.mark.parametrize("ran", range(len(STATEMENTS) + 1))
def test_it_died_after_a_statement(half: Half, scratch: Scratch, ran: int, whole: SchemaSignature) -> None:
    before = half.signature()
    half.run(*STATEMENTS[:ran])
    found = half.diagnose(scratch)
    assert found.dirty and found.version == 2
    expected = {0: Verdict.NOT, 1: Verdict.NOT}.get(ran, Verdict.PARTLY)
    # nothing tells whether the last statement, an INSERT, ran
    assert found.verdict is (Verdict.FULLY if ran >= len(STATEMENTS) - 1 else expected)
    assert found.proved == ("finish", "undo"), found.heading()

    half.run(*found.undo, *found.undone.statements)
    assert difference(before, half.signature()) == difference(half.signature(), before) == []
    assert half.state() == [(1, False)]

    half.run(*STATEMENTS[:ran])
    half.run(*answered(found.finish), *found.finished.statements)
    assert difference(whole, half.signature()) == difference(half.signature(), whole) == []
    assert half.state() == [(2, False)]


def test_an_index_that_was_half_built_is_there_and_is_not(half: Half, scratch: Scratch) -> None:
    """The index that `IF NOT EXISTS` would skip: present by name, and of no use."""
    unique = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS shops_region_idx ON shops (region)"
    second = SECOND.replace("CREATE INDEX CONCURRENTLY shops_region_idx ON shops (region)", unique)
    (half.folder / "2_regions.up.sql").write_text(second)
    statements = [text for _, text in cut(second)]
    before = half.signature()
    half.run(*statements[:5])
    with pytest.raises(psycopg.errors.UniqueViolation):
        half.run(statements[5])
    found = half.diagnose(scratch)
    assert [told for told in half.heard if told[0] == "running its statements one by one"] == [
        ("running its statements one by one", count, len(statements)) for count in range(len(statements))
    ]
    assert half.heard[0][0] == "building the schema of 1" and half.heard[-1][1:] == (1, 2)
    assert found.verdict is Verdict.PARTLY
    assert "index public.shops_region_idx (invalid)" in found.between
    assert found.finish[0] == "DROP INDEX IF EXISTS public.shops_region_idx"
    half.run("UPDATE shops SET region = name", *found.finish)
    assert half.diagnose(scratch).verdict is Verdict.FULLY
    assert not [each for each in half.diagnose(scratch).between if "invalid" in each]
    half.run(*half.diagnose(scratch).undo)
    assert difference(before, half.signature()) == []


def test_a_file_in_one_transaction_is_there_whole_or_not_at_all(
    churn_database: ServiceDatabase, tmp_path: Path, scratch: Scratch
) -> None:
    half = Half(churn_database, tmp_path / "m", "UPDATE shops SET note = ''; ALTER TABLE shops ADD COLUMN region text;")
    found = half.diagnose(scratch)
    assert (found.verdict, found.unknown, found.undo) == (Verdict.NOT, (), ())
    assert found.finish == ("UPDATE shops SET note = ''", "ALTER TABLE shops ADD COLUMN region text")
    half.run("ALTER TABLE shops ADD COLUMN region text")
    whole = half.diagnose(scratch)
    assert whole.verdict is Verdict.FULLY
    assert whole.left_rows == ("the UPDATE SHOPS in line 1 changed public.shops.note",)
    assert "Undoing it leaves rows as it made them" in whole.heading()


def test_what_changes_only_rows_is_unknown(churn_database: ServiceDatabase, tmp_path: Path, scratch: Scratch) -> None:
    half = Half(churn_database, tmp_path / "m", "UPDATE shops SET note = 'x';")
    found = half.diagnose(scratch)
    assert found.verdict is Verdict.UNKNOWN
    assert "no statement of it leaves a trace" in found.heading()


def test_a_data_statement_at_the_edge_is_not_guessed(half: Half, scratch: Scratch) -> None:
    half.run(*STATEMENTS[:2])
    found = half.diagnose(scratch)
    assert found.unknown[0] == "whether the UPDATE SHOPS in line 5 ran: it changes rows, not the schema"
    note = next(each for each in found.finish if each.startswith("--"))
    assert "Nobody can tell" in note and "UPDATE shops" in note
    assert {"object": found.unknown[0], "there": "unknown"} in found.rows()


def test_statements_that_ran_in_another_order_are_told_one_by_one(half: Half, scratch: Scratch) -> None:
    """Somebody tried to mend it by hand."""
    half.run(*STATEMENTS[:2], STATEMENTS[-2])
    found = half.diagnose(scratch)
    assert found.verdict is Verdict.PARTLY
    assert "domain public.amount" in found.present
    assert STATEMENTS[-2] not in found.finish and STATEMENTS[5] in found.finish
    assert {"finish", "undo"} == set(found.proved)


def test_drift_that_is_not_its_own_is_kept_apart(half: Half, scratch: Scratch) -> None:
    half.run(*STATEMENTS[:4], "CREATE TABLE by_hand (id int)")
    found = half.diagnose(scratch)
    assert found.verdict is Verdict.PARTLY and set(found.proved) == {"finish", "undo"}
    assert "table public.by_hand" in found.drift
    assert not any("by_hand" in each for each in (*found.present, *found.finish, *found.undo))


def test_what_was_dropped_with_its_data_is_said_to_be_lost(
    churn_database: ServiceDatabase, tmp_path: Path, scratch: Scratch
) -> None:
    second = "ALTER TABLE shops DROP COLUMN note; CREATE INDEX CONCURRENTLY shops_mood_idx ON shops (mood);"
    half = Half(churn_database, tmp_path / "m", second)
    half.run("ALTER TABLE shops DROP COLUMN note")
    found = half.diagnose(scratch)
    assert found.proved == ("finish",)
    assert "column public.shops.note was removed, and no statement undoes that" in found.unknown
    assert "NOT proved" in found.heading().partition("Undo it")[2]


def test_there_must_be_something_to_diagnose(half: Half, scratch: Scratch) -> None:
    with pytest.raises(RollbackError, match="no up of migration 7"):
        half.diagnose(scratch, 7)


def test_the_heading_has_all_that_a_person_needs(half: Half, scratch: Scratch) -> None:
    half.run(*STATEMENTS[:4])
    text = half.diagnose(scratch).heading()
    assert text.startswith("### Migration 2 (regions) is partly applied")
    assert "tried on a scratch server" in text
    assert "migrate force 2" in text and "migrate force 1" in text
    assert 'INSERT INTO "public"."schema_migrations" (version, dirty) VALUES (1, false);' in text


def test_the_owner_of_what_was_made_is_the_migrations_own(half: Half, scratch: Scratch) -> None:
    half.run(*STATEMENTS[:7])
    assert not any("owner" in each for each in half.diagnose(scratch).drift), OWNER
