"""Rows that a foreign key would delete or empty when surplus rows of a reloaded table go: kept aside and listed first.

They are somebody's acknowledged rows, of tables that no damage names. In the caller's transaction, before anything is
deleted; a row is known by where it lies, for nobody else writes meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.adapters.conflicts import REFUSED
from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import RollbackError
from toolkit.rollback.merge.conflicts import list_conflicts

DELETED, EMPTIED = f"{REFUSED}deleted along by ", f"{REFUSED}emptied along by "
_ACTIONS = {"c": DELETED, "n": EMPTIED, "d": EMPTIED}

# every key that acts by itself when a row goes, from the reloaded tables on; a partition is known by its root
_KEYS = """
WITH RECURSIVE acting AS (
    SELECT pg_constraint.oid, conrelid, confrelid, conname::text, confdeltype::text AS action, conkey, confkey
    FROM pg_constraint
    WHERE contype = 'f' AND conparentid = 0 AND confdeltype IN ('c', 'n', 'd')
      AND coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::boolean, true)
), reached AS (
    SELECT acting.*
    FROM acting
    WHERE confrelid = ANY (%(tables)s::regclass[]::oid[])
       OR confrelid IN (SELECT relid FROM unnest(%(tables)s::regclass[]) AS r, pg_partition_tree(r))
    UNION
    SELECT acting.* FROM acting JOIN reached ON acting.confrelid = reached.conrelid AND reached.action = 'c'
)
SELECT conname, action, here.nspname, child.relname, there.nspname, parent.relname,
       (SELECT array_agg(attname::text ORDER BY n) FROM unnest(conkey) WITH ORDINALITY AS k (number, n)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
       (SELECT array_agg(attname::text ORDER BY n) FROM unnest(confkey) WITH ORDINALITY AS k (number, n)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = number)
FROM reached
JOIN pg_class AS child ON child.oid = conrelid
JOIN pg_namespace AS here ON here.oid = child.relnamespace
JOIN pg_class AS parent ON parent.oid = confrelid
JOIN pg_namespace AS there ON there.oid = parent.relnamespace
ORDER BY 3, 4, 1
"""


@dataclass(frozen=True)
class ActingKey:
    """A foreign key that acts on its rows when the row that they name goes. `action`: pg_constraint.confdeltype."""

    name: str
    action: str
    child: tuple[str, str]
    parent: tuple[str, str]
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]

    @property
    def reason(self) -> str:
        return _ACTIONS[self.action] + self.name


def acting_keys(conn: Connection, tables: Sequence[tuple[str, str]]) -> list[ActingKey]:
    """The keys that act, at once or by way of others, when rows of these tables are deleted."""
    names = [sql.Identifier(*table).as_string(conn) for table in tables]
    rows = conn.execute(_KEYS, {"tables": names}).fetchall()
    return [ActingKey(r[0], r[1], (r[2], r[3]), (r[4], r[5]), tuple(r[6]), tuple(r[7])) for r in rows]


def lock_dragged(conn: Connection, keys: Sequence[ActingKey]) -> None:
    """Nobody writes to the tables on which they act, whichever schema these are of."""
    if tables := sorted({key.child for key in keys}):
        names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))


def require_keyed(keys: Sequence[ActingKey], keyless: Sequence[tuple[str, str]]) -> None:
    """RollbackError where a table without a primary key, whose rows all go and come again, is named by such a key."""
    if hit := [key for key in keys if key.parent in keyless]:
        raise RollbackError(
            f"{'.'.join(hit[0].parent)} has no primary key, and reloading it would delete rows of "
            f"{'.'.join(hit[0].child)} along ({hit[0].name})",
            state="nothing was changed",
            next="give it a primary key, or plan the restore by another way",
        )


def keep_dragged(
    conn: Connection,
    keys: Sequence[ActingKey],
    surplus: Mapping[tuple[str, str], sql.Composable],
    aside: Mapping[tuple[str, str], str],
    mark: str,
) -> dict[str, int]:
    """Keep aside, in the schemas that `aside` names by table, every row that would go along; list each. Rows by table.

    `surplus`: by reloaded table, the query of the rows (tableoid, ctid) that will be deleted. Tables that `aside` does
    not name are kept whole already.
    """
    conn.execute("CREATE TEMPORARY TABLE toolkit_going (rel oid, tid tid, reason text) ON COMMIT DROP")
    for query in surplus.values():
        conn.execute(sql.SQL("INSERT INTO pg_temp.toolkit_going SELECT *, NULL FROM ({}) AS gone").format(query))
    while sum(_spread(conn, key) for key in keys if key.action == "c"):
        pass
    for key in keys:
        if key.action != "c":
            _spread(conn, key)
    kept = {table: _keep(conn, table, aside[table], mark) for table in sorted({key.child for key in keys} & set(aside))}
    conn.execute("DROP TABLE pg_temp.toolkit_going")
    return {".".join(table): rows for table, rows in kept.items() if rows}


def _spread(conn: Connection, key: ActingKey) -> int:
    """The rows that this key would take along with those that are known to go. How many are new."""
    query = sql.SQL("""
        INSERT INTO pg_temp.toolkit_going
        SELECT DISTINCT ON (c.tableoid, c.ctid) c.tableoid, c.ctid, {reason}
        FROM pg_temp.toolkit_going AS g
        JOIN {parent} AS p ON p.tableoid = g.rel AND p.ctid = g.tid
        JOIN {child} AS c ON {same}
        WHERE (g.reason IS NULL OR g.reason NOT LIKE {emptied})
          AND NOT EXISTS (
              SELECT FROM pg_temp.toolkit_going AS known WHERE known.rel = c.tableoid AND known.tid = c.ctid)
    """)
    pairs = zip(key.columns, key.parent_columns, strict=True)
    return conn.execute(
        query.format(
            reason=sql.Literal(key.reason),
            emptied=sql.Literal(f"{EMPTIED}%"),
            parent=sql.Identifier(*key.parent),
            child=sql.Identifier(*key.child),
            same=sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("c", ours), sql.Identifier("p", theirs))
                for ours, theirs in pairs
            ),
        )
    ).rowcount


def _keep(conn: Connection, table: tuple[str, str], aside: str, mark: str) -> int:
    going = sql.SQL("FROM {} AS c JOIN pg_temp.toolkit_going AS g ON g.rel = c.tableoid AND g.tid = c.ctid").format(
        sql.Identifier(*table)
    )
    if conn.execute(sql.SQL("SELECT 1 {} LIMIT 1").format(going)).fetchone() is None:
        return 0
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(aside)))
    kept = conn.execute(
        sql.SQL("CREATE TABLE {} AS SELECT c.* {}").format(sql.Identifier(aside, table[1]), going)
    ).rowcount
    columns = _key_of(conn, table)
    key = sql.SQL("jsonb_build_object({})").format(
        sql.SQL(", ").join(
            sql.SQL("{}::text, {}::text").format(sql.Literal(name), sql.Identifier("c", name)) for name in columns
        )
    )
    found = sql.SQL("SELECT {} AS key, '' AS column_name, g.reason AS reason {}").format(key, going)
    list_conflicts(conn, mark, ".".join(table), found)
    return kept


def _key_of(conn: Connection, table: tuple[str, str]) -> list[str]:
    """Its primary key's columns; all columns where it has none."""
    rows = conn.execute(
        """
        SELECT attname::text, coalesce(attnum = ANY (indkey::int2[]), false)
        FROM pg_attribute
        LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary
        WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """,
        {"table": sql.Identifier(*table).as_string(conn)},
    ).fetchall()
    return [name for name, key in rows if key] or [name for name, _ in rows]
