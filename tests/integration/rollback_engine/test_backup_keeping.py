"""Backups that are kept: verified, found, pruned, encrypted for elsewhere and brought back, by the command line too."""

import json
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from rollback_rig import Rig, deployments_of
from stand_in import StandIn
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.cli import main as toolkit
from toolkit.drill.database import ServiceDatabase, create_database
from toolkit.errors import BackupError, UsageError
from toolkit.incident import Incident, State
from toolkit.playbook import Severity
from toolkit.rollback.backup import Backup, make_backup, read_backup
from toolkit.rollback.backup.encryption import Key, Lock, TarOfBackup, decrypt_backup, encrypt_backup
from toolkit.rollback.backup.keeping import OpenIncidents, find_backups
from toolkit.rollback.backup.manifest import checksums, read_manifest
from toolkit.rollback.backup.proof import verify_backup
from toolkit.rollback.backup.verified import Level, read_verified
from toolkit.server import PostgresServer


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def original(
    platform: StandIn,
    cluster: PostgresServer,
    role_passwords: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Backup]:
    """One backup for all tests of this file, in an incident's folder."""
    database: ServiceDatabase = create_database(cluster, role_passwords, "kept_backups")
    incident = Incident(tmp_path_factory.mktemp("incidents") / "incident-1")
    incident.folder.mkdir()
    rig = Rig(database, platform, incident, deployments_of(platform))
    rig.set_up(8, 8)
    incident.open(Severity.P1, ["for the test"], actor="tester")
    yield make_backup(rig.systems, incident.folder / "backup", incident=incident, actor="tester")
    rig.close()


@pytest.fixture
def incident(original: Backup, tmp_path: Path) -> Incident:
    """A copy of the incident's folder with its backup, for this test."""
    home = tmp_path / "reports" / "incident-1"
    shutil.copytree(original.folder.parent, home)
    return Incident(home)


@pytest.fixture
def backup(incident: Incident) -> Backup:
    return read_backup(incident.folder / "backup")


