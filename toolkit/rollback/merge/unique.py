"""Unique and exclusion constraints of the restored tables: which merged row would be there twice, and in which turns
values change hands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.standing_rows import Part, final_rows, mark_ids, spelled
from toolkit.rollback.merge.tables import Table


@dataclass(frozen=True)
class Compared:
    """One column or expression of a unique or exclusion constraint, and the operator that two rows must not satisfy."""

    expression: str
    operator: str


@dataclass(frozen=True)
class Excluding:
    """A unique or exclusion constraint. `condition`: its predicate, '' without one. `at_once`: checked row by row."""

    name: str
    part: Part
    compared: tuple[Compared, ...]
    condition: str
    nulls_equal: bool
    at_once: bool


def excluding_of(conn: Connection, part: Part) -> list[Excluding]:
    """Unique and exclusion constraints of this part itself, the merge's own key apart."""
    rows = conn.execute(
        """
        SELECT index.relname::text AS name,
               array_agg(pg_get_indexdef(indexrelid, number, true) ORDER BY number),
               array_agg(coalesce(excluding.said, equal.said, '=') ORDER BY number),
               coalesce(pg_get_expr(indpred, indrelid), ''),
               bool_or(coalesce((to_jsonb(pg_index) ->> 'indnullsnotdistinct')::boolean, false)),
               indimmediate
        FROM pg_index
        JOIN pg_class AS index ON index.oid = indexrelid
        LEFT JOIN pg_constraint ON conindid = indexrelid AND conexclop IS NOT NULL
        CROSS JOIN LATERAL generate_series(1, indnkeyatts) AS number
        LEFT JOIN LATERAL (
            SELECT format('OPERATOR(%%I.%%s)', nspname, oprname) AS said
            FROM pg_operator
            JOIN pg_namespace ON pg_namespace.oid = oprnamespace
            WHERE pg_operator.oid = conexclop[number]
        ) AS excluding ON true
        LEFT JOIN LATERAL (
            SELECT format('OPERATOR(%%I.%%s)', nspname, oprname) AS said
            FROM pg_opclass
            JOIN pg_amop ON amopfamily = opcfamily AND amoplefttype = opcintype AND amoprighttype = opcintype
            JOIN pg_operator ON pg_operator.oid = amopopr
            JOIN pg_namespace ON pg_namespace.oid = oprnamespace
            WHERE pg_opclass.oid = indclass[number - 1] AND amopstrategy = 3
        ) AS equal ON true
        WHERE indrelid = %(oid)s AND (indisunique OR indisexclusion) AND NOT index.relispartition
        GROUP BY indexrelid, index.relname, pg_get_expr(indpred, indrelid), indimmediate
        ORDER BY index.relname
        """,
        {"oid": part.oid},
    ).fetchall()
    found = []
    for name, expressions, operators, condition, nulls_equal, at_once in rows:
        compared = tuple(Compared(*each) for each in zip(expressions, operators, strict=True))
        # an index spells plain names as they are; for others the key's own is merely checked once more
        if condition or sorted(expressions) != sorted(part.table.key):
            found.append(Excluding(name, part, compared, condition, nulls_equal, at_once))
    return found


def refuse_double(conn: Connection, each: Excluding) -> int:
    """Of rows that would be there twice, the one that comes later (new after changed) is refused."""
    table = each.part.table
    live, old = (
        _compared(each, final_rows(table), '"merge:id", "merge:kind",'),
        _compared(each, _rows_of(each.part), _row_of(table)),
    )
    same = _clash(each, "a", "b")
    earlier = '(b."merge:kind", b."merge:id") < (a."merge:kind", a."merge:id")'
    keys = sql.SQL(" AND ").join(
        sql.SQL("b.{} = touched.{}").format(sql.Identifier(f"row_{n}"), ours)
        for n, (ours, _) in enumerate(table.identity)
    )
    found = sql.SQL("""
        SELECT a."merge:id" FROM ({live}) AS a JOIN ({live}) AS b ON {same} AND {earlier}
        UNION
        SELECT a."merge:id" FROM ({live}) AS a JOIN ({old}) AS b ON {same}
        WHERE NOT EXISTS (
            SELECT FROM {merging} AS touched
            WHERE touched.refused IS NULL AND touched.kind IN ('both', 'gone') AND {keys}
        )
    """).format(live=live, old=old, same=same, earlier=sql.SQL(earlier),
                merging=table.merging, keys=keys)  # fmt: skip
    return mark_ids(conn, table, each.name, found)


