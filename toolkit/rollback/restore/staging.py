"""The live database's rows, copied beside the restored ones into one database, where the merge can compare them.

Once while production serves, from one snapshot; then, while the live database is closed to everybody, what changed
since: rows by the transaction that wrote them, and deletions where the counts differ. Tables without a key are copied
anew then. A copy would lose which transaction wrote a row, and the merge goes by that. So the rows of a damaged table
are copied in groups, from the oldest to the newest: what was written before the damage, by it, after it; each in a
subtransaction, whose number stands for the damage's here.
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
    tables: Mapping[str, tuple["_Column", ...]]


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
        tables = {table: tuple(_columns(there, schema, table)) for table in _tables(there, schema)}
        for table, columns in tables.items():
            numbers = _copy(there, here, _Copied(schema, stands, table, columns), _hit(damage, schema, table))
            xids |= {(table, xid): number for xid, number in numbers.items()}
        staged.append(Staged(schema, stands, xids, tables))
    return staged


def horizon_of(there: Connection) -> str:
    """The number from which on a transaction may not be in the snapshot that is read from, as xmin shows it."""
    row = there.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text").fetchone()
    assert row is not None
    return str(row[0])


def stage_since(
    there: Connection, here: Connection, staged: Sequence[Staged], damage: Sequence[Damage], horizon: str
) -> list[Staged]:
    """Bring what was staged up to date: with the rows written since the horizon, and without those that are gone.

    Reads every row where it lies, and copies what changed.
    """
    return [_schema_since(there, here, each, damage, horizon) for each in staged]


def _schema_since(
    there: Connection, here: Connection, staged: Staged, damage: Sequence[Damage], horizon: str
) -> Staged:
    schema, xids = staged.schema, dict(staged.xids)
    tables = {table: tuple(_columns(there, schema, table)) for table in _tables(there, schema)}
    for table in [name for name in staged.tables if tables.get(name) != staged.tables[name]]:
        here.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(staged.stands, table)))
    for table, columns in tables.items():
        copied, hit = _Copied(schema, staged.stands, table, columns), _hit(damage, schema, table)
        known = staged.tables.get(table) == columns
        if known and any(each.key for each in columns) and not _since(there, hit, horizon):
            _catch_up(there, here, copied, horizon)
            continue
        if known:
            here.execute(sql.SQL("DROP TABLE {}").format(copied.target))
        xids |= {(table, xid): number for xid, number in _copy(there, here, copied, hit).items()}
    return Staged(schema, staged.stands, xids, tables)


def _hit(damage: Sequence[Damage], schema: str, table: str) -> set[str]:
    """The transactions of the damage to a table."""
    return {xid for each in damage if split_name(each.table) == (schema, table) for xid in each.xids}


def _since(conn: Connection, xids: Collection[str], horizon: str) -> bool:
    """Whether one of these transactions may have written since."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM unnest(%(xids)s::text[]) AS x WHERE age(x::xid) <= age(%(horizon)s::text::xid))",
        {"xids": list(xids), "horizon": horizon},
    ).fetchone()
    return row == (True,)


def _catch_up(there: Connection, here: Connection, copied: _Copied, horizon: str) -> None:
    """One table with a key, in which nothing that is staged by now was written by a damage that goes on."""
    keys = [each for each in copied.columns if each.key]
    newer = replace(copied, stands="pg_temp", table="toolkit_newer")
    _make(here, newer, copied.columns)
    _stream(there, here, copied, sql.SQL("age(xmin) <= age({}::xid)").format(sql.Literal(horizon)), into=newer)
    same = sql.SQL(" AND ").join(sql.SQL("s.{0} = n.{0}").format(sql.Identifier(each.name)) for each in keys)
    delete = sql.SQL("DELETE FROM {} AS s USING pg_temp.toolkit_newer AS n WHERE {}")
    here.execute(delete.format(copied.target, same))
    here.execute(sql.SQL("INSERT INTO {} SELECT * FROM pg_temp.toolkit_newer").format(copied.target))
    here.execute("DROP TABLE pg_temp.toolkit_newer")
    if _count(here, copied.target) == _count(there, copied.source):
        return
    left = replace(newer, table="toolkit_left", columns=tuple(keys))
    _make(here, left, keys)
    _stream(there, here, replace(copied, columns=tuple(keys)), sql.SQL("true"), into=left)
    gone = sql.SQL("DELETE FROM {} AS s WHERE NOT EXISTS (SELECT FROM pg_temp.toolkit_left AS n WHERE {})")
    here.execute("ANALYZE pg_temp.toolkit_left")
    here.execute(gone.format(copied.target, same))
    here.execute("DROP TABLE pg_temp.toolkit_left")


def _count(conn: Connection, table: sql.Identifier) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    assert row is not None
    return int(row[0])


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
    _make(here, copied, copied.columns)
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


def _make(here: Connection, copied: _Copied, columns: Sequence[_Column]) -> None:
    defined = sql.SQL(", ").join(
        sql.SQL("{} {}{}").format(
            sql.Identifier(each.name), _type(each.type), sql.SQL(" NOT NULL" if each.not_null else "")
        )
        for each in columns
    )
    here.execute(sql.SQL("CREATE TABLE {} ({})").format(copied.target, defined))


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


def _stream(
    there: Connection, here: Connection, copied: _Copied, group: sql.Composable, *, into: _Copied | None = None
) -> None:
    names = sql.SQL(", ").join(sql.Identifier(each.name) for each in copied.columns)
    source = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(names, copied.source, group)
    target = sql.SQL("COPY {} ({}) FROM STDIN").format((into or copied).target, names)
    there.execute("SET LOCAL row_security = off")
    with there.cursor().copy(source) as reading, here.cursor().copy(target) as writing:
        for block in reading:
            writing.write(block)


def _type(name: str) -> sql.Composable:
    """As format_type spells it, which is SQL already."""
    return sql.SQL(name)
