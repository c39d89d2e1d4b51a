"""A backup proved by restoring it: levels two and three of three.

Level one is `inspection`: it can be read, and is as it was written. Level two restores it into a scratch database,
level three holds the fingerprint of every restored table against the manifest, which was taken from the snapshot of the
dump. It never touches a target. What the scratch server could not build is unknown, not passed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.adapters.postgres import Connection, Database
from toolkit.checks import Check, CheckResult, Finding, Outcome, failed, passed, run_checks, unknown
from toolkit.errors import BackupError, DatabaseError
from toolkit.progress import Advance
from toolkit.rollback.backup.emergency import Backup, inspect_backup
from toolkit.rollback.backup.inspection import NEEDED
from toolkit.rollback.backup.left_out import sequences
from toolkit.rollback.backup.manifest import Manifest, TableRecord, read_manifest
from toolkit.rollback.backup.table_proofs import counts_only
from toolkit.rollback.backup.verified import Level, Verified, read_verified, record_verified
from toolkit.rollback.relations import count_rows
from toolkit.rollback.scratch import Built, Scratch, scratch_server
from toolkit.verify.fingerprints import fingerprint

AREA = "restored backup"
RESTORED, FINGERPRINTS, SEQUENCES = "restored", "fingerprints", "sequences"
NAME = "proof_of_backup"
_TOLD = 5


def restore_checks(
    backup: Backup,
    scratch: Scratch,
    *,
    built: Built | None = None,
    advance: Advance | None = None,
) -> list[CheckResult]:
    """Restore a backup on a scratch server and hold every table against its manifest. Never raises, interrupts apart.

    `built`: it was restored there already, and nothing has changed in it since. Works in proportion to the data.
    """
    proof = _Proof(backup, scratch, built, advance)
    looks: dict[str, Callable[[], Finding]] = {
        RESTORED: proof.restored,
        FINGERPRINTS: proof.fingerprints,
        SEQUENCES: proof.sequences,
    }
    return run_checks(Check(name, AREA, look) for name, look in looks.items())


@dataclass(frozen=True)
class Verification:
    """What a verification found. `record` is what was written beside the backup; None: there is no manifest."""

    results: list[CheckResult]
    record: Verified | None

    @property
    def level(self) -> Level:
        return self.record.level if self.record else Level.NONE


def verify_backup(folder: Path, *, restore: bool, advance: Advance | None = None) -> Verification:
    """Look at a backup whole and, with `restore`, prove it on a scratch server; record the result beside it.

    A backup that is still what it was keeps the level that it had. Raises OSError when the record cannot be written,
    DatabaseError when no scratch server can be had.
    """
    results = inspect_backup(folder)
    try:
        manifest, digest = read_manifest(folder)
    except BackupError:
        return Verification(results, None)
    backup = Backup(folder, manifest, digest)
    if not _is_readable(results):
        return Verification(results, record_verified(folder, digest, Level.NONE, results))
    if restore:
        with scratch_server(like=manifest.server) as scratch:
            results += restore_checks(backup, scratch, advance=advance)
    return Verification(results, keep_proof(backup, results))


def keep_proof(backup: Backup, results: Sequence[CheckResult]) -> Verified:
    """Record what was seen of a backup that is readable. Checks that were not repeated stay as they were, and so does
    the level that they gave; one that was repeated and did not pass takes it away. OSError when it cannot be written.
    """
    fresh = {each.name for each in results}
    before = read_verified(backup.folder, backup.manifest_sha256)
    outcomes = {each.name: each.outcome for each in before.checks} if before else {}
    outcomes |= {each.name: each.outcome for each in results}
    kept = [each for each in before.checks if each.name not in fresh] if before else []
    return record_verified(backup.folder, backup.manifest_sha256, _level(outcomes), results, kept)


def _is_readable(results: Sequence[CheckResult]) -> bool:
    outcomes = {each.name: each.outcome for each in results}
    return all(outcomes.get(name) is Outcome.PASS for name in NEEDED)


def _level(outcomes: Mapping[str, Outcome]) -> Level:
    """Of a backup that is readable."""
    level = Level.READABLE
    for names, reached in (((RESTORED,), Level.RESTORED), ((FINGERPRINTS, SEQUENCES), Level.PROVED)):
        if any(outcomes.get(name) is not Outcome.PASS for name in names):
            break
        level = reached
    return level


class _Proof:
    def __init__(self, backup: Backup, scratch: Scratch, built: Built | None, advance: Advance | None) -> None:
        self._backup, self._scratch, self._built, self._advance = backup, scratch, built, advance

    @property
    def _manifest(self) -> Manifest:
        return self._backup.manifest

    def restored(self) -> Finding:
        """Level two: everything in it can be created on an empty server."""
        began_here = self._built is None
        try:
            self._built = self._built or self._scratch.restored(self._backup.folder, name=NAME, advance=self._advance)
        except BackupError as error:
            return failed(error.what)
        if self._built.problems:
            return unknown(f"not everything could be built on the scratch server: {_told(self._built.problems)}")
        took = f" in {self._built.seconds:.1f} s" if began_here else ""
        return passed(f"{self._manifest.bytes / 1e6:,.1f} MB were restored{took}")

    def fingerprints(self) -> Finding:
        """Level three: each table holds the very rows of the snapshot."""
        if self._built is None:
            return unknown("it was not restored")
        wrong, counted = [], list(self._manifest.unproved)
        tables = self._manifest.every_table
        for number, (name, record) in enumerate(tables.items()):
            if self._advance is not None:
                self._advance("comparing fingerprints", number, len(tables))
            difference = _difference(self._built.database, name, record)
            wrong += [difference] if difference else []
            counted += [name] if record.digest is None else []
        if wrong:
            told = f"not as it was dumped: {_told(wrong)}"
            if self._built.problems or not self._scratch.same_major:
                return unknown(f"{told}; but the scratch server could not build all, or is of another major version")
            return failed(told)
        rows = sum(record.rows for record in tables.values())
        told = f"{len(tables)} tables with {rows:,} rows are as they were in the snapshot"
        return unknown(f"{told}, but no fingerprint was taken of {_told(counted)}") if counted else passed(told)

    def sequences(self) -> Finding:
        """Sequences are not part of a snapshot: each stands where it stood before the dump, or further on."""
        if self._built is None:
            return unknown("it was not restored")
        with self._built.database.reading() as conn:
            found = {(each.schema, each.name): each.value for each in sequences(conn, self._manifest.schemas)}
        wrong = [
            f"{each.schema}.{each.name} stands at {found.get((each.schema, each.name))}, behind {each.value}"
            for each in self._manifest.sequences
            if not each.is_reached_by(found.get((each.schema, each.name)))
        ]
        return failed(_told(wrong)) if wrong else passed(f"{len(self._manifest.sequences)} stand where they stood")


def _difference(database: Database, name: str, record: TableRecord) -> str | None:
    """In words, how a restored table differs from its record; None when it does not."""
    try:
        with database.reading(within_ms=0) as conn:
            rows, digest = _rows_and_digest(conn, name, record)
    except DatabaseError as error:
        return f"{name}: {error.what}"
    if rows != record.rows:
        return f"{name} has {rows:,} rows instead of {record.rows:,}"
    return f"{name} has other rows, as many as before" if digest != record.digest else None


def _rows_and_digest(conn: Connection, name: str, record: TableRecord) -> tuple[int, str | None]:
    if record.digest is None or counts_only(conn, record.table):
        return count_rows(conn, record.table), None
    found = fingerprint(conn, name, record.columns)
    return found.rows, found.digest


def _told(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return f"{'; '.join(lines[:_TOLD])}{more}"
