"""pg_restore and psql as we run them: what they refuse is told without rows, and a plain dump runs no program."""

import contextlib
import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.pgtools import PgTools, Running
from toolkit.adapters.postgres import Database
from toolkit.clock import wait_until
from toolkit.errors import BackupError
from toolkit.rollback.scratch import Scratch, scratch_server

SECRET = "row-that-nobody-may-read"
CONTENT = f"""
CREATE ROLE writes_here;
CREATE SCHEMA extra;
CREATE TABLE people (id int PRIMARY KEY, name text UNIQUE);
INSERT INTO people SELECT g, '{SECRET}' || g FROM generate_series(1, 500) AS g;
CREATE TABLE extra.notes (id int PRIMARY KEY, person int REFERENCES people);
INSERT INTO extra.notes SELECT g, g FROM generate_series(1, 50) AS g;
CREATE VIEW names AS SELECT name FROM people;
ALTER TABLE people OWNER TO writes_here;
GRANT SELECT ON names TO writes_here;
"""


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as server:
        yield server


@pytest.fixture(scope="module")
def source(scratch: Scratch) -> Database:
    database = scratch.empty("source")
    with database.writing() as conn:
        conn.execute(CONTENT)
    return database


@pytest.fixture(scope="module")
def tools(scratch: Scratch) -> PgTools:
    return PgTools(scratch.server.binaries)


@pytest.fixture
def copy(scratch: Scratch) -> Database:
    return scratch.empty("copy")


def dumped(scratch: Scratch, folder: Path, form: str, *more: str) -> Path:
    to = folder / f"dump-{form}"
    argv = [scratch.server.binaries.program("pg_dump"), f"--format={form}", "--file", to, *more]
    subprocess.run(argv, env=scratch.database("source").libpq(), check=True)
    return to


def value(database: Database, query: str) -> object:
    with database.reading() as conn:
        row = conn.execute(query).fetchone()
        return row and row[0]


