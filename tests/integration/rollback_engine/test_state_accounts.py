"""Writing in a tool's account: the rows that the tool itself would leave, under its own lock, or not at all."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tool_tables import TOOLS

from toolkit.adapters.postgres import Connection
from toolkit.adapters.state_tables import Found, find_state_tables, locks, read_table
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import Migration, Script
from toolkit.rollback.state_tables import Account, account_of
from toolkit.rollback.state_tables.listed_accounts import flyway_checksum

LABELS = {
    "golang-migrate": ("1", "2", "3"),
    "dbmate": ("20240101000000", "20240102000000", "20240103000000"),
    "node-pg-migrate": ("1700000000000_a", "1700000000001_b", "1700000000002_c"),
    "Flyway": ("1", "2", "3"),
    "goose": ("1", "2", "3"),
    "diesel": ("00000000000000", "20240102000000", "20240103000000"),
}
DOWN = Script("U__down.sql", b"DROP TABLE t;\n")
UP = Script("V__up.sql", b"CREATE TABLE t ();\n")


@pytest.fixture
def conn(churn_database: ServiceDatabase) -> Iterator[Connection]:
    with psycopg.connect(churn_database.owner_url, autocommit=True) as conn:
        yield conn


def set_up(conn: Connection, tool: str) -> tuple[Found, Account]:
    conn.execute(TOOLS[tool].empty)
    conn.execute(TOOLS[tool].clean)
    (found,) = find_state_tables(conn)
    return found, account_of(found, target="test")


def migration(tool: str, place: int) -> Migration:
    return Migration(place, "m", UP, DOWN, LABELS[tool][place - 1])


def applied(conn: Connection, found: Found) -> list[str]:
    recorded = read_table(conn, found)
    return list(recorded.applied) or [str(n) for n in range(1, (recorded.version or 0) + 1)]


def rows(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


@pytest.mark.parametrize("tool", LABELS)
def test_down_and_up_again_and_everything_down(conn: Connection, tool: str) -> None:
    found, account = set_up(conn, tool)
    at, labels = (found.schema, found.table), list(LABELS[tool])
    assert applied(conn, found) == labels[:2]
    account.record_down(conn, *at, 1, [migration(tool, 2)])
    assert applied(conn, found) == labels[:1]
    account.record_up(conn, *at, migration(tool, 2))
    account.record_up(conn, *at, migration(tool, 3))
    assert applied(conn, found) == labels
    account.record_down(conn, *at, None, [migration(tool, n) for n in (3, 2, 1)])
    assert applied(conn, found) == [] and read_table(conn, found).version is None
    assert not read_table(conn, found).dirty


@pytest.mark.parametrize("tool", sorted(set(LABELS) - {"golang-migrate"}))
def test_what_is_not_recorded_is_not_taken_back(conn: Connection, tool: str) -> None:
    found, account = set_up(conn, tool)
    with pytest.raises(RollbackError, match="where one was expected") as raised, conn.transaction():
        account.record_down(conn, found.schema, found.table, 1, [migration(tool, 2), migration(tool, 3)])
    assert "taken back" in raised.value.state and applied(conn, found) == list(LABELS[tool][:2])
    with pytest.raises(RollbackError, match="none was named"):
        account.record_down(conn, found.schema, found.table, 1)


def test_golang_migrate_s_row_is_replaced(conn: Connection) -> None:
    found, account = set_up(conn, "golang-migrate")
    account.record_down(conn, found.schema, found.table, 1)
    assert rows(conn, "SELECT version, dirty FROM schema_migrations") == [(1, False)]
    account.record_down(conn, found.schema, found.table, None)
    assert rows(conn, "SELECT version, dirty FROM schema_migrations") == []


def test_flyway_s_history_is_never_rewritten(conn: Connection) -> None:
    found, account = set_up(conn, "Flyway")
    before = rows(conn, "SELECT * FROM flyway_schema_history ORDER BY installed_rank")
    account.record_down(conn, found.schema, found.table, 1, [migration("Flyway", 2)])
    after = rows(conn, "SELECT * FROM flyway_schema_history ORDER BY installed_rank")
    assert after[: len(before)] == before and len(after) == len(before) + 1
    rank, version, _, kind, script, checksum, _, _, _, success = after[-1]
    assert (rank, version, kind, script, success) == (6, "2", "UNDO_SQL", "U__down.sql", True)
    assert checksum == flyway_checksum(DOWN.content)


def test_goose_s_old_rows_go_with_their_version(conn: Connection) -> None:
    found, account = set_up(conn, "goose")
    account.record_down(conn, found.schema, found.table, 1, [migration("goose", 2)])
    assert rows(conn, "SELECT version_id, is_applied FROM goose_db_version ORDER BY id") == [
        (0, True),
        (1, True),
        (3, True),
        (3, False),
    ]


def test_node_pg_migrate_and_diesel_say_when(conn: Connection) -> None:
    found, account = set_up(conn, "node-pg-migrate")
    account.record_up(conn, found.schema, found.table, migration("node-pg-migrate", 3))
    assert rows(conn, "SELECT name, run_on > now() - interval '1 hour' FROM pgmigrations ORDER BY id DESC LIMIT 1") == [
        ("1700000000002_c", True)
    ]


class TestSqitch:
    CASES = Migration(2, "cases", UP, DOWN, "cases")
    EVENTS = Migration(1, "events", UP, DOWN, "events")

    def test_a_change_goes_with_its_tags_and_dependencies_and_leaves_an_event(self, conn: Connection) -> None:
        found, account = set_up(conn, "sqitch")
        account.record_down(conn, found.schema, found.table, 1, [self.CASES])
        assert applied(conn, found) == ["events"]
        assert rows(conn, "SELECT FROM sqitch.tags") == rows(conn, "SELECT FROM sqitch.dependencies") == []
        last = "SELECT event, change_id, change, project, requires, conflicts, tags, planner_name FROM sqitch.events"
        assert rows(conn, f"{last} ORDER BY committed_at DESC LIMIT 1") == [
            ("revert", "c2", "cases", "churn", ["events"], ["other"], ["@v1"], "Ann")
        ]
        assert not read_table(conn, found).dirty

    def test_all_of_them_from_the_newest(self, conn: Connection) -> None:
        found, account = set_up(conn, "sqitch")
        account.record_down(conn, found.schema, found.table, None, [self.CASES, self.EVENTS])
        assert read_table(conn, found).version is None
        events = rows(conn, "SELECT event, change FROM sqitch.events ORDER BY committed_at")
        assert events[-2:] == [("revert", "cases"), ("revert", "events")]

    def test_one_that_is_not_the_latest_is_refused(self, conn: Connection) -> None:
        found, account = set_up(conn, "sqitch")
        with pytest.raises(RollbackError, match="no rows for events"), conn.transaction():
            account.record_down(conn, found.schema, found.table, None, [self.EVENTS])
        assert applied(conn, found) == ["events", "cases"]

    def test_deploying_is_sqitch_s_own(self, conn: Connection) -> None:
        found, account = set_up(conn, "sqitch")
        with pytest.raises(RollbackError, match="sqitch alone computes"):
            account.record_up(conn, found.schema, found.table, self.CASES)


KEYED = ("golang-migrate", "node-pg-migrate", "Flyway", "goose", "sqitch")


@pytest.mark.parametrize("tool", KEYED)
def test_the_tool_at_work_is_not_disturbed(conn: Connection, churn_database: ServiceDatabase, tool: str) -> None:
    found, account = set_up(conn, tool)
    for key in account.lock_keys(churn_database.name, found.schema, found.table):
        with psycopg.connect(churn_database.owner_url, application_name="ci-runner", autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [key])
            at_work = rf"{tool} is at work here.*ci-runner \(pid \d+\)"
            with pytest.raises(RollbackError, match=at_work), conn.transaction():
                account.lock(conn, found.schema, found.table)
            other.execute("SELECT pg_advisory_unlock(%s)", [key])
            with conn.transaction():
                account.lock(conn, found.schema, found.table)
                assert other.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() == (False,)
            assert other.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() == (True,)


@pytest.mark.parametrize("tool", [*LABELS, "sqitch"])
def test_nobody_else_writes_while_we_hold_the_table(
    conn: Connection, churn_database: ServiceDatabase, tool: str
) -> None:
    found, account = set_up(conn, tool)
    with psycopg.connect(churn_database.owner_url, autocommit=True) as other, conn.transaction():
        account.lock(conn, found.schema, found.table)
        other.execute("SET lock_timeout = '20ms'")
        other.execute(f"SELECT FROM {found.schema}.{found.table}")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(f"DELETE FROM {found.schema}.{found.table}")


def test_golang_migrate_s_key_is_its_own() -> None:
    """From the test of its database/util.go."""
    assert locks.golang_migrate_key("database_name", "schema_name_1", "schema_name_2") == 3743845847
    assert locks.golang_migrate_keys("churn", "public", "schema_migrations") == (3453710950, 3528958362)
