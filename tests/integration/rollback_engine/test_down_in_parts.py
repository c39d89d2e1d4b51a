"""Scripts that no transaction can hold: run in parts, each statement once, whenever the runner dies in between."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import downs
import forked
import psycopg
import pytest
from downs import Migrated, environment_of

from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.blocking import Patience

BASE = "CREATE TABLE things (id int PRIMARY KEY, name text, colour text); CREATE INDEX things_name_idx ON things (name)"
DOWN = """
INSERT INTO log VALUES ('first');
DROP INDEX CONCURRENTLY things_name_idx;
ALTER TABLE things DROP COLUMN colour;
INSERT INTO log VALUES ('second');
CREATE INDEX CONCURRENTLY things_id_name_idx ON things (id, name);
INSERT INTO log VALUES ('third');
"""
PIECES = 6


@pytest.fixture
def migrated(churn_database: ServiceDatabase, tmp_path: Path) -> Iterator[Migrated]:
    made = Migrated(churn_database, tmp_path)
    made.apply(1, BASE)
    made.write("INSERT INTO things SELECT i, 'n' || i, 'c' || i FROM generate_series(1, 50) i")
    made.write("CREATE TABLE log (said text)")
    made.apply(2, "SELECT 1", DOWN)
    yield made
    made.close()


def killed(migrated: Migrated, number: int, when: str) -> None:
    """Take version 2 back in a process that dies there."""
    environment = {"DOWNS": json.dumps(environment_of(migrated.database.toolkit_url))}
    died = forked.run(downs.__file__, str(migrated.folder), "2", str(number), when, environment=environment)
    assert died.returncode == -signal.SIGKILL, died.stderr


def assert_done_once(migrated: Migrated) -> None:
    assert migrated.query("SELECT said FROM log ORDER BY 1") == [("first",), ("second",), ("third",)]
    assert migrated.query("SELECT to_regclass('things_name_idx')") == [(None,)]
    assert migrated.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'things_id_name_idx'::regclass") == [
        (True,)
    ]
    assert migrated.query(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'things'::regclass AND attname = 'colour'"
    ) == [(0,)]
    assert migrated.version() == [(1, False)]
    assert migrated.query("SELECT count(*) FROM toolkit.down_progress") == [(0,)]
    assert [(each.columns, each.rows) for each in migrated.salvaged()] == [(("colour",), 50)]


def test_it_is_run_in_parts_and_said(migrated: Migrated) -> None:
    said = migrated.take_back(2)
    assert_done_once(migrated)
    assert "DROP INDEX CONCURRENTLY, line 3, CREATE INDEX CONCURRENTLY, line 6 alone" in said


@pytest.mark.parametrize("number", range(PIECES))
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_statement_it_goes_on(migrated: Migrated, number: int, when: str) -> None:
    killed(migrated, number, when)
    assert migrated.version() == [(2, False)]
    step = migrated.down(2)
    standing = step.look()
    assert not standing.done
    if number > 0:
        assert "was begun: statement" in standing.evidence and "was begun: statement" in step.state()
    migrated.take_back(2)
    assert_done_once(migrated)


def test_an_index_that_was_left_half_made_is_made_anew(migrated: Migrated) -> None:
    killed(migrated, 4, "before")
    migrated.write("CREATE INDEX things_id_name_idx ON things (id, name)")
    migrated.query("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'things_id_name_idx'::regclass")
    half = migrated.query("SELECT 'things_id_name_idx'::regclass::oid")
    migrated.take_back(2)
    assert_done_once(migrated)
    assert migrated.query("SELECT 'things_id_name_idx'::regclass::oid") != half


def test_what_the_server_alone_knows_is_learned_from_it(migrated: Migrated) -> None:
    migrated.add(2, "SELECT 1", "INSERT INTO log VALUES ('once'); REINDEX SCHEMA public; DROP TABLE things;")
    said = migrated.take_back(2)
    assert "REINDEX SCHEMA, line 1 alone" in said
    assert migrated.query("SELECT said FROM log") == [("once",)]
    told = [data for kind, data in migrated.told if kind == "step.in_parts"]
    assert told and "25001" in told[0]["because"]


def test_a_new_label_that_is_used_at_once_is_added_by_itself(migrated: Migrated) -> None:
    migrated.apply(2, "CREATE TYPE hue AS ENUM ('red'); ALTER TABLE things ADD COLUMN hue hue")
    migrated.add(3, "ALTER TYPE hue ADD VALUE 'blue'; UPDATE things SET hue = 'blue' WHERE id < 6;")
    migrated.apply_again(3)
    assert migrated.query("SELECT count(*) FROM things WHERE hue = 'blue'") == [(5,)]
    assert migrated.version() == [(3, False)]


def test_settings_reach_the_parts_and_do_not_leak(migrated: Migrated) -> None:
    migrated.write("CREATE SCHEMA other CREATE TABLE things (id int)", "CREATE INDEX other_idx ON other.things (id)")
    migrated.add(
        2,
        "SELECT 1",
        "SET lock_timeout = 0; SET search_path = other; DROP INDEX CONCURRENTLY other_idx; DROP TABLE things",
    )
    migrated.take_back(2)
    assert migrated.query("SELECT to_regclass('other.things'), to_regclass('public.things')") == [(None, "things")]
    assert migrated.version() == [(1, False)]


def test_a_statement_that_fails_alone_fails_again_and_leaves_its_place(migrated: Migrated) -> None:
    migrated.write("UPDATE things SET name = 'same'")
    migrated.add(
        2, "SELECT 1", "INSERT INTO log VALUES ('first'); CREATE UNIQUE INDEX CONCURRENTLY one ON things (name)"
    )
    with pytest.raises(DatabaseError, match=r"could not create unique index .*line 1"):
        migrated.take_back(2)
    assert "statement 2 of 2 comes next" in migrated.down(2).state()
    migrated.write("UPDATE things SET name = id::text")
    migrated.take_back(2)
    assert migrated.query("SELECT said FROM log") == [("first",)]


def test_one_that_cannot_be_told_is_not_run_twice(migrated: Migrated) -> None:
    migrated.add(2, "SELECT 1", "INSERT INTO log VALUES ('first'); CREATE INDEX CONCURRENTLY ON things (colour);")
    killed(migrated, 1, "after")
    with pytest.raises(RollbackError, match="is not known") as raised:
        migrated.take_back(2)
    assert "down_progress" in raised.value.next
    assert migrated.query("SELECT count(*) FROM pg_indexes WHERE tablename = 'things'") == [(3,)]


def test_a_wrapping_transaction_is_taken_over(migrated: Migrated) -> None:
    migrated.add(
        2, "SELECT 1", "BEGIN; DELETE FROM things WHERE id = 1; COMMIT; START TRANSACTION; DROP TABLE log; END WORK;"
    )
    assert "in one transaction" in migrated.take_back(2)
    assert migrated.query("SELECT to_regclass('log'), count(*) FROM things") == [(None, 49)]


@pytest.mark.parametrize(
    "down",
    [
        "DELETE FROM things; COMMIT; SELECT 1",
        "BEGIN; DELETE FROM things; ROLLBACK",
        "BEGIN; DELETE FROM things",
        "BEGIN; BEGIN; COMMIT; COMMIT",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; DELETE FROM things; COMMIT",
        "DELETE FROM things; PREPARE TRANSACTION 'x'",
        "BEGIN; DELETE FROM things; COMMIT AND CHAIN",
    ],
)
def test_other_transaction_control_is_refused(migrated: Migrated, down: str) -> None:
    migrated.add(2, "SELECT 1", down)
    with pytest.raises(RollbackError, match="transaction") as raised:
        migrated.take_back(2)
    assert raised.value.state == "it was not run"
    assert migrated.query("SELECT count(*) FROM things") == [(50,)]


class TestBlocked:
    """Somebody holds a table; another waits for it too."""

    @pytest.fixture
    def short(self, migrated: Migrated) -> Migrated:
        migrated.patience = Patience(lock_within_ms=200, give_up_after_s=0.5, first_pause_s=0.05)
        migrated.add(2, "SELECT 1", "ALTER TABLE things DROP COLUMN colour")
        return migrated

    def test_only_the_holder_is_ended_and_only_on_request(self, short: Migrated) -> None:
        short.end_blockers = True
        with (
            ThreadPoolExecutor(1) as pool,
            psycopg.connect(short.database.owner_url, application_name="holder") as holder,
            psycopg.connect(short.database.owner_url, application_name="in the queue") as queued,
        ):
            holder.execute("SELECT count(*) FROM things WHERE 'somebody' <> ''")
            queued.execute("BEGIN")
            waits = pool.submit(queued.execute, "LOCK TABLE things IN SHARE ROW EXCLUSIVE MODE NOWAIT")
            waits.result(10)
            queued.rollback()
            assert short.take_back(2)
            ended = [data for kind, data in short.told if kind == "step.blockers_ended"]
            assert [each["application"] for data in ended for each in data["ended"]] == ["holder"]
            assert "somebody" not in json.dumps(short.told), "the blocker's query is told without its values"
            assert queued.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.OperationalError):
                holder.execute("SELECT 1")

    def test_nobody_is_ended_otherwise(self, short: Migrated) -> None:
        with psycopg.connect(short.database.owner_url, application_name="holder") as holder:
            holder.execute("SELECT count(*) FROM things")
            with pytest.raises(RollbackError, match=r"did not get its locks .*holder, idle in transaction"):
                short.take_back(2)
            assert holder.execute("SELECT 1").fetchone() == (1,)

    def test_a_superuser_is_spared(self, short: Migrated) -> None:
        short.end_blockers = True
        with psycopg.connect(short.database.admin_url, application_name="dba") as holder:
            holder.execute("SELECT count(*) FROM things")
            with pytest.raises(RollbackError, match="did not get its locks"):
                short.take_back(2)
            spared = [each for kind, data in short.told if kind == "step.blockers_ended" for each in data["spared"]]
            assert spared and all("superuser" in each["why"] for each in spared)
            assert holder.execute("SELECT 1").fetchone() == (1,)

    def test_an_index_waits_as_long_as_it_must_and_says_for_whom(self, migrated: Migrated) -> None:
        migrated.add(2, "SELECT 1", "DROP INDEX CONCURRENTLY things_name_idx")
        with ThreadPoolExecutor(1) as pool, psycopg.connect(migrated.database.owner_url) as old:
            old.execute("SELECT count(*) FROM things")
            running = pool.submit(migrated.take_back, 2)
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'toolkit' AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: migrated.query(waiting) == [(1,)], within=20, what="the index to wait")
            old.rollback()
            assert "alone" in running.result(30)

    def test_the_locks_and_how_long_they_were_held_are_told(self, short: Migrated) -> None:
        short.take_back(2)
        told = next(data for kind, data in short.told if kind == "step.locks")
        assert {"relation": "public.things", "mode": "AccessExclusiveLock"} in told["locks"]
        assert told["held_s"] >= 0
