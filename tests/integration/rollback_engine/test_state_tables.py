"""Fifteen tools' state tables on a real PostgreSQL: clean, empty, failed, locked, drifted, and several at once."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from tool_tables import TOOLS

from toolkit.adapters.postgres import Connection, Database
from toolkit.adapters.readings import migration_state
from toolkit.adapters.state_tables import Found, Recorded, find_state_tables, read_table
from toolkit.adapters.state_tables import locks as keys
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.state_tables import MigrationState, account_of, against, read_recorded, read_state
from toolkit.rollback.state_tables.listed_accounts import flyway_checksum


@pytest.fixture
def database(churn_database: ServiceDatabase) -> Database:
    return Database(SecretStr(churn_database.owner_url), target="test")


@pytest.fixture
def conn(churn_database: ServiceDatabase) -> Iterator[Connection]:
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        yield conn


def the_one(conn: Connection) -> Found:
    (found,) = find_state_tables(conn)
    return found


def read(conn: Connection) -> Recorded:
    return read_table(conn, the_one(conn))


def state(conn: Connection, path: Path, layout: str = "") -> MigrationState:
    return against(the_one(conn), read(conn), read_folder(path, layout))


def files(path: Path, **named: str) -> Path:
    for name, content in named.items():
        (path / f"{name.lstrip('_')}.sql").write_text(content)
    return path


@pytest.mark.parametrize("tool", TOOLS)
def test_a_clean_table_is_read(conn: Connection, tool: str) -> None:
    tables = TOOLS[tool]
    conn.execute(tables.empty)
    conn.execute(tables.clean)
    found, recorded = the_one(conn), read(conn)
    assert (found.tool, found.schema, found.table) == (tool, *tables.where)
    assert (recorded.version, recorded.dirty, recorded.applied) == (tables.version, False, tables.applied)
    assert recorded.locked_by == () and recorded.failed == ()
    assert str(recorded) == (tables.said or str(recorded)) and "clean" in str(recorded)


@pytest.mark.parametrize("tool", TOOLS)
def test_an_empty_table_is_no_migration(conn: Connection, tool: str) -> None:
    conn.execute(TOOLS[tool].empty)
    recorded = read(conn)
    assert recorded == Recorded(None, False) and not recorded.unnumbered and str(recorded) == "no migration, clean"
    seen = migration_state(conn, "schema_migrations")
    assert (seen.version, seen.dirty, seen.tool) == (None, False, tool)


@pytest.mark.parametrize("tool", [tool for tool, tables in TOOLS.items() if tables.failed])
def test_a_failure_is_told(conn: Connection, tool: str) -> None:
    tables = TOOLS[tool]
    for statement in (tables.empty, tables.clean, tables.failed):
        conn.execute(statement)
    recorded = read(conn)
    assert recorded.dirty and recorded.failed == tables.fails and recorded.applied == tables.applied
    assert migration_state(conn, "schema_migrations").dirty is True


def test_verification_reads_every_tool_that_has_a_number(conn: Connection) -> None:
    for tool in ("Prisma", "Alembic"):
        conn.execute(TOOLS[tool].empty)
        conn.execute(TOOLS[tool].clean)
        seen = migration_state(conn, ".".join(TOOLS[tool].where))
        assert (seen.version, seen.dirty) == ((20240102000000, False) if tool == "Prisma" else (None, None))
    assert "Alembic gives its versions no number: version ae1027a6acf0" in seen.trouble
    several = migration_state(conn, "schema_migrations")
    assert several.dirty is None and "Several migration tools" in several.trouble


def test_a_platform_s_own_tables_do_not_count(conn: Connection, database: Database) -> None:
    """Supabase's auth service keeps a table of dbmate's form in its own schema."""
    conn.execute("CREATE SCHEMA auth; CREATE TABLE auth.schema_migrations (version varchar(255))")
    conn.execute(TOOLS["Prisma"].empty)
    conn.execute(TOOLS["Prisma"].clean)
    found, recorded = read_recorded(database, "schema_migrations")
    assert found.tool == "Prisma" and recorded.version == 20240102000000
    assert read_recorded(database, "auth.schema_migrations")[0].tool == "dbmate"


@pytest.mark.parametrize("tool", sorted(set(TOOLS) - {"sqitch"}))
def test_a_table_of_another_name_is_told_by_its_columns(conn: Connection, database: Database, tool: str) -> None:
    tables = TOOLS[tool]
    schema, table = tables.where
    conn.execute(tables.empty)
    conn.execute(tables.clean)
    conn.execute(f"ALTER TABLE {schema}.{table} RENAME TO account_of_migrations")
    assert find_state_tables(conn) == []
    found, recorded = read_recorded(database, f"{schema}.account_of_migrations")
    assert (found.tool, found.table) == (tool, "account_of_migrations")
    assert (recorded.version, recorded.applied) == (tables.version, tables.applied)


def test_any_table_is_no_account_because_it_is_named(conn: Connection, database: Database) -> None:
    conn.execute("CREATE TABLE releases (id bigint, version text)")
    with pytest.raises(RollbackError, match="No migration tool's state table was found"):
        read_recorded(database, "releases")


LOCKS = {
    "golang-migrate": None,
    "golang-migrate's command line": None,
    "node-pg-migrate": 7241865325823964,
    "Prisma": 72707369,
    "sqitch": 75474063,
    "goose": 5887940537704921958,
    "Flyway": keys.flyway_key("public", "flyway_schema_history"),
    "Atlas": keys.atlas_key(),
}


@pytest.mark.parametrize("tool", LOCKS)
def test_who_holds_an_advisory_lock_is_named(conn: Connection, churn_database: ServiceDatabase, tool: str) -> None:
    tool, _, line = tool.partition("'s")
    conn.execute(TOOLS[tool].empty)
    database = f"/{churn_database.name}" if line else churn_database.name
    key = LOCKS[tool] or keys.golang_migrate_key(database, *TOOLS[tool].where)
    with psycopg.connect(churn_database.owner_url, application_name="night-shift", autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [key + 1])
        assert read(conn).locked_by == ()
        other.execute("SELECT pg_advisory_lock(%s)", [key])
        (holder,) = read(conn).locked_by
        assert (holder.pid, holder.who) == (other.info.backend_pid, "night-shift")
        assert holder.since is not None and f"advisory lock {key}" in str(holder) and "UTC" in str(holder)


@pytest.mark.parametrize("tool", ["dbmate", "golang-migrate", "diesel"])
def test_who_is_writing_in_the_table_is_named(conn: Connection, churn_database: ServiceDatabase, tool: str) -> None:
    conn.execute(TOOLS[tool].empty)
    with psycopg.connect(churn_database.owner_url, application_name="migrator") as other:
        other.execute(TOOLS[tool].clean)
        (holder,) = read(conn).locked_by
        assert holder.pid == other.info.backend_pid and "RowExclusiveLock on the state table" in str(holder)
        other.rollback()
        other.execute(f"SELECT FROM {TOOLS[tool].where[1]}")
        assert read(conn).locked_by == (), "reading locks nobody out"


def test_neither_who_waits_nor_we_ourselves_are_holders(conn: Connection, churn_database: ServiceDatabase) -> None:
    conn.execute(TOOLS["Prisma"].empty)
    with (
        psycopg.connect(churn_database.owner_url, application_name="first") as first,
        psycopg.connect(churn_database.owner_url, application_name="second", autocommit=True) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        first.execute("SELECT pg_advisory_xact_lock(72707369)")
        waiting = pool.submit(second.execute, "SELECT pg_advisory_lock(72707369)")
        while conn.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").rowcount == 0:
            assert not waiting.done()
        assert [holder.who for holder in read(conn).locked_by] == ["first"]
        first.rollback()
        waiting.result(10)
        assert [holder.who for holder in read(conn).locked_by] == ["second"]
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(72707369)")
        conn.execute(TOOLS["Prisma"].clean)
        assert read(conn).locked_by == ()


def test_lock_tables_have_no_session(conn: Connection) -> None:
    conn.execute(TOOLS["Liquibase"].empty)
    conn.execute("UPDATE databasechangeloglock SET locked = true, lockgranted = '2024-01-01 03:00', lockedby = 'ci-7'")
    (holder,) = read(conn).locked_by
    assert holder.pid is None and "ci-7 (granted 2024-01-01 03:00:00" in str(holder) and "no expiry" in str(holder)


def test_knex_s_lock_is_read(conn: Connection) -> None:
    conn.execute(TOOLS["Knex"].empty)
    conn.execute("UPDATE knex_migrations_lock SET is_locked = 1")
    (holder,) = read(conn).locked_by
    assert "knex_migrations_lock" in str(holder)


def test_golang_migrate_keeps_one_row(conn: Connection) -> None:
    conn.execute(TOOLS["golang-migrate"].empty)
    conn.execute("INSERT INTO schema_migrations VALUES (1, false), (2, false)")
    with pytest.raises(RollbackError, match="holds 2 rows"):
        read(conn)
    assert migration_state(conn, "schema_migrations").dirty is None


def test_several_heads_are_told(conn: Connection) -> None:
    conn.execute(TOOLS["Alembic"].empty)
    conn.execute("INSERT INTO alembic_version VALUES ('aaa'), ('bbb')")
    assert read(conn).problems == ("2 heads are live: aaa, bbb",)


class TestAgainstTheFolder:
    def test_a_gap_and_a_missing_file(self, conn: Connection, tmp_path: Path) -> None:
        conn.execute(TOOLS["dbmate"].empty)
        conn.execute("INSERT INTO schema_migrations VALUES ('20240101000000'), ('20240103000000')")
        path = files(tmp_path, **{f"_2024010{n}000000_m": "-- migrate:up\n-- migrate:down\n" for n in (1, 2, 3, 4)})
        seen = state(conn, path)
        assert (seen.version, seen.applied) == (20240103000000, (20240101000000, 20240103000000))
        assert seen.pending == (20240102000000, 20240104000000) and seen.drift == ()
        assert seen.problems == ("Not applied although newer ones are: 20240102000000",)
        (path / "20240103000000_m.sql").unlink()
        seen = state(conn, path)
        assert (seen.version, seen.drift, seen.applied) == (20240103000000, (20240103000000,), (20240101000000,))

    def test_places_are_the_folder_s(self, conn: Connection, tmp_path: Path, database: Database) -> None:
        conn.execute(TOOLS["Flyway"].empty)
        conn.execute(TOOLS["Flyway"].clean)
        path = files(tmp_path, V1__a="SELECT 1", **{"V1.5__x": "SELECT 1"}, V2__b="SELECT 1", V3__c="SELECT 1")
        assert read(conn).version == 2, "without the files it can only be the tool's number"
        seen = state(conn, path)
        assert (seen.version, seen.label, seen.said) == (3, "2", "version 3 (2), clean")
        assert (seen.applied, seen.pending) == ((1, 3), (2, 4))
        assert read_recorded(database, "x", read_folder(path))[1].version == 3

    def test_a_baseline_stands_for_what_was_before(self, conn: Connection, tmp_path: Path) -> None:
        conn.execute(TOOLS["Flyway"].empty)
        conn.execute(
            """
            INSERT INTO flyway_schema_history VALUES
                (1, '2', '<< Flyway Baseline >>', 'BASELINE', '<< Flyway Baseline >>', NULL, 'ann', now(), 0, true)
            """
        )
        path = files(tmp_path, V1__a="SELECT 1", V2__b="SELECT 1", V3__c="SELECT 1")
        seen = state(conn, path)
        assert (seen.version, seen.applied, seen.pending, seen.drift) == (2, (1, 2), (3,), ())

    def test_flyway_s_checksums(self, conn: Connection, tmp_path: Path) -> None:
        """The sum of a script does not depend on line ends or a byte order mark."""
        assert flyway_checksum(b"\xef\xbb\xbfa\r\nb\rc\n") == flyway_checksum(b"a\nb\nc")
        conn.execute(TOOLS["Flyway"].empty)
        conn.execute(TOOLS["Flyway"].clean)
        path = files(tmp_path, V1__a="SELECT 1;\n", V2__b="SELECT 2;\n")
        conn.execute(
            "UPDATE flyway_schema_history SET checksum = %s WHERE script = 'V1__a.sql'", [flyway_checksum(b"SELECT 1;")]
        )
        seen = state(conn, path)
        assert seen.changed == (2,) and seen.problems == ("Changed since they were applied: 2",)

    @pytest.mark.parametrize("kept", ["\n", "\r\n"])
    @pytest.mark.parametrize("ends", ["\n", "\r\n"])
    def test_prisma_s_checksums(self, conn: Connection, tmp_path: Path, ends: str, kept: str) -> None:
        """Whatever a checkout made of the line ends."""
        conn.execute(TOOLS["Prisma"].empty)
        conn.execute(TOOLS["Prisma"].clean)
        for name in ("20240101000000_a", "20240102000000_b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "migration.sql").write_bytes(f"SELECT 1;{ends}".encode())
        digest = hashlib.sha256(f"SELECT 1;{kept}".encode()).hexdigest()
        conn.execute("UPDATE _prisma_migrations SET checksum = %s WHERE id = 'b'", [digest])
        seen = state(conn, tmp_path)
        assert seen.version == 20240102000000 and seen.changed == (20240102000000,)

    def test_drizzle_s_checksums(self, conn: Connection, tmp_path: Path) -> None:
        conn.execute(TOOLS["Drizzle"].empty)
        conn.execute(TOOLS["Drizzle"].clean)
        (tmp_path / "meta").mkdir()
        entries = '{"when": 1700000000000, "tag": "0000_a"}, {"when": 1700000000001, "tag": "0001_b"}'
        (tmp_path / "meta" / "_journal.json").write_text(f'{{"entries": [{entries}]}}')
        files(tmp_path, _0000_a="SELECT 1", _0001_b="SELECT 2")
        digest = hashlib.sha256(b"SELECT 1").hexdigest()
        conn.execute("UPDATE drizzle.__drizzle_migrations SET hash = %s WHERE hash = 'x'", [digest])
        seen = state(conn, tmp_path)
        assert seen.changed == (1700000000001,) and seen.pending == ()

    def test_supabase_s_statements(self, conn: Connection, tmp_path: Path) -> None:
        conn.execute(TOOLS["the Supabase CLI"].empty)
        conn.execute(TOOLS["the Supabase CLI"].clean)
        path = files(tmp_path, _20240101000000_a="-- a comment\ncreate table a ();\n", _20240102000000_b="SELECT 1")
        assert state(conn, path).changed == (), "layout and comments say nothing; what was not kept cannot be compared"
        files(path, _20240101000000_a="CREATE TABLE a (x int)")
        assert state(conn, path).changed == (20240101000000,)

    def test_sqitch_s_reworked_changes(self, conn: Connection, tmp_path: Path) -> None:
        conn.execute(TOOLS["sqitch"].empty)
        conn.execute(TOOLS["sqitch"].clean)
        date = "2024-01-01T00:00:00Z Ann <ann@example.org>"
        plan = f"%project=churn\n\nevents {date}\ncases {date}\n@v1 {date}\nevents [events@v1] {date}\n"
        (tmp_path / "sqitch.plan").write_text(plan)
        (tmp_path / "deploy").mkdir()
        for name in ("events", "events@v1", "cases"):
            (tmp_path / "deploy" / f"{name}.sql").write_text("SELECT 1")
        seen = state(conn, tmp_path)
        assert (seen.version, seen.label, seen.applied, seen.pending) == (2, "cases", (1, 2), (3,))
        assert seen.said == "version 2 (cases), clean"
        conn.execute(
            """
            INSERT INTO sqitch.changes (change_id, change, project, committer_name, committer_email, planned_at,
                                        planner_name, planner_email)
            SELECT 'c3', change, project, committer_name, committer_email, planned_at, planner_name, planner_email
            FROM sqitch.changes WHERE change_id = 'c1'
            """
        )
        assert state(conn, tmp_path).applied == (1, 2, 3)
        (tmp_path / "sqitch.plan").write_text(plan[: plan.index("@v1")])
        seen = state(conn, tmp_path)
        assert seen.drift == ("events",) and seen.applied == (1, 2), "the second of that name is not in this plan"

    def test_liquibase_s_and_atlas_s_sums_are_unknown_and_said(self, conn: Connection) -> None:
        conn.execute(TOOLS["Liquibase"].empty)
        conn.execute(TOOLS["Liquibase"].clean)
        assert "not compared" in read(conn).problems[0]

    def test_read_state_asks_the_database(self, conn: Connection, tmp_path: Path, database: Database) -> None:
        conn.execute(TOOLS["golang-migrate"].empty)
        conn.execute(TOOLS["golang-migrate"].clean)
        path = files(tmp_path, **{"_1_a.up": "SELECT 1", "_2_b.up": "SELECT 1", "_3_c.up": "SELECT 1"})
        seen = read_state(database, read_folder(path), "schema_migrations")
        assert (seen.tool, seen.version, seen.applied, seen.pending) == ("golang-migrate", 2, (1, 2), (3,))
        assert seen.said == "version 2, clean" and seen.locked_by == ()


WRITTEN = {"golang-migrate", "dbmate", "node-pg-migrate", "Flyway", "goose", "diesel", "sqitch"}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tools_that_are_not_written_are_refused_by_name(tool: str) -> None:
    found = Found(tool, "public", "t", None)
    if tool in WRITTEN:
        assert account_of(found, target="test").tool == tool
        return
    with pytest.raises(RollbackError, match=f"{tool}.* is read but not written") as raised:
        account_of(found, target="test")
    assert raised.value.target == "test"
