"""What a backup says of itself: `manifest.json`, with a checksum for every file beside it.

Owns the manifest's form, writing it last, and holding a folder against it. It holds no secret and no rows: counts,
digests, names.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.adapters.postgres import ServerIdentity
from toolkit.errors import BackupError
from toolkit.rollback.backup.left_out import Extension, SchemaRights, SequenceRecord
from toolkit.rollback.backup.measuring import Measure, measure_files
from toolkit.rollback.relations import Relation

MANIFEST_FILE = "manifest.json"
DATABASE_FOLDER = "database"
MIGRATION_FILE = "migration-state.json"
DEPLOYMENTS_FILE = "deployments.json"
VERIFIED_FILE = "verified.json"  # beside it, and no part of it: what later looks at it found
FORM: Literal["rollback-drills backup, form 2"] = "rollback-drills backup, form 2"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """`rows`: how many a table's data file holds; None for every other file, and for one that is torn."""

    bytes: int
    sha256: str
    rows: int | None = None


class TableRecord(_Record):
    """A table in the snapshot of the dump. `digest` as in a fingerprint over `columns`; None: not taken.

    `parts` are the tables that store its rows: itself, its partitions, or those that inherit from it.
    """

    table: Relation
    parts: tuple[Relation, ...]
    rows: int
    columns: tuple[str, ...] = ()
    digest: str | None = None


class Manifest(_Record):
    """All of it. Times are UTC, `seconds` is how long it took, `files` are by their path in the backup's folder.

    `left_out` tells what of the database is not in it. `missing` are schemas and critical tables of the playbook that
    were not there. `unread` tells why the migration state or the deployments are not in it, by file.

    `tables` are the critical ones by the playbook's names, `others` all others that store rows as `schema.table`;
    `unproved` are those of them whose fingerprint was not taken, as that would have taken too long. `sequences` were
    read before the snapshot, which has none: a restored one stands there or further on. `extensions`, `rights` and
    `roles` are what a dump of schemas leaves out and a restore on another server needs.
    """

    form: Literal["rollback-drills backup, form 2"] = FORM
    created_at: datetime
    incident: str
    actor: str
    target: str
    server: ServerIdentity
    wal_position: str | None
    pg_dump: str
    schemas: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    compression: int
    jobs: int
    relations: tuple[Relation, ...]
    tables: Mapping[str, TableRecord]
    others: Mapping[str, TableRecord]
    unproved: tuple[str, ...]
    sequences: tuple[SequenceRecord, ...]
    extensions: tuple[Extension, ...]
    rights: tuple[SchemaRights, ...]
    roles: tuple[str, ...]
    unread: Mapping[str, str]
    environment_names: tuple[str, ...] | None
    seconds: float
    files: Mapping[str, FileRecord]

    @property
    def bytes(self) -> int:
        """Of all files but the manifest."""
        return sum(record.bytes for record in self.files.values())

    @property
    def every_table(self) -> dict[str, TableRecord]:
        """All tables that store rows, the critical ones first, as `schema.table`."""
        critical = {f"{each.table.schema}.{each.table.name}": each for each in self.tables.values()}
        return critical | dict(self.others)


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write it; its own SHA-256."""
    content = manifest.model_dump_json(indent=2).encode() + b"\n"
    (folder / MANIFEST_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """The manifest and its SHA-256. BackupError when there is none, or when it is something else."""
    try:
        content = (folder / MANIFEST_FILE).read_bytes()
        return Manifest.model_validate(json.loads(content)), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise BackupError(f"{folder} is no backup of ours: {MANIFEST_FILE}: {error.strerror}") from None
    except (ValueError, ValidationError):
        raise BackupError(f"{folder} is no backup of ours: its {MANIFEST_FILE} is something else") from None


def checksums(folder: Path, known: Mapping[Path, Measure] | None = None) -> dict[str, FileRecord]:
    """Of every file in the folder and below, apart from the manifest and what later looks wrote beside it.

    `known` are measures that were just taken; their files are not read again.
    """
    aside = {folder / MANIFEST_FILE, folder / VERIFIED_FILE}
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path not in aside)
    measures = dict(known or {})
    unread = [path for path in paths if path not in measures]
    measures |= dict(zip(unread, measure_files(unread), strict=True))
    return {str(path.relative_to(folder)): _record(measures[path]) for path in paths}


def differences(recorded: Mapping[str, FileRecord], found: Mapping[str, FileRecord]) -> list[str]:
    """What is missing, altered, truncated or foreign, a file a line; [] when all is as it was written."""
    lines = [f"{name} is missing" for name in recorded.keys() - found.keys()]
    lines += [f"{name} does not belong to it" for name in found.keys() - recorded.keys()]
    for name in recorded.keys() & found.keys():
        was, now = recorded[name], found[name]
        if now.bytes < was.bytes:
            lines.append(f"{name} is truncated: {now.bytes:,} of {was.bytes:,} bytes")
        elif now != was:
            lines.append(f"{name} was altered")
    return sorted(lines)


def sizes_differ(folder: Path, manifest: Manifest) -> bool:
    """A quick look: whether a file is missing or has another size. No content is read."""
    return any(
        not (folder / name).is_file() or (folder / name).stat().st_size != record.bytes
        for name, record in manifest.files.items()
    )


def data_file(files: Mapping[str, FileRecord], dump_id: int) -> FileRecord | None:
    """The file that holds a table's rows, plain or packed; None when there is none."""
    plain = f"{DATABASE_FOLDER}/{dump_id}.dat"
    return files.get(plain) or files.get(f"{plain}.gz")


def _record(measure: Measure) -> FileRecord:
    return FileRecord(bytes=measure.bytes, sha256=measure.sha256, rows=measure.rows)
