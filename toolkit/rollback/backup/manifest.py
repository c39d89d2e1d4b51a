"""What a backup says of itself: `manifest.json`, with a checksum for every file beside it.

Owns the manifest's form, writing it last, and holding a folder against it. It holds no secret and no rows: counts,
digests, names.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.adapters.postgres import ServerIdentity
from toolkit.errors import BackupError
from toolkit.rollback.relations import Relation

MANIFEST_FILE = "manifest.json"
DATABASE_FOLDER = "database"
MIGRATION_FILE = "migration-state.json"
DEPLOYMENTS_FILE = "deployments.json"
FORM: Literal["rollback-drills backup, form 1"] = "rollback-drills backup, form 1"
_CHUNK = 1024 * 1024
_READERS = 2


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    bytes: int
    sha256: str


class TableRecord(_Record):
    """A critical table in the snapshot of the dump. `digest` as in a fingerprint over `columns`; None: not taken.

    `parts` are the tables that store its rows: itself, or its partitions.
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
    """

    form: Literal["rollback-drills backup, form 1"] = FORM
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
    unread: Mapping[str, str]
    environment_names: tuple[str, ...] | None
    seconds: float
    files: Mapping[str, FileRecord]

    @property
    def bytes(self) -> int:
        """Of all files but the manifest."""
        return sum(record.bytes for record in self.files.values())


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


def checksums(folder: Path) -> dict[str, FileRecord]:
    """Of every file in the folder and below, the manifest apart."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_FILE)
    with ThreadPoolExecutor(_READERS) as pool:
        records = list(pool.map(_record, paths))
    return {str(path.relative_to(folder)): record for path, record in zip(paths, records, strict=True)}


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


def dumped_rows(folder: Path, dump_id: int) -> int | None:
    """How many rows a table's data file holds, by its lines; None when the file is missing or torn."""
    plain = folder / DATABASE_FOLDER / f"{dump_id}.dat"
    packed = plain.with_name(f"{plain.name}.gz")
    lines, tail = 0, b""
    try:
        with plain.open("rb") if plain.exists() else cast(IO[bytes], gzip.open(packed, "rb")) as file:
            for chunk in _chunks(file):
                lines += chunk.count(b"\n")
                tail = (tail + chunk)[-64:]
    except (OSError, EOFError):
        return None
    end = tail.rfind(b"\\.\n")  # what ends the data; a row cannot hold it, as COPY escapes the backslash
    return None if end < 0 else lines - tail[end:].count(b"\n")


def _record(path: Path) -> FileRecord:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        for chunk in _chunks(file):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(bytes=size, sha256=digest.hexdigest())


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
