"""Up to where a table's merge is settled, so that under locks only what changed since is looked at again.

A watermark is the oldest transaction that may not have been seen: a row whose `xmin` is not older may have changed
since. Deletions leave no trace in the rows, so the number of rows is kept too; where it does not add up, keys are
compared. It belongs to one damaged and one restored table and to the rules with which it was made.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.errors import RollbackError
from toolkit.rollback.damage import Damage
from toolkit.rollback.merge.config import MergeConfig
from toolkit.rollback.merge.difference import make_temporary, unqualified
from toolkit.rollback.merge.rules import Rules, row_hash
from toolkit.rollback.merge.tables import Table


@dataclass(frozen=True)
class Watermark:
    """`since` is a 32-bit xid as text, `rows` the live table's rows then. `aligned`: both sides had the same keys."""

    since: str
    rows: int
    aligned: bool


def rules_digest(damage: Sequence[Damage], config: MergeConfig) -> str:
    """What two merges of one restored copy must have in common."""
    said = repr((sorted(map(repr, damage)), config.excluded, config.queue_schema, sorted((config.keys or {}).items())))
    return hashlib.sha256(said.encode()).hexdigest()


def read_watermark(conn: Connection, table: Table, mark: str, rules: str) -> Watermark | None:
    """None where the table was not prepared. RollbackError where it was, with other rules: it is no backup any more."""
    damaged, restored = table.identities
    row = conn.execute(
        """
        SELECT (since::xid)::text, rows, aligned, rules, damaged_oid = %(damaged)s
        FROM toolkit.merge_watermark
        WHERE mark = %(mark)s AND table_name = %(table)s AND restored_oid = %(restored)s
        """,
        {"mark": mark, "table": table.name, "damaged": damaged, "restored": restored},
    ).fetchone()
    if row is None:
        return None
    if row[3] != rules or not row[4]:
        raise RollbackError(
            f"The restored {table.name} was already merged, with another damage or from another table",
            state="nothing was merged now",
            next="restore the backup again, then merge with this damage",
        )
    return Watermark(*row[:3])


def keep_watermark(conn: Connection, table: Table, mark: str, rules: str, before: Watermark | None) -> None:
    """Keep where this transaction's snapshot ends, after its merge. The transaction must have one snapshot only."""
    damaged, restored = table.identities
    conn.execute(
        sql.SQL("""
            INSERT INTO toolkit.merge_watermark
                (mark, table_name, damaged_oid, restored_oid, since, rows, aligned, rules)
            SELECT {mark}, {table}, {damaged}::oid, {restored}::oid, pg_snapshot_xmin(pg_current_snapshot()),
                   (SELECT count(*) FROM {live}),
                   {aligned_before}
                   AND (SELECT count(*) FROM {live}) = (SELECT count(*) FROM {old})
                   AND NOT EXISTS (SELECT FROM {merging} WHERE kind IN ('kept', 'damaged') OR refused IS NOT NULL),
                   {rules}
            ON CONFLICT (mark, table_name) DO UPDATE
            SET damaged_oid = excluded.damaged_oid,
                restored_oid = excluded.restored_oid,
                since = excluded.since,
                rows = excluded.rows,
                aligned = excluded.aligned,
                rules = excluded.rules
        """).format(
            mark=sql.Literal(mark),
            table=sql.Literal(table.name),
            damaged=sql.Literal(damaged),
            restored=sql.Literal(restored),
            aligned_before=sql.Literal(before is None or before.aligned),
            live=table.damaged,
            old=table.restored,
            merging=table.merging,
            rules=sql.Literal(rules),
        )
    )


def forget_watermarks(conn: Connection, mark: str) -> None:
    """After the merge that used them, or before a backup is restored anew."""
    conn.execute("DELETE FROM toolkit.merge_watermark WHERE mark = %(mark)s", {"mark": mark})


