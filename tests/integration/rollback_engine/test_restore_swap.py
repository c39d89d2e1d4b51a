"""A restore on a real database under traffic: nothing acknowledged is lost, whichever way and wherever it dies."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import psycopg
import pytest
import restore_rig
from pytest import MonkeyPatch
from restore_fixtures import Origin, clone, make_origin
from restore_rig import IMPATIENT, Clients, RestoreRig, damage_settings, environment_of, lost

from toolkit.clock import wait_until
from toolkit.errors import BackupError, RollbackError
from toolkit.rollback.plan import Way
from toolkit.rollback.restore import swap_databases, swap_schemas
from toolkit.rollback.restore.discarding import discard, leftovers
from toolkit.rollback.restore.names import damaged_name, restored_name
from toolkit.rollback.restore.swap_databases import reopen
from toolkit.server import PostgresServer
from toolkit.verify.fingerprints import SchemaSignature, difference, schema_signature

WAYS: tuple[Way, ...] = ("schemas", "databases", "reload")
RIGHT = "SELECT count(*) FROM creator_settings WHERE incentive_days = 99"

# What a schema may hold beside plain tables; the swap must leave each as it was.
RICH = """
CREATE TABLE public.readings (id bigint GENERATED ALWAYS AS IDENTITY, day date NOT NULL, value numeric, label text)
    PARTITION BY RANGE (day);
CREATE TABLE public.readings_2026 PARTITION OF public.readings FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE DOMAIN public.share AS numeric CHECK (VALUE BETWEEN 0 AND 1);
CREATE TYPE public.mood AS ENUM ('good', 'bad');
CREATE TABLE public.notes (
    id serial PRIMARY KEY, mood public.mood NOT NULL DEFAULT 'good', part public.share,
    parent int REFERENCES public.notes, doubled int GENERATED ALWAYS AS (1 + 1) STORED
);
CREATE FUNCTION public.moods(public.mood) RETURNS bigint LANGUAGE sql STABLE
    RETURN (SELECT count(*) FROM public.notes WHERE mood = $1);
CREATE FUNCTION public.notes_by_text() RETURNS bigint LANGUAGE plpgsql AS
    'BEGIN RETURN (SELECT count(*) FROM public.notes); END';
CREATE MATERIALIZED VIEW public.daily AS SELECT day, count(*) AS n FROM public.readings GROUP BY day;
CREATE VIEW public.noted AS SELECT id, mood FROM public.notes;
GRANT SELECT, INSERT ON public.notes TO churn_app;
GRANT SELECT (id, mood), UPDATE (mood) ON public.notes TO app_b8;
GRANT USAGE ON SEQUENCE public.notes_id_seq TO churn_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.readings TO churn_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_b6;
ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON public.notes USING (true);
INSERT INTO public.readings (day, value) SELECT date '2026-03-01' + n % 30, n FROM generate_series(1, 50) AS n;
INSERT INTO public.notes (mood) SELECT 'bad' FROM generate_series(1, 5);
"""


@pytest.fixture(scope="module")
def origin(cluster: PostgresServer, role_passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return make_origin(cluster, role_passwords, tmp_path_factory.mktemp("restore"), version=8, more=RICH)


@pytest.fixture
def rig(origin: Origin, tmp_path: Path) -> Iterator[RestoreRig]:
    for made in clone(origin, tmp_path):
        damage_settings(made)
        yield made


@pytest.fixture(scope="module")
def dumps(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dumps as others make them: plain, custom, and one of a single table."""
    folder, server = tmp_path_factory.mktemp("dumps"), origin.database.server
    ours = ["-n", "public", "-n", "pgboss"]
    for name, words in {
        "plain.sql": ours,
        "custom.dump": ["-Fc", *ours],
        "other.sql": ["-t", "public.creator_settings"],
    }.items():
        program = server.binaries.program("pg_dump")
        subprocess.run([program, *words, "-f", folder / name, origin.database.admin_url], check=True)
    return folder