def take_turns(conn: Connection, table: Table, excluding: Sequence[Excluding]) -> int:
    """A changed row that takes a value which another changed row gives up comes after it; in a circle, none changes."""
    conn.execute(sql.SQL("UPDATE {} SET turn = 0 WHERE turn <> 0 OR turn IS NULL").format(table.merging))
    edges = [_edges(each) for each in excluding if each.part.table is table and each.at_once]
    if not edges:
        return 0
    waits = sql.SQL(" UNION ").join(edges)
    name = sql.Identifier("pg_temp", f"toolkit_merge_{table.number}_turns")
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
    made = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}").format(
        sql.Identifier(f"toolkit_merge_{table.number}_turns"), waits
    )
    if not conn.execute(made).rowcount:
        return 0
    begin = sql.SQL("UPDATE {} SET turn = NULL WHERE id IN (SELECT later FROM {})").format(table.merging, name)
    step = sql.SQL("""
        UPDATE {merging} AS m SET turn = {turn}
        WHERE turn IS NULL AND NOT EXISTS (
            SELECT FROM {name} AS wait
            JOIN {merging} AS first ON first.id = wait.first
            WHERE wait.later = m.id AND first.turn IS NULL
        )
    """)
    conn.execute(begin)
    turn = 1
    while conn.execute(step.format(merging=table.merging, name=name, turn=sql.Literal(turn))).rowcount:
        turn += 1
    circle = sql.SQL("SELECT id FROM {} WHERE turn IS NULL").format(table.merging)
    return mark_ids(conn, table, "values change places", circle)


def _edges(each: Excluding) -> sql.Composable:
    table = each.part.table
    keys = sql.SQL(" AND ").join(
        sql.SQL("b.{} = first.{}").format(sql.Identifier(f"row_{n}"), ours)
        for n, (ours, _) in enumerate(table.identity)
    )
    return sql.SQL("""
        SELECT a."merge:id" AS later, first.id AS first
        FROM ({live}) AS a
        JOIN ({old}) AS b ON {same}
        JOIN {merging} AS first ON {keys}
        WHERE a."merge:kind" = 'both' AND first.kind = 'both' AND first.refused IS NULL AND first.id <> a."merge:id"
    """).format(
        live=_compared(each, final_rows(table), '"merge:id", "merge:kind",'),
        old=_compared(each, _rows_of(each.part), _row_of(table)),
        same=_clash(each, "a", "b"),
        merging=table.merging,
        keys=keys,
    )


def _compared(each: Excluding, rows: sql.Composable, also: sql.Composable | LiteralString) -> sql.Composable:
    """Of these rows, those that the constraint looks at, with what it compares as u0, u1, …"""
    values = [
        sql.SQL("{} AS {}").format(spelled(part.expression), sql.Identifier(f"u{n}"))
        for n, part in enumerate(each.compared)
    ]
    conditions = [sql.SQL("({})").format(spelled(said)) for said in (each.condition, each.part.holds) if said]
    return sql.SQL("SELECT {also} {values} FROM ({rows}) AS rows WHERE {conditions}").format(
        also=sql.SQL(also) if isinstance(also, str) else also,
        values=sql.SQL(", ").join(values),
        rows=rows,
        conditions=sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true"),
    )


def _clash(each: Excluding, one: str, other: str) -> sql.Composable:
    parts = []
    for number, part in enumerate(each.compared):
        left, right = sql.Identifier(one, f"u{number}"), sql.Identifier(other, f"u{number}")
        same = sql.SQL("{} {} {}").format(left, spelled(part.operator), right)
        if each.nulls_equal:
            same = sql.SQL("({same} OR ({left} IS NULL AND {right} IS NULL))").format(same=same, left=left, right=right)
        parts.append(same)
    return sql.SQL(" AND ").join(parts)


def _rows_of(part: Part) -> sql.Composable:
    """The restored rows of a part, each with what identifies it as row_0, …"""
    names = [
        sql.SQL("r.{} AS {}").format(theirs, sql.Identifier(f"row_{n}"))
        for n, (_, theirs) in enumerate(part.table.identity)
    ]
    return sql.SQL("SELECT r.*, {} FROM {} AS r").format(sql.SQL(", ").join(names), part.rows)


def _row_of(table: Table) -> sql.Composable:
    names = [sql.SQL("{},").format(sql.Identifier(f"row_{n}")) for n, _ in enumerate(table.identity)]
    return sql.Composed(names)
