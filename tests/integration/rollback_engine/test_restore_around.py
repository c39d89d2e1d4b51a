"""What stands around the restored tables: other schemas, keys, rights, publications. A restore loses none of it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from pytest import MonkeyPatch
from restore_fixtures import Origin, clone, make_origin
from restore_rig import IMPATIENT, PATIENT, RestoreRig, damage_settings

from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge.conflicts import prepare
from toolkit.rollback.plan import Plan, ReleaseEffects, Step, Way
from toolkit.rollback.restore import beside, own_schema, swap_databases, swap_schemas
from toolkit.rollback.restore.discarding import discard, leftovers
from toolkit.rollback.restore.names import damaged_name, restored_name
from toolkit.rollback.restore.sources import named_source
from toolkit.rollback.restore.survey import survey_schemas
from toolkit.rollback.restore.ways import ChosenWay, choose_way
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.rollback.steps import Doing, doing_of, swap_in
from toolkit.server import PostgresServer

SCHEMAS = ("public", "pgboss")
RIGHT = "SELECT count(*) FROM creator_settings WHERE incentive_days = 99"
MORE = """
CREATE TABLE public.owners (id int PRIMARY KEY, name text, secret text);
CREATE TABLE public.pets (id int PRIMARY KEY, owner int NOT NULL REFERENCES public.owners ON DELETE CASCADE, name text);
CREATE TABLE public.loose (word text);
CREATE FUNCTION public.counted() RETURNS bigint LANGUAGE sql STABLE RETURN (SELECT count(*) FROM public.owners);
INSERT INTO public.owners SELECT n, 'owner', 'secret' FROM generate_series(1, 5) AS n;
INSERT INTO public.pets SELECT n, n, 'pet' FROM generate_series(1, 5) AS n;
INSERT INTO public.loose VALUES ('a'), ('b');
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_b6;
"""
AUDIT = """
SET ROLE churn_owner;
CREATE SCHEMA audit;
CREATE TABLE audit.log (id serial PRIMARY KEY, owner int NOT NULL REFERENCES public.owners, word text);
CREATE VIEW audit.seen AS SELECT id, name FROM public.owners;
CREATE MATERIALIZED VIEW audit.words AS SELECT word FROM audit.log;
INSERT INTO audit.log (owner, word) VALUES (1, 'old');
"""
DEFAULTS = """
SELECT defaclrole::regrole::text, nspname, defaclobjtype, defaclacl::text
FROM pg_default_acl JOIN pg_namespace ON pg_namespace.oid = defaclnamespace
WHERE nspname = 'public'
ORDER BY 1, 2, 3
"""
ANYWHERE = """
SELECT defaclrole::regrole::text, defaclobjtype, defaclacl::text[]
FROM pg_default_acl
WHERE defaclnamespace = 0
ORDER BY 1, 2
"""
PUBLISHED = """
SELECT pubname, schemaname, tablename, attnames::text[], rowfilter FROM pg_publication_tables ORDER BY 1, 2, 3
"""
SINCE = "INSERT INTO owners VALUES (7, 'new', ''); INSERT INTO audit.log (owner, word) VALUES (7, 'acknowledged')"


@pytest.fixture(scope="module")
def origin(cluster: PostgresServer, role_passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Origin:
    home = tmp_path_factory.mktemp("around")
    return make_origin(cluster, role_passwords, home, version=8, more=MORE)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    """One for the module: that each restore has its own, gone afterwards, is proved where restores are killed."""
    with scratch_server() as running:
        yield running


@pytest.fixture
def rig(origin: Origin, scratch: Scratch, tmp_path: Path, monkeypatch: MonkeyPatch) -> Iterator[RestoreRig]:
    monkeypatch.setattr(beside, "scratch_server", lambda like: nullcontext(scratch))
    for made in clone(origin, tmp_path):
        made.query("DROP EXTENSION pg_stat_statements")
        damage_settings(made)
        yield made


def way_of(rig: RestoreRig, covered: tuple[str, ...] = SCHEMAS) -> ChosenWay:
    with rig.systems.database.reading() as conn:
        return choose_way(survey_schemas(conn, SCHEMAS), covered)


class TestOtherSchemas:
    """What hangs on the damaged schema follows by renaming the database, with all that was acknowledged in it."""

    def test_they_come_from_the_live_database_where_the_backup_does_not_hold_them(self, rig: RestoreRig) -> None:
        rig.query(AUDIT)
        assert way_of(rig).way == "databases"
        rig.beside("databases").act()
        rig.query(SINCE)
        rig.swap("databases").act()
        assert rig.query(RIGHT) == [(0,)]
        assert rig.query("SELECT word, name FROM audit.log JOIN audit.seen ON seen.id = owner ORDER BY 1") == [
            ("acknowledged", "new"),
            ("old", "owner"),
        ]
        assert rig.query("SELECT count(*) FROM audit.words") == [(2,)]
        assert rig.query("INSERT INTO audit.log (owner) VALUES (1) RETURNING id") == [(3,)]

    def test_what_came_into_them_since_is_kept_where_a_dump_holds_them(self, rig: RestoreRig) -> None:
        rig.query(AUDIT)
        dump = rig.incident.folder / "whole.dump"
        program = rig.database.server.binaries.program("pg_dump")
        subprocess.run([program, "-Fc", "-N", "toolkit", "-f", dump, rig.database.admin_url], check=True)
        rig.beside("databases", dump).act()
        rig.query(SINCE)
        rig.swap("databases", dump).act()
        assert rig.query("SELECT word FROM audit.log ORDER BY id") == [("old",), ("acknowledged",)]
        assert rig.query("INSERT INTO audit.log (owner) VALUES (1) RETURNING id") == [(3,)]

    @pytest.mark.parametrize(
        ("came", "named"),
        [
            (
                "CREATE SCHEMA late; CREATE TABLE late.rows (id int); ALTER TABLE late.rows OWNER TO toolkit",
                "schema late",
            ),
            ("CREATE TABLE audit.late (id int); ALTER TABLE audit.late OWNER TO toolkit", "table audit.late"),
            ("SELECT lo_create(4711)", "large objects"),
        ],
    )
    def test_what_the_copy_has_no_place_for_is_refused_before_anybody_is_sent_away(
        self, rig: RestoreRig, came: str, named: str
    ) -> None:
        rig.query(AUDIT)
        rig.beside("databases").act()
        rig.query(came)
        with psycopg.connect(rig.database.owner_url) as conn:
            with pytest.raises(RollbackError, match=f"no place for .*{named}"):
                rig.swap("databases").act()
            conn.execute("SELECT 1")
        assert rig.query(RIGHT) != [(0,)]


def test_by_database_comes_no_dump_whose_extensions_we_may_not_create(rig: RestoreRig) -> None:
    """It would fail at the restore beside, though rows can be put back in place."""
    rig.query(AUDIT)
    rig.query("CREATE EXTENSION citext; CREATE EXTENSION pageinspect")
    assert way_of(rig).way == "databases"
    with rig.systems.database.reading() as conn:
        survey = survey_schemas(conn, SCHEMAS)
    dump = rig.incident.folder / "whole.dump"
    program = rig.database.server.binaries.program("pg_dump")
    subprocess.run([program, "-Fc", "-N", "toolkit", "-f", dump, rig.database.admin_url], check=True)
    source = named_source(dump, None)
    chosen = choose_way(survey, source.schemas, extensions=source.extensions)
    assert set(source.extensions) == {"citext", "pageinspect"}
    assert (chosen.way, [each for each in chosen.reasons if "extension pageinspect" in each]) == (
        "reload",
        ["Not by renaming databases: another database needs what our role may not create: extension pageinspect."],
    )


class TestDragged:
    """Surplus rows go by reload, and a key that cascades would take acknowledged rows of other tables along."""

    def test_they_are_kept_aside_and_listed(self, rig: RestoreRig) -> None:
        rig.query(
            """
            CREATE SCHEMA audit AUTHORIZATION churn_owner; SET ROLE churn_owner;
            CREATE TABLE audit.toys (id int PRIMARY KEY, pet int REFERENCES public.pets ON DELETE CASCADE);
            CREATE TABLE audit.notes (id int PRIMARY KEY, toy int REFERENCES audit.toys ON DELETE SET NULL)
            """
        )
        rig.beside("reload").act()
        rows = rig.query(
            "INSERT INTO owners SELECT n, 'wrong', '' FROM generate_series(7, 9) AS n RETURNING xmin::text"
        )
        rig.query("INSERT INTO pets VALUES (201, 7, 'acknowledged'), (6, 1, 'right')")
        rig.query("INSERT INTO audit.toys VALUES (1, 201), (2, 1); INSERT INTO audit.notes VALUES (1, 1), (2, 2)")
        rig.damage = (Damage("owners", (), None, (rows[0][0],), "inserted"),)
        rig.swap("reload").act()
        public, audit = damaged_name(rig.mark, "public"), damaged_name(rig.mark, "audit")
        assert rig.query("SELECT max(id) FROM owners") == [(5,)]
        assert rig.query(f"SELECT id, owner, name FROM {public}.pets") == [(201, 7, "acknowledged")]
        assert rig.query(f"SELECT id, pet FROM {audit}.toys") == [(1, 201)]
        assert rig.query(f"SELECT id, toy FROM {audit}.notes") == [(1, 1)]
        assert rig.query("SELECT max(id) FROM pets") == [(6,)]
        assert [each.kind for each in leftovers(rig.systems.database) if each.mark == rig.mark] == ["damaged"]
        listed = {
            (table, tuple(key.values())) for table, key in rig.query("SELECT table_name, key FROM toolkit.conflict")
        }
        assert listed == {("public.pets", ("201",)), ("audit.toys", ("1",)), ("audit.notes", ("1",))}


def test_who_is_in_the_way_of_dropping_the_copy_of_a_reload_keeps_no_row_from_coming_back(rig: RestoreRig) -> None:
    rig.query("SET ROLE churn_owner; CREATE SCHEMA audit; CREATE TABLE audit.busy (id int PRIMARY KEY)")
    rig.beside("reload").act()
    copy = restored_name(rig.mark, "public")
    rig.query(f"ALTER TABLE {copy}.loose ADD COLUMN busy int REFERENCES audit.busy")
    with psycopg.connect(rig.database.admin_url) as report:
        report.execute("SELECT count(*) FROM audit.busy")
        said = rig.swap("reload").act()
    assert rig.query(RIGHT) == [(0,)]
    assert f"left beside as {restored_name(rig.mark)}: " in said
    assert [each.kind for each in leftovers(rig.systems.database) if each.mark == rig.mark] == ["damaged", "restored"]
    assert copy in discard(rig.systems.database, rig.mark)


class TestRights:
    """Those of the live objects hold for the restored ones of the same name, whatever the migration changed on them."""

    def test_of_what_the_migration_changed(self, rig: RestoreRig) -> None:
        rig.query(
            """
            SET ROLE churn_owner;
            GRANT SELECT (secret) ON owners TO app_b7;
            ALTER TABLE owners ADD COLUMN extra text;
            GRANT SELECT (extra) ON owners TO app_b8;
            DROP FUNCTION counted();
            CREATE FUNCTION counted(more int) RETURNS bigint LANGUAGE sql RETURN more;
            GRANT EXECUTE ON FUNCTION counted(int) TO app_b8 WITH GRANT OPTION
            """
        )
        rig.beside("schemas").act()
        rig.swap("schemas").act()
        assert rig.query(RIGHT) == [(0,)]
        assert rig.query("SELECT counted(), has_column_privilege('app_b7', 'owners', 'secret', 'SELECT')") == [
            (5, True)
        ]

    @pytest.mark.parametrize("way", ["schemas", "databases"])
    def test_of_what_will_be_created(self, rig: RestoreRig, way: Way) -> None:
        rig.query(
            """
            SET ROLE churn_owner;
            ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM app_b6;
            ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO app_b7 WITH GRANT OPTION;
            ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM app_b8;
            ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
            ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO app_b7 WITH GRANT OPTION;
            ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO app_b6
            """
        )
        before, anywhere = rig.query(DEFAULTS), rig.query(ANYWHERE)
        assert len(anywhere) == 3
        rig.beside(way).act()
        rig.swap(way).act()
        assert rig.query(DEFAULTS) == before
        assert rig.query(ANYWHERE) == anywhere
        rig.query("SET ROLE churn_owner; CREATE TABLE later ()")
        assert rig.query("SELECT has_table_privilege('app_b6', 'later', 'SELECT')") == [(False,)]


class TestCutOff:
    """A swap whose client is gone holds no lock on production, and keeps nobody out, for longer than it must."""

    def test_its_session_ends_when_its_client_is_silent(self, rig: RestoreRig, monkeypatch: MonkeyPatch) -> None:
        seen: list[Any] = []

        def looking(conn: psycopg.Connection[Any], *arguments: Any) -> Any:
            seen.extend(
                conn.execute(
                    "SELECT current_setting('idle_in_transaction_session_timeout'),"
                    " current_setting('client_connection_check_interval')"
                ).fetchall()
            )
            return carry(conn, *arguments)

        carry = swap_schemas.carry
        monkeypatch.setattr(swap_schemas, "carry", looking)
        rig.beside("schemas").act()
        rig.swap("schemas").act()
        assert seen == [("30s", "1s")]
        analyzed = "SELECT count(*) > 0 FROM pg_stats WHERE (schemaname, tablename) = ('public', 'pets')"
        assert rig.query(analyzed) == [(True,)]

    @pytest.mark.parametrize(("way", "module"), [("schemas", swap_schemas), ("databases", swap_databases)])
    def test_it_hangs_up_by_itself(
        self, rig: RestoreRig, way: Way, module: ModuleType, monkeypatch: MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "carry", lambda conn, *_: conn.execute("SELECT pg_sleep(60)"))
        rig.beside(way).act()
        began = time.monotonic()
        with pytest.raises(DatabaseError):
            rig.swap(way, patience=replace(PATIENT, hang_up_after_s=4)).act()
        assert time.monotonic() - began < 30
        assert rig.query(RIGHT) != [(0,)]


def test_only_who_holds_a_lock_is_ended_and_never_a_superuser(rig: RestoreRig, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(swap_in, "ENDING_LOCK_WITHIN_MS", 1_000)  # all three tries are waited for
    rig.beside("schemas").act()
    impatient = replace(IMPATIENT, give_up_after_s=0.2)
    with psycopg.connect(rig.database.admin_url) as superuser, psycopg.connect(rig.database.owner_url) as report:
        superuser.execute("SELECT count(*) FROM pets")
        report.execute("SELECT count(*) FROM owners")
        with pytest.raises(RollbackError, match="did not get its locks"):
            rig.swap("schemas", patience=impatient, end_blockers=True).act()
        superuser.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            report.execute("SELECT 1")
    told = [data for kind, data in rig.told if kind == "step.blockers_ended"]
    assert "it is a superuser's" in [each["why"] for data in told for each in data["spared"]]


class TestPublications:
    """They publish what they did, of the restored tables, and nothing that they hid."""

    def test_of_tables_and_of_whole_schemas(self, rig: RestoreRig) -> None:
        rig.query("CREATE PUBLICATION whole FOR TABLES IN SCHEMA public, pgboss")
        rig.query("CREATE PUBLICATION part FOR TABLE owners (id, name) WHERE (id > 2), pets")
        rig.query(
            "CREATE PUBLICATION late; ALTER PUBLICATION part OWNER TO toolkit; ALTER PUBLICATION late OWNER TO toolkit"
        )
        chosen = way_of(rig)
        assert (chosen.way, sum("its subscribers must be copied anew" in each for each in chosen.warnings)) == (
            "schemas",
            2,
        )
        rig.beside("schemas").act()
        before = rig.query(PUBLISHED)
        rig.query(
            """
            SET ROLE churn_owner; ALTER TABLE owners ADD COLUMN extra int; RESET ROLE;
            ALTER PUBLICATION late ADD TABLE owners (id, extra), pets (id) WHERE (name <> 'x')
            """
        )
        rig.query("INSERT INTO loose VALUES ('c'), ('a')")
        rig.swap("schemas").act()
        late = [row for row in rig.query(PUBLISHED) if row[0] == "late"]
        assert [row for row in rig.query(PUBLISHED) if row[0] != "late"] == before
        assert late == [
            ("late", "public", "owners", ["id"], None),
            ("late", "public", "pets", ["id"], "(name <> 'x'::text)"),
        ]
        assert rig.query("SELECT word FROM loose ORDER BY 1") == [("a",), ("a",), ("b",), ("c",)]

    def test_a_filter_that_cannot_be_kept_publishes_nothing(self, rig: RestoreRig) -> None:
        rig.query("SET ROLE churn_owner; ALTER TABLE owners ADD COLUMN hidden bool; RESET ROLE;")
        rig.query(
            "CREATE PUBLICATION part FOR TABLE owners WHERE (hidden IS FALSE); ALTER PUBLICATION part OWNER TO toolkit"
        )
        rig.beside("schemas").act()
        rig.swap("schemas").act()
        assert rig.query("SELECT * FROM pg_publication_tables") == []
        assert "does not publish public.owners" in str(rig.query("SELECT told ->> 'unpublished' FROM toolkit.swap"))

    @pytest.mark.parametrize("way", ["schemas", "reload"])
    def test_of_all_tables_one_of_them_without_a_replica_identity(self, rig: RestoreRig, way: Way) -> None:
        rig.query("CREATE PUBLICATION everything FOR ALL TABLES")
        assert any("the copy's beside production too" in each for each in way_of(rig).warnings)
        rig.damage = (*rig.damage, Damage("loose", verb="inserted", xids=("1",)))
        rig.beside(way).act()
        rig.query("INSERT INTO loose VALUES ('c')")
        rig.swap(way).act()
        assert rig.query(RIGHT) == [(0,)]
        assert rig.query("SELECT word FROM loose ORDER BY 1") == [("a",), ("b",), ("c",)]
        assert rig.query("SELECT relreplident FROM pg_class WHERE oid = 'public.loose'::regclass") == [("d",)]


class TestEffects:
    """No job is handed out from the swap on, until somebody releases the queue, or gives the plan up."""

    READY = "SELECT count(*) FROM pgboss.job WHERE state < 'active' AND start_after <= now()"

    def plan(self, rig: RestoreRig) -> Plan:
        release = ReleaseEffects(str(rig.backup), "pgboss")
        return replace(rig.around().plan, steps=(Step("release-effects", release, "", "", "", "", ""),))

    def releasing(self, rig: RestoreRig) -> Doing:
        return doing_of(self.plan(rig).steps[0], rig.around())

    @pytest.mark.parametrize("way", ["schemas", "databases", "reload"])
    def test_they_are_held_from_the_swap_to_the_release(self, rig: RestoreRig, way: Way) -> None:
        rig.beside(way).act()
        rig.query("INSERT INTO pgboss.job (name, start_after) VALUES ('reminders', now() - interval '1 minute')")
        ready = rig.query(self.READY)
        release = self.releasing(rig)
        assert not release.look().done
        assert "waiting jobs are held" in rig.swap(way, plan=self.plan(rig)).act()
        assert (rig.query(self.READY), release.look().done) == ([(0,)], False)
        release.require()
        release.act()
        assert (rig.query(self.READY), release.look().done) == (ready, True)
        assert ready[0][0] > 0

    def test_jobs_that_may_send_twice_are_looked_at_first(self, rig: RestoreRig) -> None:
        rig.beside("schemas").act()
        rig.query("DELETE FROM pgboss.job WHERE id = (SELECT id FROM pgboss.job WHERE state = 'created' LIMIT 1)")
        rig.damage = (*rig.damage, Damage("pgboss.job", verb="deleted"))
        rig.swap("schemas", plan=self.plan(rig)).act()
        release = self.releasing(rig)
        with pytest.raises(RollbackError, match="1 jobs were brought back"):
            release.act()
        assert rig.query(self.READY) == [(0,)]
        rig.query("UPDATE toolkit.conflict SET settled = 'looked at' WHERE table_name = 'pgboss.job'")
        release.act()
        assert release.look().done

    def test_given_up_it_holds_nothing(self, rig: RestoreRig) -> None:
        rig.beside("schemas").act()
        swap = rig.swap("schemas", plan=self.plan(rig))
        swap.act()
        rig.query("UPDATE pets SET name = 'new'")
        assert swap.undo() is None
        assert self.releasing(rig).look().done


class TestDatabasesBack:
    """A swap of databases is undone like one of schemas: where nothing was written since."""

    def test_where_nothing_was_written_since(self, rig: RestoreRig) -> None:
        rig.query("CREATE TABLE toolkit.kept AS SELECT 42 AS answer; ALTER TABLE toolkit.kept OWNER TO toolkit")
        rig.beside("databases").act()
        rig.swap("databases").act()
        rig.query("UPDATE toolkit.kept SET answer = 43")
        assert rig.swap("databases").undo()
        assert rig.query(RIGHT) != [(0,)]
        assert rig.query("SELECT answer, state FROM toolkit.kept, toolkit.swap") == [(43, "undone")]
        assert not rig.swap("databases").look().done

    @pytest.mark.parametrize("write", ["UPDATE pets SET name = 'new' WHERE id = 1", "DELETE FROM pets WHERE id = 1"])
    def test_never_where_a_write_would_be_lost(self, rig: RestoreRig, write: str) -> None:
        rig.beside("databases").act()
        rig.swap("databases").act()
        rig.query(write)
        assert rig.swap("databases").undo() is None
        assert rig.query(RIGHT) == [(0,)]


def test_what_changes_after_the_first_merge_of_databases_is_caught_up(
    rig: RestoreRig, monkeypatch: MonkeyPatch
) -> None:
    """The rows are copied while production serves. Closed, only what changed since is."""

    def closing(conn: psycopg.Connection[Any], name: str) -> None:
        if not written:
            written.append(name)
            rig.query(
                """
                INSERT INTO pets VALUES (6, 1, 'new');
                UPDATE pets SET name = 'changed' WHERE id = 1;
                UPDATE pets SET id = 20 WHERE id = 2;
                DELETE FROM pets WHERE id = 3;
                DELETE FROM loose WHERE word = 'a';
                INSERT INTO loose VALUES ('c');
                UPDATE creator_settings SET incentive_days = 77 WHERE ctid = (SELECT min(ctid) FROM creator_settings)
                """
            )
        close_to_all(conn, name)

    written: list[str] = []
    close_to_all = swap_databases.close_to_all
    monkeypatch.setattr(swap_databases, "close_to_all", closing)
    rig.beside("databases").act()
    rig.query("INSERT INTO pets VALUES (7, 1, 'before')")
    rig.swap("databases").act()
    assert rig.query("SELECT id, name FROM pets ORDER BY 1") == [
        (1, "changed"),
        (4, "pet"),
        (5, "pet"),
        (6, "new"),
        (7, "before"),
        (20, "pet"),
    ]
    assert rig.query("SELECT word FROM loose ORDER BY 1") == [("b",), ("c",)]
    assert rig.query("SELECT count(*) FROM creator_settings WHERE incentive_days IN (77, 99)") == [(1,)]
    tables = rig.query("SELECT told -> 'merged' -> 'tables' FROM toolkit.swap")[0][0]
    merged = {each["table"]: (each["compared"], each["inserted"], each["deleted"]) for each in tables}
    assert (merged["public.pets"], merged["public.events"]) == (("since", 2, 2), ("since", 0, 0))


def test_what_a_swap_that_died_has_listed_is_listed_by_the_next(rig: RestoreRig, monkeypatch: MonkeyPatch) -> None:
    """The first merge left the live value in the copy, so the second finds no difference any more."""
    listing = "SELECT mark, table_name, reason, settled FROM toolkit.conflict ORDER BY table_name"
    rig.query("UPDATE creator_settings SET incentive_days = 77 WHERE ctid = (SELECT min(ctid) FROM creator_settings)")
    rig.query("SET ROLE toolkit; CREATE SCHEMA IF NOT EXISTS toolkit")
    with rig.systems.database.writing() as conn:
        prepare(conn)
    rig.query("INSERT INTO toolkit.conflict VALUES ('INC-0', 'public.another', '{}', '', 'older')")
    rig.beside("databases").act()
    for where, died in ((swap_databases, "count_rows"), (own_schema, "list_again")):
        with monkeypatch.context() as dying:
            dying.setattr(where, died, lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                rig.swap("databases").act()
        rig.query("UPDATE toolkit.conflict SET settled = 'looked at' WHERE mark = 'INC-0'")
    rig.swap("databases").act()
    assert rig.query(listing) == [
        ("INC-0", "public.another", "older", "looked at"),
        (rig.incident.id, "public.creator_settings", "written-after", None),
    ]
    assert rig.query("SELECT count(*) FROM creator_settings WHERE incentive_days = 77") == [(1,)]
    assert rig.query("SELECT to_regnamespace('toolkit_listed')") == [(None,)]
