"""The live database's rows, copied beside the restored ones into one database, where the merge can compare them.

While the live database is closed to everybody: what is copied cannot change. A copy would lose which transaction wrote
a row, and the merge goes by that. So the rows of a damaged table are copied in groups, from the oldest to the newest:
what was written before the damage, by it, after it; each in a subtransaction, whose number stands for the damage's
here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import split_name
from toolkit.rollback.damage import Damage
from toolkit.rollback.restore.names import damaged_name
from toolkit.rollback.restore.records import Restored


@dataclass(frozen=True)
class Staged:
    """A schema of the live database, where its rows stand now, and by which number a transaction goes in a table."""

    schema: str
    stands: str
    xids: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class _Column:
    name: str
    type: str
    key: bool
    not_null: bool


@dataclass(frozen=True)
class _Copied:
    """A table of the live database, and where it goes."""

    schema: str
    stands: str
    table: str
    columns: tuple[_Column, ...]

    @property
    def source(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)

    @property
    def target(self) -> sql.Identifier:
        return sql.Identifier(self.stands, self.table)


def stage(there: Connection, here: Connection, restored: Restored, damage: Sequence[Damage]) -> list[Staged]:
    """Copy every table of the restored schemas. Works in proportion to the rows."""
    staged = []
    for schema in restored.schemas:
        stands = damaged_name(restored.mark, schema)
        xids: dict[tuple[str, str], str] = {}
        here.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(stands)))
        here.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(stands)))
        for table in _tables(there, schema):
            hit = {xid for each in damage if split_name(each.table) == (schema, table) for xid in each.xids}
            numbers = _copy(there, here, _Copied(schema, stands, table, tuple(_columns(there, schema, table))), hit)
            xids |= {(table, xid): number for xid, number in numbers.items()}
        staged.append(Staged(schema, stands, xids))
    return staged


def staged_damage(damage: Sequence[Damage], staged: Sequence[Staged]) -> list[Damage]:
    """The damage as it is told of the staged rows."""
    told = []
    for each in damage:
        schema, table = split_name(each.table)
        numbers = next((one.xids for one in staged if one.schema == schema), {})
        told.append(replace(each, xids=tuple(numbers[table, xid] for xid in each.xids if (table, xid) in numbers)))
    return told


def _tables(conn: Connection, schema: str) -> list[str]:
    """Tables and partitioned ones; a partition's rows come with its root's."""
    rows = conn.execute(
        """
        SELECT relname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relkind IN ('r', 'p') AND NOT relispartition
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
        ORDER BY 1
        """,
        {"schema": schema},
    ).fetchall()
    return [row[0] for row in rows]


def _columns(conn: Connection, schema: str, table: str) -> list[_Column]:
    """The server's own types as they are; others (enums, domains, an extension's) as text."""
    rows = conn.execute(
        """
        SELECT attname::text,
               CASE WHEN typnamespace = 'pg_catalog'::regnamespace
                    THEN format_type(atttypid, atttypmod) ELSE 'text' END,
               coalesce(attnum = ANY (indkey::int2[]), false), attnotnull
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
        WHERE nspname = %(schema)s AND relname = %(table)s AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"schema": schema, "table": table},
    ).fetchall()
    return [_Column(*row) for row in rows]


def _copy(there: Connection, here: Connection, copied: _Copied, hit: Collection[str]) -> dict[str, str]:
    """One table, group after group. The numbers that stand for the transactions of the damage."""
    comma = sql.SQL(", ")
    defined = comma.join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(each.name), _type(each.type), sql.SQL(" NOT NULL" if each.not_null else "")
        )
        for each in copied.columns
    )
    here.execute(sql.SQL("CREATE TABLE {} ({})").format(copied.target, defined))
    numbers: dict[str, str] = {}
    for xid, group in _groups(_by_age(there, hit)):
        with here.transaction():  # a subtransaction: its number is the xmin of what it writes
            number = _own_number(here, copied.stands)
            _stream(there, here, copied, group)
        if xid is not None:
            numbers[xid] = number
    if key := [sql.Identifier(each.name) for each in copied.columns if each.key]:
        here.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(copied.target, comma.join(key)))
    here.execute(sql.SQL("ANALYZE {}").format(copied.target))
    return numbers


def _by_age(conn: Connection, xids: Collection[str]) -> list[str]:
    """The oldest first."""
    rows = conn.execute("SELECT x FROM unnest(%(xids)s::text[]) AS x ORDER BY age(x::xid) DESC", {"xids": list(xids)})
    return [row[0] for row in rows]


def _groups(xids: Sequence[str]) -> list[tuple[str | None, sql.Composable]]:
    """Which rows are copied one after the other: those of a transaction, by its number, and those in between."""
    if not xids:
        return [(None, sql.SQL("true"))]
    groups: list[tuple[str | None, sql.Composable]] = []
    older: sql.Composable = sql.SQL("true")
    for xid in xids:
        this = sql.SQL("{}::xid").format(sql.Literal(xid))
        groups.append((None, sql.SQL("{} AND age(xmin) > age({})").format(older, this)))
        groups.append((xid, sql.SQL("xmin = {}").format(this)))
        older = sql.SQL("age(xmin) < age({})").format(this)
    return [*groups, (None, older)]


def _own_number(conn: Connection, schema: str) -> str:
    """The number of the subtransaction, which it has from its first write on."""
    marker = sql.Identifier(schema, "toolkit_number")
    conn.execute(sql.SQL("CREATE TABLE {} ()").format(marker))
    row = conn.execute(
        "SELECT xmin::text FROM pg_class WHERE oid = %(name)s::regclass", {"name": marker.as_string(conn)}
    ).fetchone()
    conn.execute(sql.SQL("DROP TABLE {}").format(marker))
    assert row is not None
    return str(row[0])


def _stream(there: Connection, here: Connection, copied: _Copied, group: sql.Composable) -> None:
    names = sql.SQL(", ").join(sql.Identifier(each.name) for each in copied.columns)
    source = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(names, copied.source, group)
    target = sql.SQL("COPY {} ({}) FROM STDIN").format(copied.target, names)
    there.execute("SET LOCAL row_security = off")
    with there.cursor().copy(source) as reading, here.cursor().copy(target) as writing:
        for block in reading:
            writing.write(block)


def _type(name: str) -> sql.Composable:
    """As format_type spells it, which is SQL already."""
    return sql.SQL(name)