def find_pairs_since(conn: Connection, rules: Rules, watermark: Watermark) -> int:
    """Fill the table's `pairs`, as `find_pairs` does, from the rows that may have changed since the watermark."""
    table = rules.table
    _find_changed(conn, rules, watermark)
    keys = sql.SQL(", ").join(sql.SQL("d.{}").format(name) for name in _keys(table))
    query = sql.SQL("""
        CREATE TEMPORARY TABLE {pairs} ON COMMIT DROP AS
        SELECT {keys},
               true AS in_damaged,
               {here} IS NOT NULL AS in_restored,
               {here} IS NULL OR d.others <> {old_others} AS others_differ
        FROM {changed} AS d
        LEFT JOIN {restored} AS r ON {same_key}
        WHERE {here} IS NULL OR d.others <> {old_others} OR d.damaged <> {old_damaged}
    """).format(
        pairs=unqualified(table, "_pairs"),
        keys=keys,
        here=sql.SQL("r.{}").format(table.keys[0].identifier),
        changed=_changed(table),
        restored=table.restored,
        same_key=_same(table, "d", "r"),
        old_others=row_hash([column for column in table.values if column.name not in rules.damaged], "r"),
        old_damaged=row_hash([column for column in table.values if column.name in rules.damaged], "r"),
    )
    found = make_temporary(conn, table.pairs, query)
    return found + (_find_gone(conn, rules) if _some_gone(conn, table, watermark) else 0)


def _find_changed(conn: Connection, rules: Rules, watermark: Watermark) -> int:
    """Into a table of its own, with its statistics: the planner cannot know how few they are."""
    table = rules.table
    query = sql.SQL("""
        CREATE TEMPORARY TABLE {changed} ON COMMIT DROP AS
        SELECT {keys}, {others} AS others, {damaged_hash} AS damaged
        FROM {damaged} AS d
        WHERE age(d.xmin) <= age({since}::xid)
    """).format(
        changed=unqualified(table, "_changed"),
        keys=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(rules.live(column), name)
            for column, name in zip(table.keys, _keys(table), strict=True)
        ),
        others=row_hash([column for column in table.values if column.name not in rules.damaged], "d"),
        damaged_hash=row_hash([column for column in table.values if column.name in rules.damaged], "d"),
        damaged=table.damaged,
        since=sql.Literal(watermark.since),
    )
    return make_temporary(conn, _changed(table), query)


def _some_gone(conn: Connection, table: Table, watermark: Watermark) -> bool:
    """Whether rows have been deleted since: where both sides had the same keys, the numbers tell."""
    if not watermark.aligned:
        return True
    query = sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {} WHERE NOT in_restored)")
    row = conn.execute(query.format(table.damaged, table.pairs)).fetchone()
    assert row is not None
    return bool(row[0] != watermark.rows + row[1])


def _find_gone(conn: Connection, rules: Rules) -> int:
    """Add the keys that only the restored side has. By a table of their own, which the server fills in parallel."""
    table = rules.table
    name = sql.Identifier("pg_temp", f"toolkit_merge_{table.number}_gone")
    query = sql.SQL("""
        CREATE TEMPORARY TABLE {gone} ON COMMIT DROP AS
        SELECT {keys}
        FROM {restored} AS r
        WHERE NOT EXISTS (SELECT FROM {damaged} AS d WHERE {same_key})
    """).format(
        gone=unqualified(table, "_gone"),
        keys=sql.SQL(", ").join(
            sql.SQL("r.{} AS {}").format(column.identifier, key)
            for column, key in zip(table.keys, _keys(table), strict=True)
        ),
        restored=table.restored,
        damaged=table.damaged,
        same_key=sql.SQL(" AND ").join(
            sql.SQL("{} = r.{}").format(rules.live(column), column.identifier) for column in table.keys
        ),
    )
    found = make_temporary(conn, name, query)
    conn.execute(sql.SQL("INSERT INTO {} SELECT *, false, true, true FROM {}").format(table.pairs, name))
    conn.execute(sql.SQL("ANALYZE {}").format(table.pairs))
    return found


def _same(table: Table, side: str, rows: str) -> sql.Composable:
    parts = [
        sql.SQL("{}.{} = {}.{}").format(sql.Identifier(side), name, sql.Identifier(rows), column.identifier)
        for column, name in zip(table.keys, _keys(table), strict=True)
    ]
    return sql.SQL(" AND ").join(parts)


def _keys(table: Table) -> list[sql.Identifier]:
    return [sql.Identifier(f"k{number}") for number, _ in enumerate(table.key)]


def _changed(table: Table) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"toolkit_merge_{table.number}_changed")
