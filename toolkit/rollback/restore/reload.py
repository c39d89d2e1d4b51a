"""Damaged tables put right in place: where neither schemas nor databases may change names, their rows do.

In one transaction: what was acknowledged since goes from the live tables into the copy beside (the merge), the live
rows of the damaged tables are kept aside, and then the live tables are made equal to the copy by key: surplus rows go,
others are changed, missing ones come. Rows of other tables that a foreign key would take along with the surplus are
kept aside too, and listed. Nothing else of a table changes: rights, triggers, keys of other schemas stay. The copy is
in nobody's place, so it goes in the same transaction.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import split_name
from toolkit.errors import DatabaseError, RollbackError
from toolkit.rollback.merge import hold_effects
from toolkit.rollback.merge.applying import identify, identify_no_more, unidentified
from toolkit.rollback.plan import SwapIn
from toolkit.rollback.relations import relations
from toolkit.rollback.restore.catalog import drop_named
from toolkit.rollback.restore.dragged import acting_keys, keep_dragged, lock_dragged, require_keyed
from toolkit.rollback.restore.names import damaged_name, restored_name
from toolkit.rollback.restore.records import Restored, Swapped, keep_swap
from toolkit.rollback.restore.swap_schemas import carry
from toolkit.rollback.steps.doing import Surroundings


@dataclass(frozen=True)
class Column:
    """A column that the live table and the copy share. `cast`: the copy's type is another of the same name."""

    name: str
    type: str
    cast: bool
    key: bool


@dataclass(frozen=True)
class Reloaded:
    """One table. `columns` without those that are generated; `key` is () where it has no primary key."""

    schema: str
    name: str
    columns: tuple[Column, ...]

    @property
    def key(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.key)


def reload_tables(conn: Connection, around: Surroundings, action: SwapIn, restored: Restored) -> Swapped:
    """All of it, in the caller's transaction. Raises RollbackError for a damaged table that the copy does not hold."""
    copies = {schema: restored_name(restored.mark, schema) for schema in restored.schemas}
    _lock(conn, restored.schemas)
    merged = carry(conn, around, action.damage, {schema: schema for schema in copies}, copies)
    tables = [_table(conn, schema, name, copies[schema]) for schema, name in _damaged(action, restored, conn)]
    for table in tables:
        _keep_aside(conn, table, damaged_name(restored.mark, table.schema))
    dragged = _keep_dragged(conn, around.incident.id, tables, restored, copies)
    with _without_triggers(conn, tables):
        for table in reversed(_parents_first(conn, tables)):
            _delete_surplus(conn, table, copies[table.schema])
        for table in _parents_first(conn, tables):
            _change(conn, table, copies[table.schema])
            _insert_missing(conn, table, copies[table.schema])
    reloaded = [f"{table.schema}.{table.name}" for table in tables]
    told: dict[str, object] = {"merged": merged.to_json(), "reloaded": reloaded, "dragged": dragged}
    told["held_jobs"] = hold_effects(conn, around.plan.held_queue)
    told["copy_left"] = _drop_copy(conn, around, restored.mark)
    swapped = Swapped(restored.mark, restored.source, "reload", "done", restored.schemas, {}, told)
    keep_swap(conn, swapped)
    return swapped


def _drop_copy(conn: Connection, around: Surroundings, mark: str) -> str:
    """Drop the copy; why it stays, or ''. A key of it to another schema's table needs that table's lock, and who holds
    that is no reason to put no row back."""
    try:
        with around.systems.database.question(conn):
            drop_named(conn, restored_name(mark))
    except DatabaseError as error:
        return error.what
    return ""


def _damaged(action: SwapIn, restored: Restored, conn: Connection) -> list[tuple[str, str]]:
    """The tables that the damage names; without any, every table of the copy that is not the toolkit's."""
    named = sorted({split_name(each.table) for each in action.damage})
    if named:
        return named
    return [(each.schema, each.name) for each in relations(conn, restored.schemas) if each.kind == "r"]


