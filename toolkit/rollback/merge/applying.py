"""Writing what a merge found into the restored tables: deletions, changes in turns, insertions; nothing fires twice.

Inside the caller's transaction, on tables that nobody else sees yet. User triggers are off meanwhile, foreign keys are
looked at in the end, and a published table without a replica identity has one; all of it one by one, and given back
exactly as it was.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.tables import Table

_ENABLE = {"O": sql.SQL("ENABLE"), "A": sql.SQL("ENABLE ALWAYS"), "R": sql.SQL("ENABLE REPLICA")}


@contextmanager
def undisturbed(conn: Connection, schemas: Sequence[str]) -> Iterator[None]:
    """Within it no user trigger of these schemas fires; foreign keys among them wait and are checked at its end. Every
    table can be changed and deleted from, published or not."""
    triggers, keys, bare = _triggers(conn, schemas), _keys_at_once(conn, schemas), unidentified(conn, schemas)
    identify(conn, bare)
    for table, name, _ in triggers:
        conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(table, sql.Identifier(name)))
    for table, key in keys:
        conn.execute(sql.SQL("ALTER TABLE {} ALTER CONSTRAINT {} DEFERRABLE INITIALLY DEFERRED").format(table, key))
    yield
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table, key in keys:
        conn.execute(sql.SQL("ALTER TABLE {} ALTER CONSTRAINT {} NOT DEFERRABLE").format(table, key))
    for table, name, state in triggers:
        enable = sql.SQL("ALTER TABLE {} {} TRIGGER {}")
        conn.execute(enable.format(table, _ENABLE[state], sql.Identifier(name)))
    identify_no_more(conn, bare)


def unidentified(conn: Connection, schemas: Sequence[str]) -> list[tuple[tuple[str, str], bool]]:
    """Tables of these schemas that have no replica identity, while something publishes changes or deletions: from such
    a table the server refuses to delete even no row. And whether it is so by default, or because somebody said so."""
    rows = conn.execute(
        """
        SELECT nspname, relname, relreplident = 'd'
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s) AND relkind = 'r' AND relpersistence = 'p'
          AND relreplident <> 'f'
          AND NOT EXISTS (
              SELECT FROM pg_index
              WHERE indrelid = pg_class.oid AND indisvalid
                AND (relreplident = 'd' AND indisprimary OR relreplident = 'i' AND indisreplident))
          AND EXISTS (SELECT FROM pg_publication WHERE pubupdate OR pubdelete)
        ORDER BY 1, 2
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [((schema, table), default) for schema, table, default in rows]


def identify(conn: Connection, bare: Sequence[tuple[tuple[str, str], bool]]) -> None:
    """Let the whole row identify it."""
    for table, _ in bare:
        conn.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(sql.Identifier(*table)))


def identify_no_more(conn: Connection, bare: Sequence[tuple[tuple[str, str], bool]]) -> None:
    """The inverse."""
    for table, default in bare:
        was = sql.SQL("DEFAULT" if default else "NOTHING")
        conn.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(sql.Identifier(*table), was))


@contextmanager
def unrestricted(conn: Connection, schemas: Sequence[str]) -> Iterator[None]:
    """Within it row-level security that is forced upon the owner is not; a part of the rows is never taken for all."""
    forced = forced_security(conn, schemas)
    for table in forced:
        conn.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(table))
    yield
    for table in forced:
        conn.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table))


def delete_gone(conn: Connection, table: Table) -> int:
    """Delete the rows that were deleted since the backup. How many."""
    query = sql.SQL(
        "DELETE FROM {rows} AS r USING {merging} AS m WHERE m.kind = 'gone' AND m.refused IS NULL AND {same}"
    )
    return conn.execute(
        query.format(rows=table.restored, merging=table.merging, same=table.same_key("m", "r"))
    ).rowcount


def change_rows(conn: Connection, table: Table) -> int:
    """Change the rows that were changed since, one turn after the other. How many."""
    columns = [column for column in table.values if column.identity != "a"]
    if not columns:
        return 0
    row = conn.execute(
        sql.SQL("SELECT max(turn) FROM {} WHERE kind = 'both' AND refused IS NULL").format(table.merging)
    ).fetchone()
    turns = row[0] if row else None
    query = sql.SQL("""
        UPDATE {rows} AS r
        SET {values}
        FROM {merging} AS m
        WHERE m.kind = 'both' AND m.refused IS NULL AND m.turn = {turn} AND {same}
    """)
    values = sql.SQL(", ").join(
        sql.SQL("{} = m.{}").format(column.identifier, table.slot(column)) for column in columns
    )
    changed = 0
    for turn in range(0 if turns is None else turns + 1):
        changed += conn.execute(
            query.format(
                rows=table.restored,
                values=values,
                merging=table.merging,
                turn=sql.Literal(turn),
                same=table.same_key("m", "r"),
            )
        ).rowcount
    return changed


def insert_new(conn: Connection, table: Table) -> int:
    """Insert the rows that came since. How many."""
    query = sql.SQL("""
        INSERT INTO {rows} ({names}) OVERRIDING SYSTEM VALUE
        SELECT {values} FROM {merging} AS m WHERE m.kind = 'new' AND m.refused IS NULL ORDER BY m.id
    """).format(
        rows=table.into,
        names=sql.SQL(", ").join(column.identifier for column in table.columns),
        values=sql.SQL(", ").join(sql.SQL("m.{}").format(table.slot(column)) for column in table.columns),
        merging=table.merging,
    )
    return conn.execute(query).rowcount


def _triggers(conn: Connection, schemas: Sequence[str]) -> list[tuple[sql.Identifier, str, str]]:
    rows = conn.execute(
        """
        SELECT nspname, relname, tgname::text, tgenabled::text
        FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p')
          AND NOT tgisinternal AND tgparentid = 0 AND tgenabled <> 'D'
        ORDER BY relispartition, tgrelid, tgname
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [(sql.Identifier(schema, table), name, enabled) for schema, table, name, enabled in rows]


def _keys_at_once(conn: Connection, schemas: Sequence[str]) -> list[tuple[sql.Identifier, sql.Identifier]]:
    """Foreign keys within these schemas that are not deferrable."""
    rows = conn.execute(
        """
        SELECT here.nspname, child.relname, conname::text
        FROM pg_constraint
        JOIN pg_class AS child ON child.oid = conrelid
        JOIN pg_namespace AS here ON here.oid = child.relnamespace
        JOIN pg_class AS parent ON parent.oid = confrelid
        JOIN pg_namespace AS there ON there.oid = parent.relnamespace
        WHERE contype = 'f' AND conparentid = 0 AND NOT condeferrable
          AND here.nspname = ANY (%(schemas)s) AND there.nspname = ANY (%(schemas)s)
          AND coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::boolean, true)
        ORDER BY conrelid, conname
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [(sql.Identifier(schema, table), sql.Identifier(name)) for schema, table, name in rows]


def forced_security(conn: Connection, schemas: Sequence[str]) -> list[sql.Identifier]:
    """Tables of these schemas whose policies hold for their owner too."""
    rows = conn.execute(
        """
        SELECT nspname, relname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s) AND relforcerowsecurity
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [sql.Identifier(schema, table) for schema, table in rows]
