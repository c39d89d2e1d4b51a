"""One of our backups on a scratch server is what was backed up: rows, owners, grants; what is not is named."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from rollback_rig import Rig, deployments_of
from stand_in import StandIn

from toolkit.drill.database import ServiceDatabase
from toolkit.errors import BackupError
from toolkit.incident import Incident
from toolkit.rollback.backup.manifest import MANIFEST_FILE
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.verify.fingerprints import difference, fingerprint, schema_signature


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as server:
        yield server


@pytest.fixture
def rig(churn_database: ServiceDatabase, tmp_path: Path) -> Iterator[Rig]:
    home = tmp_path / "platform"
    home.mkdir()
    platform = StandIn.start(home)
    platform.serving()
    made = Rig(churn_database, platform, Incident(tmp_path / "incident"), deployments_of(platform))
    made.incident.folder.mkdir()
    made.set_up(8, 8)
    yield made
    made.close()
    platform.stop()


def test_it_is_what_was_backed_up_and_what_is_missing_is_named(rig: Rig, scratch: Scratch, tmp_path: Path) -> None:
    rig.query("REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO churn_app")
    rig.query("ALTER DEFAULT PRIVILEGES FOR ROLE churn_owner IN SCHEMA public GRANT SELECT ON TABLES TO churn_app")
    rig.back_up()
    folder = rig.incident.folder / "backup"
    told: list[tuple[str, float, float | None]] = []

    built = scratch.restored(folder, "postgres", advance=lambda *said: told.append(said))
    assert (built.problems, built.notes) == ((), ())
    schemas = ("public", "pgboss")
    with rig.systems.database.reading() as conn:
        live, rows = schema_signature(conn, schemas), fingerprint(conn, "events").digest
    with built.database.reading() as conn:
        copy, restored = schema_signature(conn, schemas), fingerprint(conn, "events").digest
    assert difference(live, copy) == [] and rows == restored
    assert told[-1][0] == "restoring" and told[-1][1] <= (told[-1][2] or 0)

    lacking = tmp_path / "lacking"
    shutil.copytree(folder, lacking)
    manifest = json.loads((lacking / MANIFEST_FILE).read_text())
    manifest["extensions"] = [
        {"name": name, "version": "1", "schema": "extensions", "needed": needed}
        for name, needed in (("needed_one", True), ("idle_one", False))
    ]
    (lacking / MANIFEST_FILE).write_text(json.dumps(manifest))
    built = scratch.restored(lacking)
    assert [each.partition(":")[0] for each in built.problems] == ["extension needed_one"]
    assert [each.partition(":")[0] for each in built.notes] == ["extension idle_one"]
    with pytest.raises(BackupError):
        scratch.restored(tmp_path)


def test_a_table_on_a_disk_of_its_own_comes_back_where_there_is_no_such_disk(rig: Rig, scratch: Scratch) -> None:
    with psycopg.connect(rig.database.admin_url, autocommit=True) as conn:
        if conn.info.server_version < 150000:
            pytest.skip("a tablespace in place needs PostgreSQL 15")
        conn.execute("SET allow_in_place_tablespaces = on")
        conn.execute("CREATE TABLESPACE apart LOCATION ''")
        conn.execute("ALTER TABLE events SET TABLESPACE apart")
        try:
            rig.back_up()
            built = scratch.restored(rig.incident.folder / "backup", "apart")
        finally:
            conn.execute("ALTER TABLE events SET TABLESPACE pg_default")
            conn.execute("DROP TABLESPACE apart")
    assert (built.problems, built.notes) == ((), ())
    with built.database.reading() as conn, rig.systems.database.reading() as live:
        assert fingerprint(conn, "events") == fingerprint(live, "events")