def _lock(conn: Connection, schemas: Sequence[str]) -> None:
    """Nobody writes meanwhile; reading goes on."""
    tables = [each.identifier for each in relations(conn, schemas) if each.kind in ("r", "p")]
    names = sql.SQL(", ").join(tables)
    conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))


def _table(conn: Connection, schema: str, name: str, copy: str) -> Reloaded:
    rows = conn.execute(
        """
        SELECT live.attname::text, format_type(live.atttypid, live.atttypmod), live.atttypid <> there.atttypid,
               coalesce(live.attnum = ANY (indkey::int2[]), false)
        FROM pg_attribute AS live
        JOIN pg_class ON pg_class.oid = live.attrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_namespace AS beside ON beside.nspname = %(copy)s
        JOIN pg_class AS copied ON copied.relnamespace = beside.oid AND copied.relname = pg_class.relname
        JOIN pg_attribute AS there ON there.attrelid = copied.oid AND there.attname = live.attname
        LEFT JOIN pg_index ON indrelid = pg_class.oid AND indisprimary
        WHERE pg_namespace.nspname = %(schema)s AND pg_class.relname = %(name)s
          AND live.attnum > 0 AND NOT live.attisdropped AND NOT there.attisdropped AND live.attgenerated = ''
        ORDER BY live.attnum
        """,
        {"schema": schema, "name": name, "copy": copy},
    ).fetchall()
    if not rows:
        raise RollbackError(
            f"The backup does not hold the table {schema}.{name}, or nothing of it that is still there",
            state="nothing was changed",
            next="name other damage, or another backup",
        )
    return Reloaded(schema, name, tuple(Column(*row) for row in rows))


def _keep_aside(conn: Connection, table: Reloaded, aside: str) -> None:
    """The damaged rows as they are, in a schema that only we can enter."""
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(aside)))
    conn.execute(
        sql.SQL("CREATE TABLE {} AS TABLE {}").format(
            sql.Identifier(aside, table.name), sql.Identifier(table.schema, table.name)
        )
    )


def _keep_dragged(
    conn: Connection, incident: str, tables: Sequence[Reloaded], restored: Restored, copies: Mapping[str, str]
) -> dict[str, int]:
    """What would go along with the surplus rows, of tables that are not reloaded themselves. Rows by table."""
    reloaded = {(table.schema, table.name): table for table in tables}
    keys = acting_keys(conn, list(reloaded))
    lock_dragged(conn, keys)
    require_keyed(keys, [name for name, table in reloaded.items() if not table.key])
    surplus = {
        name: sql.SQL("SELECT l.tableoid, l.ctid FROM {live} AS l WHERE {which}").format(
            live=sql.Identifier(*name), which=_is_surplus(table, copies[table.schema])
        )
        for name, table in reloaded.items()
    }
    aside = {key.child: damaged_name(restored.mark, key.child[0]) for key in keys if key.child not in reloaded}
    return keep_dragged(conn, keys, surplus, aside, incident)


def _is_surplus(table: Reloaded, copy: str) -> sql.Composable:
    if not table.key:
        return sql.SQL("true")
    query = sql.SQL("NOT EXISTS (SELECT FROM {copy} AS c WHERE {same})")
    return query.format(copy=sql.Identifier(copy, table.name), same=_same_key(table))


def _delete_surplus(conn: Connection, table: Reloaded, copy: str) -> None:
    query = sql.SQL("DELETE FROM {} AS l WHERE {}")
    conn.execute(query.format(sql.Identifier(table.schema, table.name), _is_surplus(table, copy)))


def _change(conn: Connection, table: Reloaded, copy: str) -> None:
    values = [column for column in table.columns if not column.key]
    if not table.key or not values:
        return
    query = sql.SQL("""
        UPDATE {live} AS l
        SET {values}
        FROM {copy} AS c
        WHERE {same} AND ({ours})::text IS DISTINCT FROM ({theirs})::text
    """)
    comma = sql.SQL(", ")
    conn.execute(
        query.format(
            **_parts(table, copy),
            values=comma.join(sql.SQL("{} = {}").format(sql.Identifier(each.name), _value(each)) for each in values),
            same=_same_key(table),
            ours=sql.SQL("ROW({})").format(comma.join(sql.Identifier("l", each.name) for each in values)),
            theirs=sql.SQL("ROW({})").format(comma.join(sql.Identifier("c", each.name) for each in values)),
        )
    )


