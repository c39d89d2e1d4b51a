"""Backups of a real database: what they hold, what is refused, and what a failure leaves behind, which is nothing."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import rollback_rig
from rollback_rig import CRON_SECRET, WEBHOOK_SECRET, Rig, deployments_of
from stand_in import StandIn

from toolkit.checks import Outcome
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.errors import BackupError, DatabaseError, ToolkitError, UnverifiedError
from toolkit.incident import Incident
from toolkit.rollback.backup import Backup, emergency_backup, inspect_backup, make_backup, read_backup
from toolkit.rollback.backup.conditions import compression_for
from toolkit.rollback.backup.database_dump import PACKED, PLAIN
from toolkit.rollback.backup.manifest import Manifest, checksums, read_manifest, write_manifest
from toolkit.rollback.blocking import Patience
from toolkit.server import PostgresServer, find_binaries
from toolkit.verify.fingerprints import difference, fingerprint, schema_signature

IMPATIENT = Patience(lock_within_ms=200, give_up_after_s=0.4, first_pause_s=0.05)
SHELL = "#!/bin/sh\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def deployments(platform: StandIn) -> dict[int, str]:
    return deployments_of(platform)


@pytest.fixture
def rig(
    platform: StandIn, deployments: dict[int, str], churn_database: ServiceDatabase, tmp_path: Path
) -> Iterator[Rig]:
    made = Rig(churn_database, platform, Incident(tmp_path / "incident"), deployments)
    made.incident.folder.mkdir()
    made.set_up(8, 8)
    yield made
    made.close()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of PostgreSQL's programs in which a test can put others in their place: {real} is the real one."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        replace_program(folder, name, 'exec {real} "$@"')
    monkeypatch.setenv("PG_BINDIR", str(folder))
    return folder


def replace_program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(SHELL + body.replace("{real}", str(find_binaries().bindir / name)) + "\n")
    path.chmod(0o755)


def back_up(rig: Rig, name: str = "backup", patience: Patience | None = None) -> Backup:
    folder = rig.incident.folder / name
    return make_backup(rig.systems, folder, incident=rig.incident, actor="tester", patience=patience)


def fails(
    rig: Rig, what: str, kind: type[ToolkitError] = BackupError, patience: Patience | None = None
) -> ToolkitError:
    """It fails, is journaled so, and nothing is left that looks like a backup."""
    with pytest.raises(kind, match=what) as raised:
        back_up(rig, patience=patience)
    assert [path.name for path in rig.incident.folder.iterdir() if "backup" in path.name] == []
    assert not rig.entries("backup.made")
    begun = len(rig.entries("backup.begun"))
    assert len(rig.entries("backup.failed")) == begun
    return raised.value


class TestWhatItHolds:
    def test_restored_it_is_what_was_there(
        self, rig: Rig, cluster: PostgresServer, role_passwords: dict[str, str]
    ) -> None:
        backup = back_up(rig)
        other = create_database(cluster, role_passwords, f"{rig.database.name}_restored")
        try:
            restore = [cluster.binaries.program("pg_restore"), "--exit-on-error", "-j2", "-d", other.admin_url]
            with psycopg.connect(other.admin_url, autocommit=True) as conn:
                conn.execute("DROP SCHEMA public CASCADE")
            subprocess.run([*restore, backup.folder / "database"], check=True)
            with psycopg.connect(other.admin_url, autocommit=True) as conn:  # what a dump of schemas leaves out
                conn.execute("CREATE EXTENSION pg_stat_statements")
                conn.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
            with psycopg.connect(rig.database.admin_url) as live, psycopg.connect(other.admin_url) as copy:
                for name, table in backup.manifest.tables.items():
                    restored = fingerprint(copy, name, table.columns)
                    assert (restored.rows, restored.digest) == (table.rows, table.digest)
                schemas = ["public", "pgboss"]
                assert difference(schema_signature(live, schemas), schema_signature(copy, schemas)) == []
                assert copy.execute("SELECT count(*) FROM pgboss.job").fetchone()[0] > 10
                assert copy.execute("SELECT count(*) FROM toolkit.stable").fetchone() == (0,)
        finally:
            with psycopg.connect(cluster.url(), autocommit=True) as conn:
                conn.execute(f"DROP DATABASE {other.name} WITH (FORCE)")

    def test_the_manifest_tells_it_and_the_journal_keeps_it(self, rig: Rig) -> None:
        backup = back_up(rig)
        manifest = backup.manifest
        assert manifest.server == rig.systems.database.identity()
        assert manifest.schemas == ("public", "pgboss", "toolkit")
        assert manifest.left_out == ("extension pg_stat_statements",)
        assert (manifest.missing, manifest.unread, manifest.jobs) == ((), {}, 2)
        assert manifest.tables["events"].rows == rig.query("SELECT count(*) FROM events")[0][0]
        assert manifest.files == checksums(backup.folder)
        told = rig.entries("backup.made")[0].data
        assert told["folder"] == "backup" and told["manifest_sha256"] == backup.manifest_sha256
        assert told["tables"] == {"events": 300, "recovery_cases": 100, "creator_settings": 20}
        assert rig.entries("backup.begun")[0].seq < rig.entries("backup.made")[0].seq

    def test_a_partitioned_table_is_counted_in_its_partitions(self, rig: Rig) -> None:
        rig.query(
            "SET ROLE churn_owner; ALTER TABLE creator_settings RENAME TO settings_1;"
            "CREATE TABLE creator_settings (LIKE settings_1) PARTITION BY LIST (company_id);"
            "ALTER TABLE creator_settings ATTACH PARTITION settings_1 DEFAULT;"
            "CREATE TABLE settings_2 PARTITION OF creator_settings FOR VALUES IN ('other');"
            "INSERT INTO creator_settings SELECT 'other', true, true, 1, '{1}', now()"
        )
        backup = back_up(rig)
        record = backup.manifest.tables["creator_settings"]
        assert (record.rows, [part.name for part in record.parts]) == (21, ["settings_1", "settings_2"])
        assert "creator_settings 21" in next(c.evidence for c in inspect_backup(backup.folder) if c.name == "rows")

    def test_the_states_stand_beside_it(self, rig: Rig) -> None:
        folder = back_up(rig).folder
        migrations = json.loads((folder / "migration-state.json").read_text())
        assert (migrations["tool"], migrations["version"], migrations["dirty"]) == ("golang-migrate", 8, False)
        assert migrations["pending"] == [9, 10, 11, 12]
        deployments = json.loads((folder / "deployments.json").read_text())
        assert deployments["production"] == rig.deployments[8]
        assert rig.deployments[7] in [each["id"] for each in deployments["deployments"]]
        assert deployments["environment_names"] == ["PROCESSING_ENABLED", "WHOP_WEBHOOK_SECRET"]

    def test_only_its_owner_may_read_it(self, rig: Rig) -> None:
        folder = back_up(rig).folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path

    def test_writes_that_go_on_are_no_matter(self, rig: Rig, programs: Path) -> None:
        """Rows that come after the snapshot are neither in the dump nor in the counts."""
        replace_program(programs, "pg_dump", 'test "$1" = --version || touch "$0.begun"; sleep 0.3; exec {real} "$@"')
        stop = threading.Event()

        def write() -> None:
            with psycopg.connect(rig.database.owner_url, autocommit=True) as conn:
                while not stop.is_set():
                    conn.execute("UPDATE events SET processed = NOT processed WHERE whop_event_id = 'evt_seed_1'")
                    conn.execute(
                        "INSERT INTO events (whop_event_id, type, membership_id, company_id, payload) "
                        "VALUES (gen_random_uuid(), 't', 'm', 'c', '{}')"
                    )

        thread = threading.Thread(target=write)
        thread.start()
        try:
            backup = back_up(rig)
        finally:
            stop.set()
            thread.join()
        assert read_backup(backup.folder).manifest.tables["events"].rows > 300

    def test_a_truncate_meanwhile_has_to_wait(self, rig: Rig, programs: Path) -> None:
        replace_program(
            programs, "pg_dump", 'test "$1" = --version || { touch "$0.begun"; sleep 1; }; exec {real} "$@"'
        )
        made: list[Backup] = []
        thread = threading.Thread(target=lambda: made.append(back_up(rig)))
        thread.start()
        wait_until((programs / "pg_dump.begun").exists, within=10, what="the dump to begin")
        with psycopg.connect(rig.database.owner_url, autocommit=True) as conn:
            conn.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                conn.execute("TRUNCATE events")
        thread.join()
        assert read_backup(made[0].folder).manifest.tables["events"].rows == 300


class TestForPeople:
    def test_the_three_cells_of_the_notebook(self, rig: Rig) -> None:
        backup = emergency_backup(rig.systems, rig.incident, actor="tester")
        assert {check.outcome for check in backup.preconditions()} == {Outcome.PASS}
        dry = backup.make(execute=False)
        assert dry.verdict == "No backup was made: this was a dry run." and not dry.inspect()
        assert not rig.entries("backup.begun") and not (rig.incident.folder / "backup").exists()
        made = backup.make(execute=True)
        assert made.verdict == "The backup is readable and complete."
        for each in (dry, made):
            each.require_complete()
        assert {check.outcome for check in made.inspect()} == {Outcome.PASS}
        assert {"what": "table events", "how much": "300 rows"} in made.rows()
        assert emergency_backup(rig.systems, rig.incident, actor="tester").folder.name == "backup-2"

    def test_a_platform_that_is_down_does_not_hinder_it_but_is_told(self, rig: Rig) -> None:
        rig.platform.api.put("/stand-in/limit", json={"requests": 0, "window_s": 600}).raise_for_status()
        try:
            made = emergency_backup(rig.systems, rig.incident, actor="tester").make(execute=True)
        finally:
            rig.platform.api.put("/stand-in/limit", json={"requests": None}).raise_for_status()
        assert made.verdict.startswith("The backup is readable, but not complete: deployments:")
        assert list(made.backup.manifest.unread) == ["deployments.json"]
        assert made.backup.manifest.environment_names is None
        with pytest.raises(UnverifiedError, match=r"not complete: deployments: .*accept_incomplete"):
            made.require_complete()
        made.require_complete(accept="the platform is down, the database is what we must save")
        decided = rig.incident.latest("decision.made")
        assert decided.data["what"].startswith("go on with an incomplete backup: deployments:")
        assert decided.data["why"].startswith("the platform is down") and decided.data["by"] == "tester"

    def test_a_critical_table_that_is_not_there_is_told(self, rig: Rig) -> None:
        rig.query("DROP TABLE creator_settings; DROP SCHEMA pgboss CASCADE")
        backup = emergency_backup(rig.systems, rig.incident, actor="tester")
        assert [c.outcome for c in backup.preconditions() if c.name == "schemas"] == [Outcome.UNKNOWN]
        made = backup.make(execute=True)
        assert made.backup.manifest.missing == ("schema pgboss", "table creator_settings")
        assert "not complete: completeness: not there when it was made: schema pgboss" in made.verdict
        with pytest.raises(BackupError, match="schema pgboss"):
            made.require_complete()

    def test_no_reason_is_good_enough_for_one_that_cannot_be_read(self, rig: Rig) -> None:
        made = emergency_backup(rig.systems, rig.incident, actor="tester").make(execute=True)
        next((made.backup.folder / "database").glob("*.dat")).unlink()
        with pytest.raises(BackupError, match="NOT usable"):
            made.require_complete(accept="whatever")
        assert not rig.entries("decision.made")


class TestRefusing:
    """A folder that is no whole backup of this server is refused, and the reason is told."""

    @pytest.fixture
    def backup(self, rig: Rig) -> Backup:
        return back_up(rig)

    def data_file(self, backup: Backup) -> Path:
        return max((backup.folder / "database").glob("*.dat"), key=lambda path: path.stat().st_size)

    def refuse(self, folder: Path, what: str) -> None:
        with pytest.raises(BackupError, match=what):
            read_backup(folder)

    def test_a_truncated_file(self, backup: Backup) -> None:
        file = self.data_file(backup)
        os.truncate(file, file.stat().st_size - 1)
        self.refuse(backup.folder, rf"checksums: database/{file.name} is truncated")
        os.truncate(file, file.stat().st_size // 2)
        self.refuse(backup.folder, "is truncated: .*rows: events: 300 counted, torn in the dump")

    def test_an_altered_byte(self, backup: Backup) -> None:
        file = self.data_file(backup)
        content = bytearray(file.read_bytes())
        content[100] ^= 1
        file.write_bytes(content)
        self.refuse(backup.folder, f"checksums: database/{file.name} was altered")

    def test_a_missing_and_a_strange_file(self, backup: Backup) -> None:
        self.data_file(backup).unlink()
        (backup.folder / "database" / "9999.dat").write_text("x")
        self.refuse(backup.folder, r"database/\d+.dat is missing; database/9999.dat does not belong to it")

    def test_an_altered_state_beside_it(self, backup: Backup) -> None:
        path = backup.folder / "migration-state.json"
        path.write_text(path.read_text().replace("8", "7"))
        self.refuse(backup.folder, "migration-state.json was altered")

    def test_rows_that_are_gone_although_the_checksums_are_right(self, backup: Backup) -> None:
        file = self.data_file(backup)
        file.write_bytes(file.read_bytes().split(b"\n", 1)[1])
        changed = backup.manifest.model_copy(update={"files": checksums(backup.folder)})
        write_manifest(backup.folder, changed)
        self.refuse(backup.folder, "rows: events: 300 counted, 299 in the dump")

    def test_a_table_that_the_archive_lacks(self, backup: Backup) -> None:
        relations = [*backup.manifest.relations]
        relations.append(replace(relations[0], name="forgotten", kind="r"))
        write_manifest(backup.folder, backup.manifest.model_copy(update={"relations": tuple(relations)}))
        self.refuse(backup.folder, r"archive: pg_restore reads it, but it lacks table \w+.forgotten, table data")

    def test_a_table_of_contents_that_is_none(self, backup: Backup) -> None:
        (backup.folder / "database" / "toc.dat").write_bytes(b"PGDMP nonsense")
        self.refuse(backup.folder, "archive: pg_restore failed")

    def test_another_server_s(self, rig: Rig, backup: Backup) -> None:
        made = backup.manifest.server
        other = type(made)("7000000000000000000", "churn", "db.example.net", 5432, "18.6")
        with pytest.raises(BackupError, match=r"server: it is foreign: of database churn_\d+ on 127.0.0.1, not of"):
            read_backup(backup.folder, other)
        assert read_backup(backup.folder, made).manifest == backup.manifest

    def test_an_empty_folder_none_and_a_dump_of_others(self, backup: Backup, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        self.refuse(tmp_path / "empty", "no backup of ours")
        self.refuse(tmp_path / "gone", "no backup of ours")
        self.refuse(backup.folder / "database", "no backup of ours")
        (tmp_path / "empty" / "manifest.json").write_text('{"form": "something else"}')
        self.refuse(tmp_path / "empty", "is something else")
        assert [check.outcome for check in inspect_backup(tmp_path / "empty")] == [Outcome.FAIL]

    def test_a_manifest_that_names_nothing(self, backup: Backup) -> None:
        write_manifest(backup.folder, backup.manifest.model_copy(update={"files": {}, "tables": {}}))
        self.refuse(backup.folder, "none of the critical tables was there")

    def test_a_packed_one_is_looked_at_as_well(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("toolkit.rollback.backup.emergency.compression_for", lambda _size, _free: PACKED)
        backup = back_up(rig, "packed")
        assert list((backup.folder / "database").glob("*.dat.gz")) and backup.manifest.compression == PACKED
        assert read_backup(backup.folder).manifest.tables["events"].rows == 300


class TestFailing:
    def test_pg_dump_that_is_killed_half_way(self, rig: Rig, programs: Path) -> None:
        body = 'test "$1" = --version && exec {real} "$@"\n{real} "$@"\nkill -9 $$'
        replace_program(programs, "pg_dump", body)
        fails(rig, "pg_dump failed: it was ended by signal 9")

    def test_a_disk_that_is_full(self, rig: Rig, programs: Path) -> None:
        replace_program(programs, "pg_dump", 'test "$1" = --version || ulimit -f 4; exec {real} "$@"')
        fails(rig, r"pg_dump failed: (it was ended by signal 25|could not write|.*[Ff]ile too large)")

    def test_pg_dump_that_ends_well_and_wrote_too_little(self, rig: Rig, programs: Path) -> None:
        body = 'test "$1" = --version && exec {real} "$@"\n{real} "$@" && for last; do :; done; rm "$last"/*.dat*'
        replace_program(programs, "pg_dump", body)
        fails(rig, "is no usable backup: archive")

    def test_pg_dump_that_is_too_old(self, rig: Rig, programs: Path) -> None:
        replace_program(programs, "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'")
        fails(rig, "programs: pg_dump 9.6.24 for PostgreSQL 18")

    def test_programs_that_are_not_there(self, rig: Rig, programs: Path) -> None:
        (programs / "pg_dump").unlink()
        with pytest.raises(ToolkitError, match="no pg_dump"):
            back_up(rig)

    def test_too_little_room(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("toolkit.rollback.backup.conditions.free_bytes", lambda _folder: 1_000_000)
        fails(rig, "room: 1 MB free for a database of .* MB: too little")

    def test_a_place_that_is_taken(self, rig: Rig) -> None:
        back_up(rig)
        with pytest.raises(BackupError, match="place: backup exists already"):
            back_up(rig)

    def test_a_server_other_than_the_one_that_was_assessed(self, rig: Rig) -> None:
        assessed = {"server": {"system_identifier": "1", "database": rig.database.name}}
        rig.incident.record("assessment.made", assessed, actor="tester")
        fails(rig, "server: .* not the one that was assessed")

    def test_a_transaction_pooler(self, rig: Rig) -> None:
        url = rig.database.toolkit_url.replace(f":{rig.database.server.port}/", ":6543/")
        systems = rollback_rig.systems_of(rig.environment() | {"DATABASE_URL": url}, rig.migrations)
        with pytest.raises(BackupError, match="transaction pooler"):
            make_backup(systems, rig.incident.folder / "backup", incident=rig.incident, actor="tester")

    def test_a_database_that_does_not_answer(self, rig: Rig) -> None:
        url = rig.database.toolkit_url.replace(f":{rig.database.server.port}/", ":9/")
        systems = rollback_rig.systems_of(rig.environment() | {"DATABASE_URL": url}, rig.migrations)
        with pytest.raises((BackupError, DatabaseError)):
            make_backup(systems, rig.incident.folder / "backup", incident=rig.incident, actor="tester")
        assert not (rig.incident.folder / "backup").exists()

    def test_our_own_end_leaves_nothing_that_looks_like_a_backup(self, rig: Rig, programs: Path) -> None:
        body = 'test "$1" = --version && exec {real} "$@"\necho $$ > "$0.pid"\nexec sleep 60'
        replace_program(programs, "pg_dump", body)
        code = (
            "import os, pathlib, rollback_rig as r\n"
            f"i = r.Incident(pathlib.Path({str(rig.incident.folder)!r}))\n"
            "r.make_backup(r.systems_of(os.environ, r.MIGRATIONS), i.folder / 'backup', incident=i, actor='t')\n"
        )
        environment = dict(os.environ) | rig.environment() | {"PYTHONPATH": str(Path(rollback_rig.__file__).parent)}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        pid_file = programs / "pg_dump.pid"
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), within=20, what="the dump to begin")
        process.send_signal(signal.SIGKILL)
        process.wait()
        dump = int(pid_file.read_text())
        wait_until(lambda: not Path(f"/proc/{dump}").exists() or is_zombie(dump), within=10, what="pg_dump to end")
        left = [path for path in rig.incident.folder.iterdir() if "backup" in path.name]
        assert [path.name for path in left] == [f".backup.part-{process.pid}"]
        assert not (left[0] / "manifest.json").exists()
        replace_program(programs, "pg_dump", 'exec {real} "$@"')
        back_up(rig)
        assert not left[0].exists() and (rig.incident.folder / "backup").exists()

    def test_an_interruption_is_journaled_and_leaves_nothing(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("toolkit.rollback.backup.emergency.write_states", interrupt)
        with pytest.raises(KeyboardInterrupt):
            back_up(rig)
        assert rig.entries("backup.failed")[0].data["error"] == "it was interrupted"
        assert [path.name for path in rig.incident.folder.iterdir() if "backup" in path.name] == []


class TestLocks:
    def test_a_waiter_for_an_exclusive_lock_makes_it_one_job(self, rig: Rig, programs: Path) -> None:
        body = (
            'test "$1" = --version && exec {real} "$@"\necho "$@" >> "$0.calls"\n'
            'case "$*" in *--jobs=2*) echo "pg_dump: error: could not obtain lock on relation public.events" >&2; '
            'exit 1;; esac\nexec {real} "$@"'
        )
        replace_program(programs, "pg_dump", body)
        backup = back_up(rig)
        assert backup.manifest.jobs == 1
        calls = (programs / "pg_dump.calls").read_text().splitlines()
        assert ["--jobs=2" in call for call in calls] == [True, False]
        assert read_backup(backup.folder).manifest.tables["events"].rows == 300

    def test_who_holds_a_table_is_named_and_waited_for(self, rig: Rig) -> None:
        with rig.session("LOCK TABLE events IN ACCESS EXCLUSIVE MODE", "stuck-migration") as blocking:
            error = fails(rig, "could not be locked", patience=IMPATIENT)
            assert f"pid {blocking.info.backend_pid} (stuck-migration, idle in transaction" in error.what
        back_up(rig)


class TestSecrets:
    def test_the_password_is_in_no_argument_and_no_file(
        self, rig: Rig, programs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = programs / "seen"
        body = (
            'test "$1" = --version && exec {real} "$@"\n'
            f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' > {seen}\nenv > {seen}.env\n"
            'exec {real} "$@"'
        )
        replace_program(programs, "pg_dump", body)
        for name, value in rig.environment().items():
            monkeypatch.setenv(name, value)
        backup = back_up(rig)
        password = rig.database.passwords["toolkit"]
        arguments = seen.read_text()
        assert "pg_dump" in arguments and "--snapshot=" in arguments
        secrets = (password, rig.platform.token, WEBHOOK_SECRET, CRON_SECRET)
        assert not [secret for secret in secrets if secret in arguments]
        handed = (programs / "seen.env").read_text()
        assert f"PGPASSWORD={password}" in handed
        assert not [secret for secret in secrets[1:] if secret in handed] and "DATABASE_URL" not in handed
        for path in [*backup.folder.rglob("*"), rig.incident.journal.path]:
            if path.is_file():
                content = path.read_bytes()
                assert not [secret for secret in secrets if secret.encode() in content], path


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("size", "free", "chosen"),
    [(100, 1000, PLAIN), (100, 120, PLAIN), (100, 119, PACKED), (100, 50, PACKED), (100, 49, None), (100, 0, None)],
)
def test_room_decides_how_it_is_written(size: int, free: int, chosen: int | None) -> None:
    assert compression_for(size, free) == chosen


def test_a_manifest_survives_its_file(rig: Rig, tmp_path: Path) -> None:
    backup = back_up(rig)
    assert isinstance(backup.manifest, Manifest)
    assert read_manifest(backup.folder) == (backup.manifest, backup.manifest_sha256)
    moved = tmp_path / "elsewhere" / "kept"
    shutil.copytree(backup.folder, moved)
    assert read_backup(moved).manifest == backup.manifest