def signature(rig: RestoreRig) -> SchemaSignature:
    with psycopg.connect(rig.database.admin_url) as conn:
        return schema_signature(conn, ["public", "pgboss"])


def schemas(rig: RestoreRig, prefix: str) -> list[str]:
    return [row[0] for row in rig.query("SELECT nspname FROM pg_namespace") if row[0].startswith(prefix)]


def ready(rig: RestoreRig, way: Way) -> None:
    """Superusers' extensions apart, which another database cannot have."""
    if way == "databases":
        rig.query("DROP EXTENSION pg_stat_statements")


@pytest.mark.parametrize("way", WAYS)
class TestUnderTraffic:
    def test_nothing_acknowledged_is_lost_and_the_damage_is_gone(self, rig: RestoreRig, way: Way) -> None:
        ready(rig, way)
        before = signature(rig)
        with Clients(rig.database) as clients:
            clients.wait_for(20)
            rig.beside(way).act()
            clients.wait_for(20)
            swap = rig.swap(way)
            assert not swap.look().done
            swap.act()
            assert swap.look().done
            clients.wait_for(40)
        assert lost(rig, clients) == []
        assert rig.query(RIGHT) == [(0,)]
        assert difference(before, signature(rig)) == []
        assert rig.query("SELECT version, dirty FROM schema_migrations") == [(8, False)]
        if way != "databases":
            assert (clients.errors, [len(pids) for pids in clients.pids.values()]) == ([], [1, 1])

    def test_the_same_steps_again_do_nothing(self, rig: RestoreRig, way: Way) -> None:
        ready(rig, way)
        rig.beside(way).act()
        assert rig.beside(way).look().done
        rig.swap(way).act()
        rows = rig.query("SELECT xid::text, at FROM toolkit.swap")
        for step in (rig.beside(way), rig.swap(way)):
            step.require()
            assert step.look().done
        assert rig.query("SELECT xid::text, at FROM toolkit.swap") == rows


class TestWhatHolds:
    @pytest.mark.parametrize("way", ["schemas", "databases"])
    def test_ids_do_not_collide_and_functions_read_what_is_live(self, rig: RestoreRig, way: Way) -> None:
        ready(rig, way)
        rig.query("INSERT INTO notes (mood) SELECT 'good' FROM generate_series(1, 7)")
        rig.query("SELECT nextval('notes_id_seq')")
        rig.beside(way).act()
        rig.swap(way).act()
        rig.query("INSERT INTO notes (mood) VALUES ('good')")
        assert rig.query("SELECT max(id) FROM notes") == [(14,)]
        assert rig.query("SELECT moods('good'), moods('bad'), notes_by_text()") == [(8, 5, 13)]
        rig.query("INSERT INTO readings (day) VALUES ('2026-05-01')")
        assert rig.query("SELECT max(id) FROM readings") == [(51,)]

    @pytest.mark.parametrize("way", ["schemas", "databases"])
    def test_a_restore_revives_no_right_and_drops_none(self, rig: RestoreRig, way: Way) -> None:
        ready(rig, way)
        rig.query("REVOKE INSERT ON notes FROM churn_app; REVOKE UPDATE (mood) ON notes FROM app_b8")
        rig.query("GRANT SELECT ON readings TO app_b7 WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION moods TO app_b7")
        before = signature(rig)
        rig.beside(way).act()
        rig.swap(way).act()
        assert difference(before, signature(rig)) == []
        assert rig.query("SELECT has_table_privilege('churn_app', 'notes', 'INSERT')") == [(False,)]
        assert rig.query("SELECT has_table_privilege('app_b7', 'readings', 'SELECT WITH GRANT OPTION')") == [(True,)]

    def test_settings_of_the_database_and_the_lease_follow(self, rig: RestoreRig) -> None:
        ready(rig, "databases")
        name = rig.database.name
        rig.query(
            f"ALTER DATABASE {name} SET statement_timeout = '77s'; REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"
        )
        rig.query(f"ALTER DATABASE {name} SET search_path = public, pgboss; ALTER DATABASE {name} CONNECTION LIMIT 55")
        rig.query("CREATE TABLE toolkit.kept AS SELECT 42 AS answer")
        rig.query("ALTER TABLE toolkit.kept OWNER TO toolkit")
        rig.beside("databases").act()
        rig.query("UPDATE toolkit.kept SET answer = 43")
        rig.swap("databases").act()
        assert rig.query("SHOW statement_timeout") == [("77s",)]
        assert rig.query("SHOW search_path") == [("public, pgboss",)]
        assert rig.query("SELECT answer FROM toolkit.kept") == [(43,)]
        assert rig.query(
            "SELECT datconnlimit, has_database_privilege('app_b8', datname, 'TEMPORARY') FROM pg_database"
            " WHERE datname = current_database()"
        ) == [(55, False)]

    def test_the_damaged_data_is_kept_until_somebody_removes_it(self, rig: RestoreRig) -> None:
        rig.beside("schemas").act()
        rig.swap("schemas").act()
        damaged = damaged_name(rig.mark, "public")
        assert rig.query(f"SELECT count(*) > 0 FROM {damaged}.creator_settings WHERE incentive_days = 99") == [(True,)]
        assert [(each.mark, each.kind) for each in leftovers(rig.systems.database)] == [(rig.mark, "damaged")]
        assert set(discard(rig.systems.database, rig.mark)) == {damaged, damaged_name(rig.mark, "pgboss")}
        assert leftovers(rig.systems.database) == []
        assert rig.swap("schemas").look().done


