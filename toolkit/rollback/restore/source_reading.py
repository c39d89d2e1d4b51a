"""What a source of a restore is: a backup of ours, somebody's dump, and the digest that tells it is still the same.

It reads files and no server.
"""

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from toolkit.errors import BackupError, ToolkitError, UsageError
from toolkit.rollback.backup.manifest import MANIFEST_FILE, MIGRATION_FILE, Manifest, read_manifest, sizes_differ

SourceKind = Literal["ours", "plain", "archive"]
_CHUNK = 1024 * 1024
_CREATES_PUBLIC = re.compile(rb'CREATE SCHEMA "?public"?;')
_CUSTOM, _TAR_AT, _GZIP = b"PGDMP", 257, b"\x1f\x8b"


@dataclass(frozen=True)
class Source:
    """One backup or dump. `taken_at` is UTC, None where it does not say. `version`: the migration that it held.

    `sha256` is that of the manifest for ours, of the file for others, of all files for a foreign directory.
    `schemas` are () where only restoring it tells; `extensions` are those without which it cannot be restored.
    `manifest` is of ours only.
    """

    path: Path
    kind: SourceKind
    sha256: str
    taken_at: datetime | None
    schemas: tuple[str, ...] = ()
    version: int | None = None
    manifest: Manifest | None = None
    extensions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    def __str__(self) -> str:
        when = f"of {self.taken_at:%Y-%m-%d %H:%M:%S} UTC" if self.taken_at else "of an unknown time"
        whose = "backup" if self.kind == "ours" else f"{self.kind} dump"
        return f"{whose} {self.path.name} {when}"


def read_source(path: Path) -> Source:
    """What it is, by a quick look. UsageError when nothing is there, BackupError when it is no backup and no dump."""
    if not path.exists():
        raise UsageError(f"There is no backup at {path}", next="name another: --backup-restore=FILE")
    if path.is_dir() and (path / MANIFEST_FILE).exists():
        manifest, digest = read_manifest(path)
        own = tuple(name for name in manifest.schemas if name != "toolkit")
        needed = tuple(each.name for each in manifest.extensions if each.needed)
        return Source(path, "ours", digest, manifest.created_at, own, _version(path), manifest, needed)
    kind = _foreign_kind(path)
    return Source(path, kind, digest_of(path), None)


def require_same(path: Path, sha256: str) -> Source:
    """The source that the plan was made from. BackupError when it is another by now, or damaged in size."""
    try:
        source = read_source(path)
        same = source.sha256 == sha256 and not (source.manifest and sizes_differ(path, source.manifest))
    except ToolkitError as error:
        raise BackupError(f"{error.what}", state="production was not touched", next="plan again") from None
    if not same:
        raise BackupError(
            f"{path.name} is not what it was when the plan was made",
            state="production was not touched",
            next="use another backup, or look at what changed in it and plan again",
        )
    return source


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's files with their names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
        if path.is_dir():
            digest.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def creates_public(path: Path) -> bool:
    """Whether a plain dump creates the schema `public` itself, as one of named schemas does. Read up to its first rows.

    Every new database has that schema, and psql stops at the first error.
    """
    with path.open("rb") as head:
        packed = head.read(len(_GZIP)) == _GZIP
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        for line in file:
            if _CREATES_PUBLIC.match(line):
                return True
            if line.startswith((b"COPY ", b"INSERT INTO ")):
                return False
    return False


def _foreign_kind(path: Path) -> SourceKind:
    if path.is_dir():
        if (path / "toc.dat").exists():
            return "archive"
        raise BackupError(f"{path} is no backup: it has neither a manifest nor a table of contents")
    with path.open("rb") as file:
        head = file.read(_TAR_AT + 5)
    if not head:
        raise BackupError(f"{path} is empty")
    if head.startswith(_CUSTOM) or head[_TAR_AT:] == b"ustar":
        return "archive"
    if head.startswith(_GZIP) or b"\0" not in head:
        return "plain"
    raise BackupError(f"{path} is no dump of PostgreSQL")


def _version(folder: Path) -> int | None:
    """The migration that our backup held; None where it could not be read then."""
    try:
        told = json.loads((folder / MIGRATION_FILE).read_text())
        return None if told.get("version") is None else int(told["version"])
    except (OSError, ValueError):
        return None