@pytest.mark.parametrize("form", ["directory", "custom", "tar"])
def test_an_archive_is_restored_whatever_its_form(
    scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path, form: str
) -> None:
    told: list[tuple[str, float, float | None]] = []
    archive = dumped(scratch, tmp_path, form)
    assert tools.restore(copy, archive, advance=lambda *said: told.append(said)) == []
    assert value(copy, "SELECT count(*) FROM people") == 500
    assert value(copy, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'people'") == "writes_here"
    what, done, whole = told[-1]
    assert what == "restoring" and 0 < done <= (whole or 0)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_sections_schemas_and_rights_can_be_left_out(
    scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path
) -> None:
    archive = dumped(scratch, tmp_path, "directory")
    assert tools.restore(copy, archive, sections=["pre-data"], schemas=["public"], no_owner=True, no_acl=True) == []
    assert value(copy, "SELECT count(*) FROM people") == 0
    assert value(copy, "SELECT to_regclass('extra.notes')") is None
    assert value(copy, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'people'") == "postgres"


def test_the_archives_own_database_can_be_made(
    scratch: Scratch, source: Database, tools: PgTools, tmp_path: Path
) -> None:
    archive = dumped(scratch, tmp_path, "custom")
    with scratch.database("template1").singly() as conn:
        conn.execute("ALTER DATABASE source RENAME TO elsewhere")
    try:
        assert tools.restore(scratch.database("template1"), archive, create=True) == []
        assert value(scratch.database("source"), "SELECT count(*) FROM people") == 500
    finally:
        with scratch.database("template1").singly() as conn:
            conn.execute("DROP DATABASE IF EXISTS source WITH (FORCE)")
            conn.execute("ALTER DATABASE elsewhere RENAME TO source")


def test_what_is_refused_is_told_without_rows(
    scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path
) -> None:
    archive = dumped(scratch, tmp_path, "directory")
    with copy.writing() as conn:
        conn.execute("CREATE TABLE people (id int PRIMARY KEY, name text); INSERT INTO people VALUES (7)")
    refused = tools.restore(copy, archive)
    assert 'TABLE people: relation "people" already exists' in refused
    assert any(each.startswith("TABLE DATA people: duplicate key value violates") for each in refused)
    assert not any(SECRET in each or "(7)" in each or "\n" in each for each in refused)
    assert value(copy, "SELECT count(*) FROM extra.notes") == 50  # it went on


def test_the_first_refusal_ends_it_where_that_is_wanted(
    scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path
) -> None:
    archive = dumped(scratch, tmp_path, "directory")
    with copy.writing() as conn:
        conn.execute("CREATE TABLE people (id int)")
    with pytest.raises(BackupError, match="already exists"):
        tools.restore(copy, archive, exit_on_error=True)


def test_an_archive_that_is_none_and_one_that_is_torn(
    scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path
) -> None:
    (tmp_path / "none").write_text("no archive")
    with pytest.raises(BackupError, match="pg_restore failed"):
        tools.restore(copy, tmp_path / "none")
    torn = dumped(scratch, tmp_path, "custom")
    torn.write_bytes(torn.read_bytes()[:-2000])
    with pytest.raises(BackupError, match="pg_restore failed"):
        tools.restore(copy, torn)


def test_the_password_is_in_no_argument(source: Database, scratch: Scratch, tools: PgTools) -> None:
    argv = [tools.binaries.program("psql"), "--no-psqlrc", "-c", "SELECT pg_sleep(30)"]
    with Running(argv, source.libpq()):
        wait_until(lambda: sum(b"pg_sleep" in each for each in arguments()) >= 2, within=20, what="psql to begin")
        assert not any(scratch.server.superuser_password.encode() in each for each in arguments())


def arguments() -> list[bytes]:
    """Those of every process that can be seen."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


class TestPlain:
    @pytest.mark.parametrize("packed", [False, True])
    def test_a_plain_dump_runs(
        self, scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path, packed: bool
    ) -> None:
        file, told = dumped(scratch, tmp_path, "plain"), list[tuple[str, float, float | None]]()
        assert b"\\restrict" in file.read_bytes()
        if packed:
            file = tmp_path / "dump.sql.gz"
            file.write_bytes(gzip.compress((tmp_path / "dump-plain").read_bytes()))
        left = tools.run_sql_file(copy, file, server_major=scratch.major, advance=lambda *said: told.append(said))
        assert left == []
        assert value(copy, "SELECT count(*) FROM people") == 500
        assert told[-1] == ("loading", file.stat().st_size, file.stat().st_size)

    def test_what_an_older_server_does_not_know_is_left_out_and_said(
        self, scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path
    ) -> None:
        file = dumped(scratch, tmp_path, "plain")
        assert tools.run_sql_file(copy, file, server_major=16) == [
            "SET transaction_timeout, which PostgreSQL 16 does not know"
        ]

    def test_it_stops_at_the_first_error_and_tells_no_row(
        self, scratch: Scratch, source: Database, tools: PgTools, copy: Database, tmp_path: Path
    ) -> None:
        file = dumped(scratch, tmp_path, "plain")
        with copy.writing() as conn:
            conn.execute("CREATE SCHEMA extra; CREATE TABLE extra.notes (id int)")
        with pytest.raises(BackupError, match='schema "extra" already exists') as caught:
            tools.run_sql_file(copy, file, server_major=scratch.major)
        assert SECRET not in str(caught.value)
        assert value(copy, "SELECT to_regclass('people')") is None

    def test_in_one_transaction_nothing_stays_of_one_that_failed(
        self, scratch: Scratch, tools: PgTools, copy: Database, tmp_path: Path
    ) -> None:
        file = tmp_path / "some.sql"
        file.write_text(
            "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);\nSELECT nonsense;\nCREATE TABLE b (id int);"
        )
        with pytest.raises(BackupError, match='column "nonsense" does not exist'):
            tools.run_sql_file(copy, file, server_major=18, single_transaction=True)
        assert value(copy, "SELECT to_regclass('a')") is None
        with pytest.raises(BackupError):
            tools.run_sql_file(copy, file, server_major=18)
        assert value(copy, "SELECT to_regclass('a')::text || coalesce(to_regclass('b')::text, '')") == "a"

    @pytest.mark.parametrize("command", ["\\! touch {made}", "\\connect source", "\\o {made}", "\\unrestrict guess"])
    def test_it_runs_no_program_and_goes_nowhere_else(
        self, tools: PgTools, copy: Database, tmp_path: Path, command: str
    ) -> None:
        made, file = tmp_path / "made", tmp_path / "evil.sql"
        file.write_text(f"\\restrict guess\nCREATE TABLE a (id int);\n{command.format(made=made)}\nSELECT 1;\n")
        if "unrestrict" in command:  # its own is taken out, and what follows is still refused
            file.write_text(f"{file.read_text()}\\! touch {made}\n")
        with pytest.raises(BackupError, match="restricted"):
            tools.run_sql_file(copy, file, server_major=18)
        assert not made.exists()

    def test_a_torn_packed_file_is_told_and_not_committed(self, tools: PgTools, copy: Database, tmp_path: Path) -> None:
        file = tmp_path / "torn.sql.gz"
        file.write_bytes(
            gzip.compress(b"CREATE TABLE torn (id int);\n" + b"INSERT INTO torn VALUES (1);\n" * 5000)[:-20]
        )
        with pytest.raises(BackupError, match="it is not whole"):
            tools.run_sql_file(copy, file, server_major=18, single_transaction=True)
        assert value(copy, "SELECT to_regclass('torn')") is None

    def test_a_line_of_data_that_looks_like_ours_stays(self, tools: PgTools, copy: Database, tmp_path: Path) -> None:
        file = tmp_path / "data.sql"
        line = "SET transaction_timeout = 0;"
        file.write_text(f"CREATE TABLE a (t text);\nCOPY a FROM stdin;\n{line}\n\\\\restrict x\n\\.\n")
        tools.run_sql_file(copy, file, server_major=15)
        assert value(copy, "SELECT string_agg(t, ',' ORDER BY t) FROM a") == f"{line},\\restrict x"


def test_a_connection_keeps_what_it_was_told_of_encryption(scratch: Scratch, tools: PgTools) -> None:
    database = Database(SecretStr(scratch.server.url() + "?sslmode=require"), target="x")
    with pytest.raises(psycopg.OperationalError), psycopg.connect(scratch.server.url() + "?sslmode=require"):
        pass
    argv = [tools.binaries.program("psql"), "--no-psqlrc", "-c", "SELECT 1"]
    said: list[str] = []
    with Running(argv, database.libpq()) as running:
        assert running.follow(said.append, 20, "psql") != 0
    assert "SSL" in "".join(said)
