"""Fingerprints prove what did and did not change: of a table's content, and of a schema, object by object.

A content's fingerprint is a count and a sum of hashes over named columns: it does not depend on order, sees duplicates,
and can be taken before and after a column came or went. A schema's signature is an ordered listing from pg_catalog, so
that two of them can be compared in words. Both read only, as a role that row-level security does not restrict: where it
would, they raise instead of seeing fewer rows. Compare signatures within one major version of PostgreSQL.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import relation, split_name
from toolkit.errors import DatabaseError

OWN_SCHEMA = "toolkit"

# What text depends on. Row-level security off means: an error rather than a part of the rows.
_PINS = {
    "row_security": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}


@dataclass(frozen=True)
class TableFingerprint:
    """Of these columns of a table: how many rows, and the sum of their hashes as decimal digits."""

    table: str
    columns: tuple[str, ...]
    rows: int
    digest: str


def pin(conn: Connection) -> None:
    """Set, for this transaction, what the text of values depends on, and refuse to see only a part of the rows."""
    for name, value in _PINS.items():
        conn.execute("SELECT set_config(%(name)s, %(value)s, true)", {"name": name, "value": value})


def columns_of(conn: Connection, table: str) -> tuple[str, ...]:
    """The names of a table's columns, in order. DatabaseError when there is no such table."""
    return tuple(_hashing(conn, table))


def fingerprint(
    conn: Connection,
    table: str,
    columns: Sequence[str] | None = None,
    *,
    where: sql.Composable | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> TableFingerprint:
    """Count and hash the rows of a table, `table` or `schema.table`, by these columns (all of them without any).

    `where` restricts the rows; its parameters are named. Works in proportion to those rows. DatabaseError for columns
    that are not there.
    """
    chosen = tuple(columns) if columns is not None else columns_of(conn, table)
    query = sql.SQL("SELECT count(*), coalesce(sum({row}), 0)::text FROM {table} WHERE {where}").format(
        row=row_hash(conn, table, chosen), table=relation(table), where=where or sql.SQL("true")
    )
    pin(conn)
    row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return TableFingerprint(table, chosen, row[0], row[1])


def row_hash(conn: Connection, table: str, columns: Sequence[str]) -> sql.Composable:
    """An expression for the 64-bit hash of a row's columns.

    Types without a hash (json, xml), numeric, whose hash takes 1.0 and 1.00 for equal, and enums, whose hash is that of
    an OID and so another one on another server, are hashed as their text.
    """
    hashing = _hashing(conn, table)
    if missing := [name for name in columns if name not in hashing]:
        raise DatabaseError(f"Table {table} has no column {', '.join(missing)}")
    parts = [sql.SQL("{}" if hashing[name] else "{}::text").format(sql.Identifier(name)) for name in columns]
    return sql.SQL("hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(parts))


def _hashing(conn: Connection, table: str) -> dict[str, bool]:
    """Each column's name, and whether its type is hashed as it is, by looking through domains and arrays."""
    schema, name = split_name(table)
    rows = conn.execute(
        """
        SELECT attname::text,
               base.typname = 'varchar'
               OR (base.typname <> 'numeric' AND EXISTS (
                       SELECT FROM pg_opclass
                       JOIN pg_am ON pg_am.oid = opcmethod
                       WHERE amname = 'hash' AND opcdefault AND opcintype = base.oid))
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_type AS declared ON declared.oid = atttypid
        JOIN pg_type AS undomained ON undomained.oid = coalesce(nullif(declared.typbasetype, 0), declared.oid)
        JOIN pg_type AS base
            ON base.oid = CASE WHEN undomained.typcategory = 'A' THEN undomained.typelem ELSE undomained.oid END
        WHERE nspname = %(schema)s AND relname = %(table)s AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"schema": schema, "table": name},
    ).fetchall()
    if not rows:
        raise DatabaseError(f"There is no table {table}")
    return {str(column): bool(hashed) for column, hashed in rows}


@dataclass(frozen=True)
class SchemaObject:
    """One object: what it is, its name, the table that it belongs to, and all that defines it, as text."""

    kind: str
    name: str
    table: str | None
    definition: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class SchemaSignature:
    """Every object of some schemas, in order, and one digest of all of them. `server` is PostgreSQL's major version."""

    server: int
    objects: tuple[SchemaObject, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def of(self, *kinds: str) -> "SchemaSignature":
        """The objects of these kinds only."""
        return SchemaSignature(self.server, tuple(each for each in self.objects if each.kind in kinds))

    def to_json(self) -> dict[str, Any]:
        """{'server': 18, 'objects': [[kind, name, table, definition], …]}"""
        objects = [[each.kind, each.name, each.table, each.definition] for each in self.objects]
        return {"server": self.server, "objects": objects}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. KeyError or TypeError for anything else."""
        return cls(int(told["server"]), tuple(SchemaObject(*each) for each in told["objects"]))


def schema_signature(conn: Connection, schemas: Iterable[str]) -> SchemaSignature:
    """List every object of these schemas. The toolkit's own schema is never part of it, and no row of any table is."""
    wanted = [schema for schema in schemas if schema != OWN_SCHEMA]
    path = conn.execute("SELECT current_setting('search_path')").fetchone()
    assert path is not None
    conn.execute("SELECT set_config('search_path', 'pg_catalog', true)")
    query = files("toolkit.verify").joinpath("schema_signature.sql").read_bytes()
    rows = conn.execute(query, {"schemas": wanted}).fetchall()
    conn.execute("SELECT set_config('search_path', %(path)s, true)", {"path": path[0]})
    ordered = sorted((SchemaObject(*row) for row in rows), key=lambda each: (each.kind, each.name))
    return SchemaSignature(conn.info.server_version // 10000, tuple(ordered))


def difference(before: SchemaSignature, after: SchemaSignature) -> list[str]:
    """What is not in `after` as it was in `before`, an object a line; [] when nothing changed.

    A partition that was added, with all that belongs to it, is no difference: queues and calendars add them by
    themselves.
    """
    old = {(each.kind, each.name): each for each in before.objects}
    new = {(each.kind, each.name): each for each in after.objects}
    fresh = {each.name for each in after.of("table").objects if "partition of " in each.definition}
    fresh -= {each.name for each in before.objects if each.kind == "table"}
    lines = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is None and now is not None and not _of_any(now, fresh):
            lines.append(f"{now} is new{_told(now.definition)}")
        elif now is None and was is not None:
            lines.append(f"{was} is gone{_told(was.definition)}")
        elif was is not None and now is not None and was.definition != now.definition:
            lines.append(f"{now} changed: {_changed(was.definition, now.definition)}")
    return lines


def _of_any(each: SchemaObject, tables: set[str]) -> bool:
    """Whether an object belongs to one of these tables; owners and grants tell it in their names."""
    named = {f"table {table}" for table in tables}
    return each.table in tables or each.name in named or any(f" on {text} to " in each.name for text in named)


def _told(definition: str) -> str:
    return f" ({_short(definition)})" if definition else ""


def _changed(was: str, now: str) -> str:
    """Both texts from a little before the first place where they differ."""
    same = next((i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    start = max(0, same - 20) if max(len(was), len(now)) > 100 else 0
    return f"{_short(was[start:]) or 'nothing'} became {_short(now[start:]) or 'nothing'}"


def _short(text: str, most: int = 100) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