class TestUndo:
    def test_swapped_back_where_nothing_was_written_since(self, rig: RestoreRig) -> None:
        before = signature(rig)
        rig.beside("schemas").act()
        rig.swap("schemas").act()
        assert rig.swap("schemas").undo()
        assert rig.query(RIGHT) != [(0,)]
        assert difference(before, signature(rig)) == []
        assert not rig.swap("schemas").look().done

    @pytest.mark.parametrize(
        "write",
        [
            "UPDATE recovery_cases SET attempts = attempts + 1 WHERE id = (SELECT id FROM recovery_cases LIMIT 1)",
            "DELETE FROM events WHERE id = (SELECT id FROM events LIMIT 1)",
        ],
    )
    def test_never_where_a_write_would_be_lost(self, rig: RestoreRig, write: str) -> None:
        rig.beside("schemas").act()
        rig.swap("schemas").act()
        rig.query(write)
        assert rig.swap("schemas").undo() is None
        assert rig.query(RIGHT) == [(0,)]

    def test_a_copy_that_did_not_come_in_is_dropped(self, rig: RestoreRig) -> None:
        rig.beside("schemas").act()
        assert rig.beside("schemas").undo()
        assert (schemas(rig, "restored_"), rig.beside("schemas").look().done) == ([], False)


class TestInTheWay:
    def test_who_holds_a_lock_is_named_and_nothing_is_changed(self, rig: RestoreRig) -> None:
        rig.beside("schemas").act()
        with psycopg.connect(rig.database.owner_url, application_name="nightly-report") as conn:
            conn.execute("SELECT count(*) FROM events")
            with pytest.raises(RollbackError, match=r"In the way: pid \d+ \(nightly-report"):
                rig.swap("schemas", patience=IMPATIENT).act()
        assert not rig.swap("schemas").look().done
        assert rig.query(RIGHT) != [(0,)]
        assert any(kind == "step.blocked" for kind, _ in rig.told)

    def test_who_is_in_the_way_is_ended_where_that_was_asked_for(self, rig: RestoreRig) -> None:
        rig.beside("schemas").act()
        with psycopg.connect(rig.database.owner_url, application_name="nightly-report") as conn:
            conn.execute("SELECT count(*) FROM events")
            rig.swap("schemas", patience=IMPATIENT, end_blockers=True).act()
            with pytest.raises(psycopg.OperationalError):
                conn.execute("SELECT 1")
        assert rig.swap("schemas").look().done