def run(*words: str | Path) -> dict[str, object]:
    """One JSON answer of the command line."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


class TestVerifying:
    def test_a_fresh_one_is_readable_and_recorded_so(self, backup: Backup) -> None:
        record = read_verified(backup.folder, backup.manifest_sha256)
        assert record is not None and record.level is Level.READABLE
        assert stat.S_IMODE((backup.folder / "verified.json").stat().st_mode) == 0o600
        assert {"archive", "rows", "checksums"} <= {each.name for each in record.checks}

    def test_restoring_it_proves_it(self, backup: Backup) -> None:
        found = verify_backup(backup.folder, restore=True)
        assert found.level is Level.PROVED
        assert found.record == read_verified(backup.folder, backup.manifest_sha256)
        again = verify_backup(backup.folder, restore=False)  # still what it was: it keeps what was proved
        assert again.level is Level.PROVED

    def test_one_that_was_damaged_since_loses_its_level(self, backup: Backup) -> None:
        file = max((backup.folder / "database").glob("*.dat"), key=lambda path: path.stat().st_size)
        content = bytearray(file.read_bytes())
        content[7] ^= 1
        file.write_bytes(content)
        assert verify_backup(backup.folder, restore=True).level is Level.NONE
        assert find_backups([backup.folder])[0][0].level is Level.NONE

    def test_a_record_of_another_or_an_edited_one_counts_for_nothing(self, backup: Backup) -> None:
        path = backup.folder / "verified.json"
        assert read_verified(backup.folder, "0" * 64) is None
        told = json.loads(path.read_text())
        told["verified"]["level"] = 3
        path.write_text(json.dumps(told))
        assert read_verified(backup.folder, backup.manifest_sha256) is None
        path.write_text("[]")
        assert read_verified(backup.folder, backup.manifest_sha256) is None
        read_backup(backup.folder)  # the record is no part of the backup

    def test_by_the_command_line(self, backup: Backup, capsys: pytest.CaptureFixture[str]) -> None:
        told = run("backup", "verify", backup.folder, "--restore")
        assert (told["level"], told["verified"]) == (3, "restored, with its fingerprints")
        os.truncate(backup.folder / "database" / "toc.dat", 10)
        with pytest.raises(SystemExit) as ended:
            toolkit(["backup", "verify", str(backup.folder)])
        assert ended.value.code == 1
        assert "toc.dat is truncated" in capsys.readouterr().err

    def test_a_folder_that_is_no_backup(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            toolkit(["backup", "verify", str(tmp_path)])
        assert ended.value.code == 1 and "is no backup of ours" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


class TestListing:
    def test_what_it_tells(self, incident: Incident, backup: Backup) -> None:
        (told,) = run("backup", "list", incident.folder.parent)["backups"]
        assert told["folder"] == str(backup.folder) and told["migration"] == 8
        assert (told["target"], told["level"], told["incident"]) == ("sandbox", 1, "incident-1")
        assert told["bytes"] == backup.manifest.bytes and told["server"].endswith("/kept_backups")

    def test_what_is_damaged_or_half_made_is_told(self, incident: Incident, backup: Backup) -> None:
        next((backup.folder / "database").glob("*.dat")).unlink()
        shutil.copytree(backup.folder, incident.folder / ".backup-2.part-99999999")
        for name in ("none/database", "of-others"):
            (incident.folder / name).mkdir(parents=True)
        (incident.folder / "none" / "manifest.json").write_text("{}")
        (incident.folder / "of-others" / "manifest.json").write_text("{}")
        answer = run("backup", "list", incident.folder.parent, incident.folder, incident.folder / "gone")
        assert [each["damage"] for each in answer["backups"]] == ["files are missing or have another size"]
        assert len(answer["problems"]) == 2


class TestPruning:
    def test_an_unresolved_incident_keeps_its_backup_and_a_resolved_one_lets_it_go(
        self, incident: Incident, backup: Backup
    ) -> None:
        elsewhere = incident.folder.parent / "elsewhere"
        shutil.copytree(backup.folder, elsewhere)
        (elsewhere / "verified.json").unlink()
        place, none = incident.folder.parent, ("--last", "0", "--daily", "0", "--weekly", "0")
        answer = run("backup", "prune", place, *none, "--execute")
        assert answer["removed"] == [] and all(each["stays"] for each in answer["backups"])
        for state in (State.ACKNOWLEDGED, State.MITIGATED, State.RESOLVED):
            incident.advance(state, "for the test", actor="tester")
        dry = run("backup", "prune", place, *none)
        assert [each["stays"] for each in dry["backups"] if each["folder"] == str(elsewhere)] == [False]
        assert elsewhere.exists()
        assert run("backup", "prune", place, *none, "--execute")["removed"] == [str(elsewhere)]
        assert not elsewhere.exists() and backup.folder.exists()  # the newest verified one

    def test_another_incident_that_names_it_keeps_it(self, incident: Incident, backup: Backup) -> None:
        other = Incident(incident.folder.parent / "incident-2")
        other.folder.mkdir()
        other.record("plan.made", {"source": {"sha256": backup.manifest_sha256}}, actor="tester")
        for state in (State.ACKNOWLEDGED, State.MITIGATED, State.RESOLVED):
            incident.advance(state, "for the test", actor="tester")
        kept = find_backups([incident.folder])[0]
        told = OpenIncidents([incident.folder.parent], kept).refers_to(kept[0])
        assert told == "incident incident-2 is not resolved"

    def test_a_journal_that_cannot_be_read_keeps_what_lies_beside_it(self, incident: Incident) -> None:
        incident.journal.path.write_text("nonsense\n")
        kept = find_backups([incident.folder])[0]
        assert OpenIncidents([incident.folder], kept).refers_to(kept[0]) == "the journal of incident-1 cannot be read"


class TestEncrypting:
    def test_for_a_public_key_and_back(self, backup: Backup, tmp_path: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        file = tmp_path / "copy.age"
        run("backup", "encrypt", backup.folder, file, "--recipient", str(identity.to_public()))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"whop_event_id" not in file.read_bytes() and b"evt_seed" not in file.read_bytes()
        key = tmp_path / "key.txt"
        key.write_text(f"# created for the test\n{identity}\n")
        back = tmp_path / "back"
        run("backup", "decrypt", file, back, "--identity", key)
        assert checksums(back) == backup.manifest.files and read_manifest(back)[1] == backup.manifest_sha256
        assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in back.rglob("*") if each.is_file())

    def test_with_a_passphrase_of_a_variable(
        self, backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COPY_PASSPHRASE", "correct horse battery staple")
        file = tmp_path / "copy.age"
        answer = run("backup", "encrypt", backup.folder, file, "--passphrase-env", "COPY_PASSPHRASE")
        assert answer["files"] == [str(file), f"{file}.key"]
        run("backup", "decrypt", file, tmp_path / "back", "--passphrase-env", "COPY_PASSPHRASE")
        assert checksums(tmp_path / "back") == backup.manifest.files
        with pytest.raises(BackupError, match="passphrase does not open"):
            decrypt_backup(file, tmp_path / "other", Key(passphrase="wrong"))
        assert not (tmp_path / "other").exists()

    def test_what_the_age_format_promises_is_kept(self, backup: Backup, tmp_path: Path) -> None:
        """Any program that knows age and tar opens it."""
        identity = pyrage.x25519.Identity.generate()
        file = tmp_path / "copy.age"
        encrypt_backup(backup.folder, file, Lock((str(identity.to_public()),)))
        (tmp_path / "copy.tar").write_bytes(pyrage.decrypt(file.read_bytes(), [identity]))
        with tarfile.open(tmp_path / "copy.tar") as tar:
            assert set(tar.getnames()) == {"manifest.json", "verified.json", *backup.manifest.files}

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99999])
    def test_one_that_is_cut_short_leaves_nothing(self, backup: Backup, tmp_path: Path, share: float) -> None:
        identity = pyrage.x25519.Identity.generate()
        file = tmp_path / "copy.age"
        encrypt_backup(backup.folder, file, Lock((str(identity.to_public()),)))
        os.truncate(file, int(share * file.stat().st_size))
        with pytest.raises(BackupError, match="cannot be opened"):
            decrypt_backup(file, tmp_path / "back", Key((str(identity),)))
        assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []

    def test_one_that_was_altered_or_is_for_another_leaves_nothing(self, backup: Backup, tmp_path: Path) -> None:
        identity, stranger = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
        file = tmp_path / "copy.age"
        encrypt_backup(backup.folder, file, Lock((str(identity.to_public()),)))
        with pytest.raises(BackupError, match="cannot be opened"):
            decrypt_backup(file, tmp_path / "back", Key((str(stranger),)))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(BackupError, match="cannot be opened"):
            decrypt_backup(file, tmp_path / "back", Key((str(identity),)))
        assert not (tmp_path / "back").exists()

    def test_a_damaged_backup_is_not_copied(self, backup: Backup, tmp_path: Path) -> None:
        file = max((backup.folder / "database").glob("*.dat"), key=lambda path: path.stat().st_size)
        content = bytearray(file.read_bytes())
        content[-9] ^= 1
        file.write_bytes(content)
        with pytest.raises(BackupError, match=rf"database/{file.name} is not as it was written"):
            encrypt_backup(backup.folder, tmp_path / "copy.age", Lock(passphrase="something long"))
        assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []

    def test_keys_that_are_none(self, backup: Backup, tmp_path: Path) -> None:
        file = tmp_path / "copy.age"
        with pytest.raises(UsageError, match="is no public key"):
            encrypt_backup(backup.folder, file, Lock(("age1nonsense",)))
        with pytest.raises(UsageError, match="either for public keys or with a passphrase"):
            encrypt_backup(backup.folder, file, Lock())
        with pytest.raises(UsageError, match="no secret key"):
            decrypt_backup(file, tmp_path / "back", Key(("AGE-SECRET-KEY-1NONSENSE",)))
        file.write_bytes(b"there already")
        with pytest.raises(UsageError, match="exists already"):
            encrypt_backup(backup.folder, file, Lock(passphrase="something long"))
        assert file.read_bytes() == b"there already"

    def test_the_archive_is_made_in_pieces(self, backup: Backup) -> None:
        """Never more than one piece of one file in memory, whatever is asked for."""
        tar = TarOfBackup(backup.folder, backup.manifest)
        sizes = []
        while piece := tar.read():
            sizes.append(len(piece))
        assert max(sizes) <= 1024 * 1024 and sum(sizes) % 10240 == 0
        assert sum(sizes) > backup.manifest.bytes
