"""The tables that the damaged and the restored side have in common, column by column, with what identifies a row.

Read from the catalogs of one database in which both sides stand. It changes nothing and reads no row, except to see
whether columns that the configuration calls a key are one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import split_name
from toolkit.adapters.state_tables import find_state_tables
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge.config import MergeConfig


@dataclass(frozen=True)
class Column:
    """A column of the restored table that the damaged one has too.

    `type` is the restored one's, as SQL. `same`: the damaged one's is the same. `plain`: values of it can be hashed as
    they are. `enum`: labels that the other side may not know. `identity` is pg_attribute.attidentity.
    """

    name: str
    type: str
    same: bool
    plain: bool
    enum: bool
    not_null: bool
    identity: str
    collate_c: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    def comparable(self, side: str) -> sql.Composable:
        """The value on a side (`d` or `r`) in a form whose hash is the same for the same value on both."""
        form = "{}.{}" if self.plain and self.same else "{}.{}::text"
        collated = sql.SQL(form + (' COLLATE "C"' if self.collate_c else ""))
        return collated.format(sql.Identifier(side), self.identifier)


@dataclass(frozen=True)
class Table:
    """A table on both sides. `name` is `schema.table` as the application has it; `key` is () where there is none.

    `only_restored` are columns that the damaged one lacks, `wanted` those of them that a new row must have and nobody
    knows. `generated` are the restored one's generated columns with their expressions.
    """

    name: str
    damaged: sql.Composable
    restored: sql.Composable
    into: sql.Identifier
    restored_oid: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    only_damaged: tuple[str, ...]
    only_restored: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    generated: tuple[tuple[str, str], ...] = ()
    damage: tuple[Damage, ...] = ()
    number: int = 0
    identities: tuple[int, int] = field(default=(0, 0))

    @cached_property
    def named(self) -> Mapping[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def keys(self) -> tuple[Column, ...]:
        return tuple(self.named[name] for name in self.key)

    @property
    def values(self) -> tuple[Column, ...]:
        """The columns that are no part of the key."""
        return tuple(column for column in self.columns if column.name not in self.key)

    @property
    def pairs(self) -> sql.Composable:
        """The temporary table of the keys that differ."""
        return sql.Identifier("pg_temp", f"toolkit_merge_{self.number}_pairs")

    @property
    def merging(self) -> sql.Composable:
        """The temporary table of the rows to change: id, kind, c0 … (the columns), reasons, refused, key."""
        return sql.Identifier("pg_temp", f"toolkit_merge_{self.number}")

    def slot(self, column: Column) -> sql.Identifier:
        """The name of a column in that table."""
        return sql.Identifier(f"c{self.columns.index(column)}")

    @property
    def identity(self) -> tuple[tuple[sql.Identifier, sql.Identifier], ...]:
        """What identifies a restored row: in `merging`, and in the table. Without a key it is where the row lies."""
        if not self.key:
            return (
                (sql.Identifier("lies"), sql.Identifier("ctid")),
                (sql.Identifier("part"), sql.Identifier("tableoid")),
            )
        return tuple((self.slot(column), column.identifier) for column in self.keys)

    def same_key(self, merging: str, rows: str) -> sql.Composable:
        """That a row of that table and a row of the restored table are the same one."""
        parts = [
            sql.SQL("{}.{} = {}.{}").format(sql.Identifier(merging), ours, sql.Identifier(rows), theirs)
            for ours, theirs in self.identity
        ]
        return sql.SQL("({})").format(sql.SQL(" AND ").join(parts))

    @property
    def short(self) -> str:
        return split_name(self.name)[1]


@dataclass(frozen=True)
class Pairing:
    """What the two sides have in common, and what only one has (`schema.table`)."""

    tables: tuple[Table, ...]
    only_damaged: tuple[tuple[str, sql.Composable], ...]
    only_restored: tuple[str, ...]


def pair_tables(
    conn: Connection,
    damaged: Mapping[str, str],
    restored: Mapping[str, str],
    damage: Sequence[Damage],
    config: MergeConfig,
) -> Pairing:
    """Tables and partitioned roots of the application's schemas, in order of their names."""
    there = _tables_of(conn, damaged)
    here = _tables_of(conn, restored)
    tables = []
    excluded = set(config.excluded) or _state_tables(conn, damaged)
    for number, name in enumerate(sorted(set(there) & set(here) - excluded), start=1):
        hits = tuple(each for each in damage if ".".join(split_name(each.table)) == name)
        tables.append(_pair(conn, name, there[name], here[name], hits, config, number))
    lost = sorted(set(there) - set(here))
    return Pairing(
        tuple(tables), tuple((name, there[name].rows) for name in lost), tuple(sorted(set(here) - set(there)))
    )


def _state_tables(conn: Connection, schemas: Mapping[str, str]) -> set[str]:
    """What looks like a migration tool's, by the application's name of its schema."""
    found = {(each.schema, each.table) for each in find_state_tables(conn)}
    return {f"{name}.{table}" for name, stands in schemas.items() for schema, table in found if schema == stands}


@dataclass(frozen=True)
class _Found:
    oid: int
    name: sql.Identifier
    partitioned: bool

    @property
    def rows(self) -> sql.Composable:
        """To read it: without the tables that inherit from it, which are tables of their own."""
        return sql.SQL("{}" if self.partitioned else "ONLY {}").format(self.name)