class TestRefused:
    def production(self, rig: RestoreRig) -> tuple[object, ...]:
        return (rig.query(RIGHT), schemas(rig, "restored_"), schemas(rig, "damaged_"), signature(rig).digest)

    def test_a_backup_that_was_altered_since_the_plan(self, rig: RestoreRig) -> None:
        before = self.production(rig)
        step = rig.beside("schemas")
        data = max((rig.backup / "database").glob("*.dat*"), key=lambda file: file.stat().st_size)
        data.write_bytes(data.read_bytes()[:-100])
        for attempt in (step.require, step.act):
            with pytest.raises(BackupError, match="not what it was"):
                attempt()
        assert self.production(rig) == before

    def test_a_backup_whose_rows_are_others(self, rig: RestoreRig) -> None:
        """Same size, so that only the restored rows tell."""
        before = self.production(rig)
        for data in (rig.backup / "database").glob("*.dat"):
            data.write_bytes(data.read_bytes().replace(b"card_declined", b"card_declinex"))
        with pytest.raises(BackupError, match=r"not what was backed up|could not build"):
            rig.beside("schemas").act()
        assert self.production(rig) == before

    @pytest.mark.parametrize("way", ["schemas", "databases"])
    def test_a_plain_dump_stops_at_its_first_error(
        self, rig: RestoreRig, way: Way, dumps: Path, tmp_path: Path
    ) -> None:
        ready(rig, way)
        before = self.production(rig)
        dump = tmp_path / "broken.sql"
        text = (dumps / "plain.sql").read_text()
        dump.write_text(text.replace("CREATE TABLE public.notes", "SELECT broken;\nCREATE TABLE public.notes", 1))
        with pytest.raises(BackupError, match="psql stopped"):
            rig.beside(way, dump).act()
        assert self.production(rig) == before
        assert not rig.beside(way, dump).look().done

    def test_a_dump_that_ends_in_the_middle(self, rig: RestoreRig, dumps: Path, tmp_path: Path) -> None:
        before = self.production(rig)
        for name in ("plain.sql", "custom.dump"):
            cut = tmp_path / name
            cut.write_bytes((dumps / name).read_bytes()[:-4000])
            with pytest.raises(BackupError):
                rig.beside("schemas", cut).act()
        assert self.production(rig) == before

    def test_a_dump_of_something_else(self, rig: RestoreRig, dumps: Path) -> None:
        before = self.production(rig)
        with pytest.raises(BackupError, match="not of this service"):
            rig.beside("schemas", dumps / "other.sql").act()
        assert self.production(rig) == before


@pytest.mark.parametrize(
    ("name", "way"), [("plain.sql", "schemas"), ("plain.sql", "databases"), ("custom.dump", "schemas")]
)
def test_a_dump_of_others_comes_in_like_ours(rig: RestoreRig, dumps: Path, name: str, way: Way) -> None:
    ready(rig, way)
    before = signature(rig)
    with Clients(rig.database) as clients:
        clients.wait_for(10)
        rig.beside(way, dumps / name).act()
        rig.swap(way, dumps / name).act()
        clients.wait_for(10)
    assert lost(rig, clients) == []
    assert rig.query(RIGHT) == [(0,)]
    assert difference(before, signature(rig)) == []


# At the entry of a function, or with ! after it: before anything, half-way, when all is done but said.
POINTS = {
    "schemas": [
        "toolkit.rollback.restore.beside:set_aside",
        "toolkit.rollback.restore.beside:require_equal",
        "toolkit.rollback.restore.swap_schemas:carry!",
        "toolkit.rollback.restore.swap_schemas:keep_swap!",
        "toolkit.rollback.steps.swap_in:swap_schemas!",
    ],
    "databases": [
        "toolkit.rollback.restore.beside:create_beside!",
        "toolkit.rollback.restore.beside:require_manifest",
        "toolkit.rollback.restore.swap_databases:close_to_all!",
        "toolkit.rollback.restore.swap_databases:carry!",
        "toolkit.rollback.restore.swap_databases:_catch_up!",
        "toolkit.rollback.restore.swap_databases:_rename!",
    ],
    "reload": [
        "toolkit.rollback.restore.beside:drop_schemas!",
        "toolkit.rollback.restore.reload:carry!",
        "toolkit.rollback.restore.reload:keep_swap!",
    ],
}


