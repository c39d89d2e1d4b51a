"""Is this folder a backup, whole, and ours? Looked at as checks, so that a person sees what was looked at.

Level one of three: it can be read and is complete. That it can be restored, and that the restored rows have the same
fingerprints, is shown by a rehearsal. It reads every file and changes none.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.pgtools_words import Contents
from toolkit.adapters.postgres import ServerIdentity
from toolkit.checks import Check, CheckResult, Finding, failed, judge, passed, run_checks, unknown
from toolkit.errors import BackupError
from toolkit.rollback.backup.manifest import (
    DATABASE_FOLDER,
    DEPLOYMENTS_FILE,
    MIGRATION_FILE,
    FileRecord,
    Manifest,
    checksums,
    data_file,
    differences,
    read_manifest,
)
from toolkit.rollback.relations import Relation

AREA = "backup"
# Without these it is no backup; the others tell what is not in it.
NEEDED = ("manifest", "server", "checksums", "archive", "rows")
_ENTRY_OF_KIND = {
    "r": "TABLE",
    "p": "TABLE",
    "S": "SEQUENCE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "f": "FOREIGN TABLE",
}


def inspect_folder(
    folder: Path,
    tools: PgTools,
    server: ServerIdentity | None = None,
    *,
    known: Mapping[str, FileRecord] | None = None,
) -> list[CheckResult]:
    """Look at a folder. `server`: the one that it should be of; None: whichever. Never raises.

    `known` are checksums that were taken just now; without them every file is read for its own.

    A folder without a manifest gives one failed check and no more.
    """
    try:
        manifest, _ = read_manifest(folder)
    except BackupError as error:
        what = error.what
        return run_checks([Check("manifest", AREA, lambda: failed(what))])
    files = known or checksums(folder)
    archive = _Archive(folder, manifest, tools, files)
    looks: list[tuple[str, Callable[[], Finding]]] = [
        ("manifest", lambda: _described(manifest)),
        ("server", lambda: _server(manifest, server)),
        ("checksums", lambda: _checksums(manifest, files)),
        ("archive", archive.readable),
        ("rows", archive.rows),
        ("completeness", lambda: _complete(manifest)),
        ("migration state", lambda: _beside(manifest, MIGRATION_FILE)),
        ("deployments", lambda: _beside(manifest, DEPLOYMENTS_FILE)),
    ]
    return run_checks(Check(name, AREA, look) for name, look in looks)


class _Archive:
    """The dump in a backup, held against the catalog and the counts of its manifest."""

    def __init__(self, folder: Path, manifest: Manifest, tools: PgTools, files: Mapping[str, FileRecord]) -> None:
        self._folder, self._manifest, self._tools, self._files = folder, manifest, tools, files
        self._contents: Contents | None = None

    def readable(self) -> Finding:
        """Everything that the catalog had is in the table of contents, tables with their rows."""
        try:
            contents = self._read()
        except BackupError as error:
            return failed(error.what)
        missing = []
        for each in self._manifest.relations:
            kinds = [_ENTRY_OF_KIND[each.kind]] if each.kind in _ENTRY_OF_KIND else []
            kinds += ["TABLE DATA"] if each.stores_rows else []
            missing += [
                f"{kind.lower()} {each.schema}.{each.name}"
                for kind in kinds
                if contents.find(kind, each.schema, each.name) is None
            ]
        if missing:
            return failed(f"pg_restore reads it, but it lacks {', '.join(missing[:5])}")
        told = f"pg_restore reads {len(contents.entries)} entries"
        return passed(f"{told}, with all {len(self._manifest.relations)} tables, sequences and views of the catalog")

    def rows(self) -> Finding:
        """The data files of all tables hold as many rows as were counted in the same snapshot."""
        manifest = self._manifest
        if not manifest.tables:
            return failed("none of the critical tables was there")
        wrong = []
        for name, record in [*manifest.tables.items(), *manifest.others.items()]:
            counts = [self._rows_of(part) for part in record.parts]
            found = None if None in counts else sum(count or 0 for count in counts)
            if found != record.rows:
                dumped = "torn" if found is None else f"{found:,}"
                wrong.append(f"{name}: {record.rows:,} counted, {dumped} in the dump")
        if wrong:
            return failed("; ".join(wrong[:5]))
        told = ", ".join(f"{name} {record.rows:,}" for name, record in manifest.tables.items())
        rest = f"; {len(manifest.others)} other tables likewise" if manifest.others else ""
        return passed(f"{told}{rest}")

    def _rows_of(self, table: Relation) -> int | None:
        number = self._read().find("TABLE DATA", table.schema, table.name)
        file = None if number is None else data_file(self._files, number)
        return None if file is None else file.rows

    def _read(self) -> Contents:
        if self._contents is None:
            self._contents = self._tools.contents(self._folder / DATABASE_FOLDER)
        return self._contents


def _described(manifest: Manifest) -> Finding:
    version = manifest.server.version.split()[0]
    return passed(
        f"of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC, target {manifest.target}, PostgreSQL {version}, "
        f"{manifest.bytes:,} bytes in {len(manifest.files)} files"
    )


def _server(manifest: Manifest, server: ServerIdentity | None) -> Finding:
    made, name = manifest.server, f"database {manifest.server.database} on {manifest.server.host}"
    if server is None:
        return passed(f"{name}; no other was expected")
    same = (made.system_identifier, made.database) == (server.system_identifier, server.database)
    return judge(same, name if same else f"it is foreign: of {name}, not of {server.database} on {server.host}")


def _checksums(manifest: Manifest, files: Mapping[str, FileRecord]) -> Finding:
    found = differences(manifest.files, files)
    if not manifest.files:
        return failed("the manifest names no file")
    return failed("; ".join(found[:5])) if found else passed(f"{len(manifest.files)} files are as they were written")


def _complete(manifest: Manifest) -> Finding:
    besides = f"; left out: {', '.join(manifest.left_out)}" if manifest.left_out else ""
    if manifest.missing:
        return failed(f"not there when it was made: {', '.join(manifest.missing)}{besides}")
    return passed(f"all schemas of the playbook: {', '.join(manifest.schemas)}{besides}")


def _beside(manifest: Manifest, name: str) -> Finding:
    if name in manifest.unread:
        return unknown(manifest.unread[name])
    return passed(name) if name in manifest.files else failed(f"{name} is missing")
