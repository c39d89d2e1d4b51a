"""Is the copy beside what the source held? Rows by fingerprint, every constraint and index, every object's definition.

It reads only, while production serves. What differs is told by names and counts, never by rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection
from toolkit.errors import BackupError
from toolkit.rollback.backup.manifest import Manifest
from toolkit.rollback.relations import relations
from toolkit.verify.fingerprints import SchemaSignature, TableFingerprint, fingerprint, schema_signature

_TOLD = 5

_INVALID = """
SELECT format('constraint %%s on %%s', conname, relname)
FROM pg_constraint
JOIN pg_class ON pg_class.oid = conrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s) AND NOT convalidated
UNION ALL
SELECT format('index %%s', relname)
FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = ANY (%(schemas)s) AND NOT indisvalid
ORDER BY 1
"""


@dataclass(frozen=True)
class Content:
    """What schemas hold, by the application's names: rows of each table, what is not valid, every object."""

    tables: Mapping[str, TableFingerprint]
    invalid: frozenset[str]
    signature: SchemaSignature


def content_of(conn: Connection, places: Mapping[str, str]) -> Content:
    """Read it. `places`: the application's schema name → the name under which it stands here. All rows are read."""
    stands = {name: schema for schema, name in places.items()}
    tables = {}
    for each in relations(conn, list(stands)):
        if each.kind == "r":
            tables[f"{stands[each.schema]}.{each.name}"] = fingerprint(conn, f"{each.schema}.{each.name}")
    invalid = conn.execute(_INVALID, {"schemas": list(stands)}).fetchall()
    return Content(tables, frozenset(row[0] for row in invalid), schema_signature(conn, list(stands)))


def require_equal(expected: Content, found: Content) -> str:
    """A sentence of what was compared. BackupError where the copy is not what was expected."""
    wrong = [f"table {name} is missing" for name in sorted(expected.tables.keys() - found.tables.keys())]
    for name in sorted(expected.tables.keys() & found.tables.keys()):
        was, now = expected.tables[name], found.tables[name]
        if (was.rows, was.digest) != (now.rows, now.digest):
            wrong.append(f"{name} has {now.rows:,} rows where {was.rows:,} were dumped, or others")
    wrong += [f"{each} is not valid" for each in sorted(found.invalid - expected.invalid)]
    if expected.signature.server == found.signature.server:
        wrong += _differing(expected.signature, found.signature)
    _require(wrong)
    rows = sum(each.rows for each in found.tables.values())
    return f"{len(found.tables)} tables with {rows:,} rows have the fingerprints of the source"


def require_manifest(manifest: Manifest, found: Content) -> str:
    """Hold a copy against what was counted when our backup was made. BackupError where it differs."""
    wrong, counted = [], 0
    for name, record in manifest.tables.items():
        parts = [found.tables.get(f"{part.schema}.{part.name}") for part in record.parts]
        if None in parts:
            wrong.append(f"{name} is missing")
            continue
        rows = sum(part.rows for part in parts if part)
        whole = parts[0] if len(parts) == 1 else None
        same = record.digest is None or whole is None or whole.columns != record.columns
        if rows != record.rows or not (same or (whole and whole.digest == record.digest)):
            wrong.append(f"{name} has {rows:,} rows where the manifest says {record.rows:,}, or others")
        counted += 1
    _require(wrong)
    return f"{counted} critical tables are as the backup's manifest says"


def _differing(expected: SchemaSignature, found: SchemaSignature) -> list[str]:
    """Objects of the schemas. Extensions are the server's: the scratch one may have another version, or none."""
    was = {(each.kind, each.name): each.definition for each in expected.objects if each.kind != "extension"}
    now = {(each.kind, each.name): each.definition for each in found.objects}
    return [
        f"{kind} {name} is not as it was dumped"
        for kind, name in sorted(was)
        if now.get((kind, name)) != was[kind, name]
    ]


def _require(wrong: Sequence[str]) -> None:
    if wrong:
        more = f", and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise BackupError(
            f"The restored copy is not what was backed up: {'; '.join(wrong[:_TOLD])}{more}",
            state="production was not touched; the copy is dropped",
            next="use another backup",
        )