def drive(rig: RestoreRig, way: Way, point: str) -> "subprocess.CompletedProcess[str]":
    words = (str(rig.incident.folder), str(rig.backup), way, point)
    return forked.run(restore_rig.__file__, *words, environment=environment_of(rig.database.toolkit_url))


class TestLeftClosed:
    """A swap of databases that was killed in the middle leaves nobody able to connect."""

    CLOSED = "toolkit.rollback.restore.swap_databases:close_to_all!"

    def test_it_is_opened_again(self, rig: RestoreRig) -> None:
        ready(rig, "databases")
        assert drive(rig, "databases", self.CLOSED).returncode == -signal.SIGKILL
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            rig.query("SELECT 1")
        database = rig.systems.database
        wait_until(lambda: reopen(database), within=10, what="the killed session to end")
        assert (rig.query(RIGHT) != [(0,)], reopen(database)) == (True, None)

    def test_but_not_under_the_hands_of_a_swap_that_lives(self, rig: RestoreRig, monkeypatch: MonkeyPatch) -> None:
        ready(rig, "databases")
        rig.beside("databases").act()
        seen: list[str | None] = []
        monkeypatch.setattr(swap_databases, "carry", looking(lambda: seen.append(reopen(rig.systems.database))))
        rig.swap("databases").act()
        assert seen == [None]

    def test_what_somebody_opened_meanwhile_is_not_renamed(self, rig: RestoreRig, monkeypatch: MonkeyPatch) -> None:
        """He may have written what the catch-up has not seen."""
        ready(rig, "databases")
        rig.beside("databases").act()

        def write() -> None:
            with psycopg.connect(rig.database.server.url(), autocommit=True) as conn:
                conn.execute(f"ALTER DATABASE {rig.database.name} ALLOW_CONNECTIONS true")
            rig.query("UPDATE notes SET part = 0.5")

        with monkeypatch.context() as patched:
            patched.setattr(swap_databases, "carry", looking(write))
            with pytest.raises(RollbackError, match="Somebody opened"):
                rig.swap("databases").act()
        rig.swap("databases").act()
        assert rig.query("SELECT count(*) FROM notes WHERE part = 0.5") == [(5,)]
        assert rig.query(RIGHT) == [(0,)]


def looking(act: Callable[[], None]) -> Callable[..., Any]:
    """The merge, and something else after it."""

    def carry(*arguments: Any) -> Any:
        merged = swap_schemas.carry(*arguments)
        act()
        return merged

    return carry


LATEST = {(way, points[-1]) for way, points in POINTS.items()}  # those before are the soak's, and the crash matrix's


@pytest.mark.parametrize(
    ("way", "point"),
    [
        pytest.param(way, point, marks=() if (way, point) in LATEST else pytest.mark.soak)
        for way, points in POINTS.items()
        for point in points
    ],
)
def test_killed_there_and_run_again(rig: RestoreRig, way: Way, point: str) -> None:
    ready(rig, way)
    before = signature(rig)
    with Clients(rig.database) as clients:
        clients.wait_for(10)
        assert drive(rig, way, point).returncode == -signal.SIGKILL
        done = drive(rig, way, "")
        assert (done.returncode, done.stderr) == (0, "")
        clients.wait_for(10)
    assert lost(rig, clients) == []
    assert difference(before, signature(rig)) == []
    assert rig.query("SELECT state FROM toolkit.swap") == [("done",)]
    assert rig.query("SELECT count(*), count(DISTINCT whop_event_id) FROM events")[0][0] >= len(clients.inserted)
    assert schemas(rig, "restored_") == []
    assert way != "schemas" or len(schemas(rig, "damaged_")) == 2
    assert not list(rig.incident.folder.glob(".restoring-*"))
    assert restored_name(rig.mark) not in [row[0] for row in rig.query("SELECT datname FROM pg_database")]
