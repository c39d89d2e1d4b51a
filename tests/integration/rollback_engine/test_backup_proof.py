"""A backup proved by restoring it, on a real scratch server; and damage of every kind, which is found and refused."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollback_rig import Rig, deployments_of
from stand_in import StandIn

from toolkit.checks import CheckResult, Outcome, overall
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import BackupError
from toolkit.incident import Incident
from toolkit.rollback.backup import Backup, make_backup, read_backup
from toolkit.rollback.backup.left_out import extensions
from toolkit.rollback.backup.manifest import Manifest, read_manifest, write_manifest
from toolkit.rollback.backup.proof import restore_checks
from toolkit.rollback.scratch import Scratch, scratch_server


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def deployments(platform: StandIn) -> dict[int, str]:
    return deployments_of(platform)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as running:
        yield running


@pytest.fixture
def rig(
    platform: StandIn, deployments: dict[int, str], churn_database: ServiceDatabase, tmp_path: Path
) -> Iterator[Rig]:
    made = Rig(churn_database, platform, Incident(tmp_path / "incident"), deployments)
    made.incident.folder.mkdir()
    made.set_up(8, 8)
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def back_up(rig: Rig, name: str = "backup", **bounds: float) -> Backup:
    return make_backup(rig.systems, rig.incident.folder / name, incident=rig.incident, actor="tester", **bounds)


def named(results: list[CheckResult], name: str) -> CheckResult:
    return next(each for each in results if each.name == name)


class TestProof:
    def test_what_was_dumped_is_proved_whole(self, rig: Rig, scratch: Scratch) -> None:
        """Enums among it: their hash is that of an OID, which is another one on another server."""
        rig.query("CREATE TYPE public.mood AS ENUM ('sad', 'glad'); ALTER TYPE public.mood OWNER TO churn_owner")
        rig.query(
            "CREATE TABLE moods (id int PRIMARY KEY, mood mood, many mood[]); ALTER TABLE moods OWNER TO churn_owner"
        )
        rig.query("INSERT INTO moods SELECT n, 'glad', '{sad,glad}' FROM generate_series(1, 9) AS n")
        told: list[str] = []
        results = restore_checks(back_up(rig), scratch, advance=lambda what, _, __: told.append(what))
        assert overall(results) is Outcome.PASS, results
        assert [each.name for each in results] == ["restored", "fingerprints", "sequences"]
        assert "comparing fingerprints" in told
        with scratch.database("proof_of_backup").reading() as conn:
            assert conn.execute("SELECT count(*) FROM moods").fetchone() == (9,)

    def test_rows_that_changed_since_are_seen(self, rig: Rig, scratch: Scratch) -> None:
        backup = back_up(rig)
        built = scratch.restored(backup.folder, "changed")
        with built.database.writing() as conn:
            conn.execute("UPDATE events SET type = 'other' WHERE whop_event_id = 'evt_seed_1'")
            conn.execute(
                "DELETE FROM creator_settings WHERE company_id = (SELECT min(company_id) FROM creator_settings)"
            )
        result = named(restore_checks(backup, scratch, built=built), "fingerprints")
        assert result.outcome is Outcome.FAIL
        assert "public.events has other rows, as many as before" in result.evidence
        assert "public.creator_settings has 19 rows instead of 20" in result.evidence

    def test_rows_of_a_table_that_is_not_critical_are_proved_too(self, rig: Rig, scratch: Scratch) -> None:
        backup = back_up(rig)
        built = scratch.restored(backup.folder, "queue_changed")
        with built.database.writing() as conn:
            conn.execute("UPDATE pgboss.job SET priority = priority + 1 WHERE id = (SELECT id FROM pgboss.job LIMIT 1)")
        result = named(restore_checks(backup, scratch, built=built), "fingerprints")
        assert result.outcome is Outcome.FAIL and "pgboss." in result.evidence

    def test_a_sequence_may_be_further_on_and_never_behind(self, rig: Rig, scratch: Scratch) -> None:
        rig.query("CREATE SEQUENCE tickets; ALTER SEQUENCE tickets OWNER TO churn_owner; SELECT setval('tickets', 41)")
        backup = back_up(rig)
        built = scratch.restored(backup.folder, "counted")
        for value, outcome in ((41, Outcome.PASS), (99, Outcome.PASS), (40, Outcome.FAIL)):
            with built.database.writing() as conn:
                conn.execute("SELECT setval('tickets', %(value)s)", {"value": value})
            result = named(restore_checks(backup, scratch, built=built), "sequences")
            assert result.outcome is outcome, result

    def test_what_was_not_fingerprinted_is_unknown(self, rig: Rig, scratch: Scratch) -> None:
        backup = back_up(rig, proofs_within_s=0.0)
        assert set(backup.manifest.tables) == {"events", "recovery_cases", "creator_settings"}
        assert "pgboss.version" in backup.manifest.unproved or backup.manifest.others
        assert backup.manifest.unproved
        result = named(restore_checks(backup, scratch), "fingerprints")
        assert result.outcome is Outcome.UNKNOWN and "no fingerprint was taken of" in result.evidence

    def test_an_archive_that_breaks_off_fails(self, rig: Rig, scratch: Scratch) -> None:
        backup = back_up(rig)
        toc = backup.folder / "database" / "toc.dat"
        os.truncate(toc, toc.stat().st_size // 2)
        results = restore_checks(backup, scratch)
        assert [each.outcome for each in results] == [Outcome.FAIL, Outcome.UNKNOWN, Outcome.UNKNOWN]


class TestWhatADumpOfSchemasLeavesOut:
    def test_an_extension_that_a_table_hangs_on_is_needed(self, rig: Rig) -> None:
        rig.query("CREATE EXTENSION pg_walinspect; CREATE EXTENSION postgres_fdw")
        rig.query("CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw")
        rig.query("CREATE FOREIGN TABLE far (id int) SERVER elsewhere")
        with psycopg.connect(rig.database.admin_url) as conn:
            found = {each.name: each.needed for each in extensions(conn)}
        assert found == {"pg_stat_statements": False, "pg_walinspect": False, "postgres_fdw": True}

    def test_roles_rights_and_extensions_are_kept(self, rig: Rig) -> None:
        manifest = back_up(rig).manifest
        assert {"churn_owner", "churn_app"} <= set(manifest.roles)
        assert [(each.name, each.needed) for each in manifest.extensions] == [("pg_stat_statements", False)]
        rights = next(each for each in manifest.rights if each.schema == "public")
        assert rights.owner == "churn_owner"
        assert ("USAGE", True) in {(grant.privilege, grant.everybody) for grant in rights.grants}
        assert any(grant.role == "churn_app" for each in manifest.rights for grant in each.grants)

    def test_a_restored_copy_has_them_again(self, rig: Rig, scratch: Scratch) -> None:
        rig.query("GRANT CREATE ON SCHEMA public TO churn_app WITH GRANT OPTION; CREATE ROLE reader_of_backup")
        rig.query("GRANT USAGE ON SCHEMA public TO reader_of_backup")
        try:
            backup = back_up(rig)
            built = scratch.restored(backup.folder, "rights")
        finally:
            rig.query("REVOKE ALL ON SCHEMA public FROM reader_of_backup; DROP ROLE reader_of_backup")
        query = "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'"
        with built.database.reading() as conn:
            found = conn.execute(query).fetchone()[0]
        assert "reader_of_backup=U/" in found and "=U/" in found and "churn_app=C*/" in found


class TestDamage:
    """Whatever happens to any file of a backup is found. One backup, copied for each example."""

    @given(data=st.data())
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_damage_is_refused(self, rig: Rig, whole: Path, data: st.DataObject) -> None:
        source = whole / "backup"
        if not source.exists():
            shutil.copytree(back_up(rig, "original").folder, source)
        damaged = whole / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(source, damaged)
        files = sorted(path for path in damaged.rglob("*") if path.is_file() and path.name != "verified.json")
        file = data.draw(st.sampled_from(files), label="file")
        size = file.stat().st_size
        kind = data.draw(st.sampled_from(["flip", "cut", "remove", "add", "swap"]), label="kind")
        if kind == "flip":
            content = bytearray(file.read_bytes())
            content[data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
            file.write_bytes(content)
        elif kind == "cut":
            os.truncate(file, data.draw(st.integers(0, size - 1)))
        elif kind == "remove":
            file.unlink()
        elif kind == "add":
            file.with_name(f"{file.name}.more").write_bytes(b"x")
        else:
            other = data.draw(st.sampled_from([each for each in files if each.read_bytes() != file.read_bytes()]))
            shutil.copyfile(other, file)
        expected = read_manifest(source)[1]
        try:
            found = read_backup(damaged)
        except BackupError:
            return
        # Only the manifest itself has nobody who knows it but the journal, by its digest.
        assert file.name == "manifest.json" and kind == "flip" and found.manifest_sha256 != expected

    def test_a_manifest_of_another_form_is_none(self, rig: Rig) -> None:
        backup = back_up(rig)
        path = backup.folder / "manifest.json"
        path.write_text(path.read_text().replace("form 2", "form 1"))
        with pytest.raises(BackupError, match="is something else"):
            read_backup(backup.folder)

    def test_another_count_in_the_manifest_of_a_table_that_is_not_critical(self, rig: Rig) -> None:
        backup = back_up(rig)
        others = dict(backup.manifest.others)
        name, record = next(iter(others.items()))
        others[name] = record.model_copy(update={"rows": record.rows + 1})
        write_manifest(backup.folder, Manifest.model_validate(dict(backup.manifest) | {"others": others}))
        with pytest.raises(BackupError, match=rf"rows: {name}: {record.rows + 1:,} counted"):
            read_backup(backup.folder)

    def test_a_foreign_server_s_backup(self, rig: Rig) -> None:
        backup = back_up(rig)
        with pytest.raises(BackupError, match="it is foreign"):
            read_backup(backup.folder, replace(backup.manifest.server, database="other"))


def test_pg_dump_is_ended_when_a_fingerprint_fails(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise psycopg.errors.InsufficientPrivilege("no right to it")

    monkeypatch.setattr("toolkit.rollback.backup.table_proofs.fingerprint", fail)
    with pytest.raises(Exception, match="no right to it"):
        back_up(rig)
    assert [path.name for path in rig.incident.folder.iterdir() if "backup" in path.name] == []
