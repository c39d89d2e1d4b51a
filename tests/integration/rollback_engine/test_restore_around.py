"""What stands around the restored tables: other schemas, keys, rights, publications. A restore loses none of it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from restore_fixtures import Origin, clone, make_origin
from restore_rig import RestoreRig, damage_settings

from toolkit.errors import RollbackError
from toolkit.rollback.restore.survey import survey_schemas
from toolkit.rollback.restore.ways import ChosenWay, choose_way
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
SINCE = "INSERT INTO owners VALUES (7, 'new', ''); INSERT INTO audit.log (owner, word) VALUES (7, 'acknowledged')"


@pytest.fixture(scope="module")
def origin(cluster: PostgresServer, role_passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Origin:
    home = tmp_path_factory.mktemp("around")
    return make_origin(cluster, role_passwords, home, version=8, more=MORE)


@pytest.fixture
def rig(origin: Origin, tmp_path: Path) -> Iterator[RestoreRig]:
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
