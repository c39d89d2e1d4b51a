"""The tables of a database at one moment, by what a rollback can take from them: columns, keys, files, writes.

Read from the catalog in the caller's transaction. Two pictures of one transaction, before and after a down, tell what
vanished and which tables were written, whatever code did it: object ids and column numbers outlive renaming, and the
server counts a transaction's writes for each table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.adapters.postgres import Connection, sql

SALVAGE_PREFIX = "salvage_"


@dataclass(frozen=True)
class Column:
    """`number` is its pg_attribute.attnum; `type` is written with its schema. `kind` tells one type from another of the
    same name. `foreign_type`: not the server's own, so it may be dropped or changed under a copy."""

    number: int
    name: str
    type: str
    kind: str
    foreign_type: bool
    generated: bool
    identity: str


@dataclass(frozen=True)
class Shape:
    """A table. `root` is the partitioned table that it is a part of, or itself. `keys`: unique and never null, the
    primary one first, as column numbers. `file` is its file's number, which a TRUNCATE or a rewrite changes."""

    oid: int
    schema: str
    name: str
    kind: str
    root: int
    file: int
    size: int
    forced_security: bool
    columns: Mapping[int, Column]
    keys: tuple[tuple[int, ...], ...]

    @property
    def stored(self) -> dict[int, Column]:
        """The columns that hold what cannot be computed again."""
        return {number: column for number, column in self.columns.items() if not column.generated}

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Writes:
    """Rows that this transaction has written in a table so far."""

    inserted: int
    changed: int  # updated or deleted


@dataclass(frozen=True)
class Picture:
    """Tables by their object id; sequences by theirs, with the schema, the name and the last value (None: not used)."""

    shapes: Mapping[int, Shape]
    writes: Mapping[int, Writes]
    sequences: Mapping[int, tuple[str, str, int | None]] = field(default_factory=dict)

    def parts(self, root: int) -> list[Shape]:
        """The tables that store a table's rows."""
        return [each for each in self.shapes.values() if each.root == root and each.kind == "r"]

    def changed(self, root: int) -> int:
        """Rows of a table, its partitions included, that this transaction has updated or deleted."""
        return sum(self.writes[each.oid].changed for each in self.parts(root) if each.oid in self.writes)


_TABLES = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
       CASE WHEN c.relispartition THEN coalesce(pg_partition_root(c.oid)::oid, c.oid) ELSE c.oid END::bigint,
       coalesce(pg_relation_filenode(c.oid), 0)::bigint, coalesce(pg_relation_size(c.oid), 0),
       c.relforcerowsecurity
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND n.nspname NOT LIKE 'pg\\_%'
  AND n.nspname NOT LIKE 'salvage\\_%'
  AND n.nspname NOT IN ('information_schema', 'toolkit')
"""
_COLUMNS = """
SELECT a.attrelid::bigint, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod),
       format('%s %s', a.atttypid, a.atttypmod), tn.nspname <> 'pg_catalog', a.attgenerated <> '', a.attidentity::text
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_namespace tn ON tn.oid = t.typnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384
ORDER BY a.attrelid, a.attnum
"""
_KEYS = """
SELECT i.indrelid::bigint, (i.indkey::int2[])[0:i.indnkeyatts - 1]
FROM pg_index i
WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND i.indrelid >= 16384
  AND NOT EXISTS (
      SELECT FROM pg_attribute a
      WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) AND NOT a.attnotnull)
ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid
"""
_WRITES = """
SELECT c.oid::bigint, pg_stat_get_xact_tuples_inserted(c.oid),
       pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
FROM pg_class c
WHERE c.relkind = 'r' AND c.oid >= 16384
"""
_SEQUENCES = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text,
       CASE WHEN has_sequence_privilege(c.oid, 'USAGE, SELECT') THEN pg_sequence_last_value(c.oid) END
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'toolkit'
"""


def picture(conn: Connection) -> Picture:
    """All tables of the database but the server's, the toolkit's and what was salvaged. Work in proportion to the
    number of tables and columns, not of rows."""
    path = conn.execute("SELECT current_setting('search_path')").fetchone()
    assert path is not None
    conn.execute("SELECT set_config('search_path', 'pg_catalog', true)")
    columns: dict[int, dict[int, Column]] = {}
    for oid, *column in conn.execute(_COLUMNS):
        columns.setdefault(oid, {})[column[0]] = Column(*column)
    keys: dict[int, list[tuple[int, ...]]] = {}
    for oid, numbers in conn.execute(_KEYS):
        keys.setdefault(oid, []).append(tuple(numbers))
    shapes = {}
    for oid, schema, name, kind, root, file, size, forced in conn.execute(_TABLES):
        own = columns.get(oid, {}), tuple(keys.get(oid, ()))
        shapes[oid] = Shape(oid, schema, name, kind, root, file, size, forced, *own)
    sequences = {oid: (schema, name, last) for oid, schema, name, last in conn.execute(_SEQUENCES)}
    conn.execute("SELECT set_config('search_path', %(path)s, true)", {"path": path[0]})
    return Picture(shapes, writes(conn), sequences)


def writes(conn: Connection) -> dict[int, Writes]:
    """What this transaction has written so far, by table."""
    return {oid: Writes(inserted, changed) for oid, inserted, changed in conn.execute(_WRITES)}