def _insert_missing(conn: Connection, table: Reloaded, copy: str) -> None:
    comma = sql.SQL(", ")
    missing = sql.SQL("NOT EXISTS (SELECT FROM {live} AS l WHERE {same})").format(
        live=sql.Identifier(table.schema, table.name), same=_same_key(table)
    )
    query = sql.SQL(
        "INSERT INTO {live} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {copy} AS c WHERE {which}"
    )
    conn.execute(
        query.format(
            **_parts(table, copy),
            names=comma.join(sql.Identifier(each.name) for each in table.columns),
            values=comma.join(_value(each) for each in table.columns),
            which=missing if table.key else sql.SQL("true"),
        )
    )


def _parts(table: Reloaded, copy: str) -> dict[str, sql.Composable]:
    return {"live": sql.Identifier(table.schema, table.name), "copy": sql.Identifier(copy, table.name)}


def _same_key(table: Reloaded) -> sql.Composable:
    pairs = (sql.SQL("l.{} = {}").format(sql.Identifier(each.name), _value(each)) for each in table.key)
    return sql.SQL(" AND ").join(pairs)


def _value(column: Column) -> sql.Composable:
    """The copy's value as the live column has it: enums of the copy are types of their own."""
    plain = sql.Identifier("c", column.name)
    if not column.cast:
        return plain
    return sql.SQL("{}::text::{}").format(plain, sql.SQL(column.type))


@contextmanager
def _without_triggers(conn: Connection, tables: Sequence[Reloaded]) -> Iterator[None]:
    """Within it the application's triggers do not fire: what they did is in the rows already. A published table without
    a replica identity has one."""
    names = {(table.schema, table.name) for table in tables}
    bare = [each for each in unidentified(conn, sorted({schema for schema, _ in names})) if each[0] in names]
    identify(conn, bare)
    fired = [(table, name) for table in tables for name in _triggers(conn, table)]
    for table, name in fired:
        statement = sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}")
        conn.execute(statement.format(sql.Identifier(table.schema, table.name), sql.Identifier(name)))
    conn.execute("SET CONSTRAINTS ALL DEFERRED")
    yield
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table, name in fired:
        statement = sql.SQL("ALTER TABLE {} ENABLE TRIGGER {}")
        conn.execute(statement.format(sql.Identifier(table.schema, table.name), sql.Identifier(name)))
    identify_no_more(conn, bare)


def _triggers(conn: Connection, table: Reloaded) -> list[str]:
    rows = conn.execute(
        """
        SELECT tgname
        FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = %(name)s AND NOT tgisinternal AND tgenabled = 'O'
        ORDER BY 1
        """,
        {"schema": table.schema, "name": table.name},
    ).fetchall()
    return [row[0] for row in rows]


def _parents_first(conn: Connection, tables: Sequence[Reloaded]) -> list[Reloaded]:
    """Tables before those that reference them, so that no key is missing on the way."""
    by_name = {(table.schema, table.name): table for table in tables}
    rows = conn.execute(
        """
        SELECT here.nspname, child.relname, there.nspname, parent.relname
        FROM pg_constraint
        JOIN pg_class AS child ON child.oid = conrelid
        JOIN pg_namespace AS here ON here.oid = child.relnamespace
        JOIN pg_class AS parent ON parent.oid = confrelid
        JOIN pg_namespace AS there ON there.oid = parent.relnamespace
        WHERE contype = 'f' AND conrelid <> confrelid
        """
    ).fetchall()
    parents = {
        name: {(row[2], row[3]) for row in rows if (row[0], row[1]) == name} & by_name.keys() for name in by_name
    }
    ordered: list[tuple[str, str]] = []
    while len(ordered) < len(by_name):
        free = sorted(name for name in by_name if name not in ordered and parents[name] <= set(ordered))
        ordered += free or [sorted(set(by_name) - set(ordered))[0]]
    return [by_name[name] for name in ordered]