def _tables_of(conn: Connection, schemas: Mapping[str, str]) -> dict[str, _Found]:
    rows = conn.execute(
        """
        SELECT nspname, relname, relkind::text, pg_class.oid
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s)
          AND relkind IN ('r', 'p')
          AND NOT relispartition
          AND NOT EXISTS (
              SELECT
              FROM pg_depend
              WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
          )
        """,
        {"schemas": list(schemas.values())},
    ).fetchall()
    application = {stands: name for name, stands in schemas.items()}
    return {
        f"{application[schema]}.{table}": _Found(oid, sql.Identifier(schema, table), kind == "p")
        for schema, table, kind, oid in rows
    }


def _pair(
    conn: Connection,
    name: str,
    there: _Found,
    here: _Found,
    damage: tuple[Damage, ...],
    config: MergeConfig,
    number: int,
) -> Table:
    ours, theirs = _columns_of(conn, here.oid), _columns_of(conn, there.oid)
    stored = {column: told for column, told in ours.items() if not told.generated}
    columns = tuple(_column(told, theirs[column]) for column, told in stored.items() if column in theirs)
    alone = tuple(column for column in stored if column not in theirs)
    pair = Table(
        name,
        there.rows,
        here.rows,
        here.name,
        here.oid,
        columns,
        (),
        tuple(column for column in theirs if column not in ours),
        alone,
        tuple(column for column in alone if stored[column].not_null and not stored[column].filled),
        tuple((column, told.expression) for column, told in ours.items() if told.generated),
        damage,
        number,
        (there.oid, here.oid),
    )
    key = _key_of(conn, pair, (config.keys or {}).get(name, ()))
    return replace(pair, key=key)


@dataclass(frozen=True)
class _Attribute:
    name: str
    type_oid: int
    typmod: int
    type: str
    plain: bool
    enum: bool
    not_null: bool
    identity: str
    generated: bool
    collate_c: bool
    filled: bool
    expression: str


def _columns_of(conn: Connection, oid: int) -> dict[str, _Attribute]:
    rows = conn.execute(
        """
        SELECT attname::text,
               atttypid,
               atttypmod,
               format_type(atttypid, atttypmod),
               typnamespace = 'pg_catalog'::regnamespace
               AND base.oid <> 'numeric'::regtype
               AND (base.oid = 'varchar'::regtype OR EXISTS (
                        SELECT FROM pg_opclass
                        JOIN pg_am ON pg_am.oid = opcmethod
                        WHERE amname = 'hash' AND opcdefault AND opcintype = base.oid)),
               declared.typtype = 'e',
               attnotnull,
               attidentity::text,
               attgenerated <> '',
               coalesce(NOT collisdeterministic, false),
               atthasdef OR attidentity <> '',
               CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) ELSE '' END
        FROM pg_attribute
        JOIN pg_type AS declared ON declared.oid = atttypid
        JOIN LATERAL (
            SELECT CASE WHEN declared.typcategory = 'A' AND declared.typelem <> 0
                        THEN declared.typelem ELSE declared.oid END AS oid
        ) AS base ON true
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"oid": oid},
    ).fetchall()
    return {row[0]: _Attribute(*row) for row in rows}


def _column(ours: _Attribute, theirs: _Attribute) -> Column:
    same = (ours.type_oid, ours.typmod) == (theirs.type_oid, theirs.typmod)
    return Column(
        ours.name,
        ours.type,
        same,
        ours.plain and theirs.plain,
        ours.enum,
        ours.not_null,
        ours.identity,
        ours.collate_c or theirs.collate_c,
    )


def _key_of(conn: Connection, table: Table, named: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that identify a row on both sides and that no damage has overwritten; () where there are none."""
    hit = {name for each in table.damage if each.verb == "overwritten" for name in each.columns}
    there, here = (_unique_columns(conn, oid) for oid in table.identities)
    for columns in here:
        if columns in there and set(columns) <= set(table.named) and not hit & set(columns):
            return columns
    usable = named and set(named) <= set(table.named) and not hit & set(named)
    if usable and all(_identifies(conn, side, named) for side in (table.damaged, table.restored)):
        return named
    return ()


def _unique_columns(conn: Connection, oid: int) -> list[tuple[str, ...]]:
    """Columns of the primary key and of unique indexes over columns that are never null, the primary key first."""
    rows = conn.execute(
        """
        SELECT array_agg(attname::text ORDER BY attname::text)
        FROM pg_index
        CROSS JOIN LATERAL unnest(indkey::int2[]) WITH ORDINALITY AS part (number, position)
        JOIN pg_attribute ON attrelid = indrelid AND attnum = number
        WHERE indrelid = %(oid)s
          AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
          AND position <= indnkeyatts
        GROUP BY indexrelid, indisprimary, indnkeyatts
        HAVING bool_and(attnotnull)
        ORDER BY NOT indisprimary, indnkeyatts, indexrelid
        """,
        {"oid": oid},
    ).fetchall()
    return [tuple(row[0]) for row in rows]


def _identifies(conn: Connection, table: sql.Composable, columns: tuple[str, ...]) -> bool:
    names = [sql.Identifier(name) for name in columns]
    query = sql.SQL("""
        SELECT NOT EXISTS (SELECT FROM {table} WHERE num_nulls({columns}) > 0)
           AND NOT EXISTS (SELECT FROM {table} GROUP BY {columns} HAVING count(*) > 1)
    """).format(table=table, columns=sql.SQL(", ").join(names))
    return conn.execute(query).fetchone() == (True,)
