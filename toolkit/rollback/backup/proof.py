"""A backup proved by restoring it: levels two and three of three.

Level one is `inspection`: it can be read, and is as it was written. Level two restores it into a scratch database,
level three holds the fingerprint of every restored table against the manifest, which was taken from the snapshot of the
dump. It never touches a target. What the scratch server could not build is unknown, not passed.
"""

from collections.abc import Callable, Sequence

from toolkit.adapters.pgtools import Advance
from toolkit.adapters.postgres import Connection, Database
from toolkit.checks import Check, CheckResult, Finding, failed, passed, run_checks, unknown
from toolkit.errors import BackupError, DatabaseError
from toolkit.rollback.backup.emergency import Backup
from toolkit.rollback.backup.left_out import sequences
from toolkit.rollback.backup.manifest import Manifest, TableRecord
from toolkit.rollback.backup.table_proofs import counts_only
from toolkit.rollback.relations import count_rows
from toolkit.rollback.scratch import Built, Scratch
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
