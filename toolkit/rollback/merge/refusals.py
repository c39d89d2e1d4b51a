"""What the restored tables' constraints would not take, found before anything is written, so that nothing aborts.

A row that some constraint refuses is left as the backup has it and listed. Refusing one may make room or take a parent
away, so the checks are repeated until none finds anything. Nothing but the temporary tables of the merge is changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, Self

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.conflicts import LEFT_LIVE
from toolkit.rollback.merge.rules import Rules
from toolkit.rollback.merge.tables import Table

ROUNDS = 50
CASCADES = ("c", "n", "d")


@dataclass(frozen=True)
class Part:
    """A table, or one partition of it with constraints of its own. `holds` is the partition's bound; '' for all."""

    table: Table
    rows: sql.Composable
    oid: int
    holds: str


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


@dataclass(frozen=True)
class Reference:
    """A foreign key of one restored table to another table. `deletes`, `updates` as pg_constraint has them."""

    name: str
    part: Part
    columns: tuple[str, ...]
    parent: sql.Composable
    parent_table: Table | None
    parent_columns: tuple[str, ...]
    deletes: str


def refuse(conn: Connection, rules: Sequence[Rules]) -> None:
    """Mark the rows of the `merging` tables that some constraint would refuse, and put the changes in turns.

    A row that is refused because it mixes live and restored values is tried again as it is live, and listed.
    """
    tables = [each.table for each in rules]
    constraints = _Constraints.of(conn, tables)
    constraints.refuse(conn)
    if sum(_leave_live(conn, each) for each in rules if each.damaged and each.table.key):
        constraints.refuse(conn)


@dataclass(frozen=True)
class _Constraints:
    """All that the restored tables enforce."""

    tables: tuple[Table, ...]
    parts: Mapping[str, Sequence[Part]]
    excluding: tuple[Excluding, ...]
    references: tuple[Reference, ...]

    @classmethod
    def of(cls, conn: Connection, tables: Sequence[Table]) -> Self:
        parts = {table.name: list(_parts(conn, table)) for table in tables}
        every = [part for table in tables for part in parts[table.name]]
        excluding = [each for part in every for each in _excluding(conn, part)]
        references = [each for part in every for each in _references(conn, part, tables)]
        return cls(tuple(tables), parts, tuple(excluding), tuple(references))

    def refuse(self, conn: Connection) -> None:
        for table in self.tables:
            _refuse_values(conn, table, self.parts[table.name])
        for _ in range(ROUNDS):
            found = sum(_refuse_double(conn, each) for each in self.excluding)
            found += sum(_refuse_orphans(conn, each) + _refuse_deletions(conn, each) for each in self.references)
            found += sum(_take_turns(conn, table, self.excluding) for table in self.tables)
            if not found:
                return


def _leave_live(conn: Connection, rules: Rules) -> int:
    """Give refused changes their live values back in the damaged columns, and the reason. How many."""
    table = rules.table
    columns = [column for column in table.columns if column.name in rules.damaged]
    query = sql.SQL("""
        UPDATE {merging} AS m
        SET {values}, refused = NULL, reasons[1] = {reason} || m.refused
        FROM {damaged} AS d
        WHERE m.kind = 'both' AND m.refused IS NOT NULL AND m.reasons[1] IS NULL AND {same_key}
    """).format(
        merging=table.merging,
        values=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(table.slot(column), rules.live(column)) for column in columns
        ),
        reason=sql.Literal(LEFT_LIVE),
        damaged=table.damaged,
        same_key=sql.SQL(" AND ").join(
            sql.SQL("m.{} = {}").format(table.slot(column), rules.live(column)) for column in table.keys
        ),
    )
    return conn.execute(query).rowcount


def final_rows(table: Table) -> sql.Composable:
    """A query for the merged rows that stand: "merge:id", "merge:kind", and every column, generated ones too."""
    values = [
        sql.SQL("m.{} AS {}").format(table.slot(column), column.identifier) for column in table.columns
    ] + [sql.SQL("r.{0} AS {0}").format(sql.Identifier(name)) for name in table.only_restored]  # fmt: skip
    older = sql.SQL("LEFT JOIN {rows} AS r ON m.kind = 'both' AND {same}").format(
        rows=table.restored, same=table.same_key("m", "r")
    )
    stored = sql.SQL("""
        SELECT m.id AS "merge:id", m.kind AS "merge:kind", {values}
        FROM {merging} AS m {older}
        WHERE m.refused IS NULL AND m.kind IN ('new', 'both')
    """).format(
        values=sql.SQL(", ").join(values), merging=table.merging, older=older if table.only_restored else sql.SQL("")
    )
    if not table.generated:
        return stored
    generated = [sql.SQL("{} AS {}").format(_sql(said), sql.Identifier(name)) for name, said in table.generated]
    return sql.SQL("SELECT stored.*, {generated} FROM ({stored}) AS stored").format(
        generated=sql.SQL(", ").join(generated), stored=stored
    )


def untouched(table: Table, row: str) -> sql.Composable:
    """That a row of the restored table stays as it is."""
    return sql.SQL("""NOT EXISTS (
        SELECT FROM {merging} AS touched
        WHERE touched.refused IS NULL AND touched.kind IN ('both', 'gone') AND {same}
    )""").format(merging=table.merging, same=table.same_key("touched", row))


# Values ---------------------------------------------------------------------------------------------------------------


def _refuse_values(conn: Connection, table: Table, parts: Sequence[Part]) -> None:
    """Missing values, checks, and rows for which there is no partition."""
    for column in table.columns:
        if column.not_null:
            _mark(conn, table, f"not null {column.name}", sql.SQL("{} IS NULL").format(column.identifier))
    for name in table.wanted:
        _mark(conn, table, f"not null {name}", sql.SQL("\"merge:kind\" = 'new'"))
    for part in parts:
        inside = _sql(part.holds) if part.holds else sql.SQL("true")
        for constraint, said in _checks(conn, part):
            _mark(conn, table, constraint, sql.SQL("({}) AND (({}) IS FALSE)").format(inside, _sql(said)))
    leaves = [part for part in parts if part.holds]
    if leaves:
        held = sql.SQL(" OR ").join(sql.SQL("({})").format(_sql(leaf.holds)) for leaf in leaves)
        _mark(conn, table, "no partition", sql.SQL("({}) IS NOT TRUE").format(held))


def _checks(conn: Connection, part: Part) -> list[tuple[str, str]]:
    rows = conn.execute(
        """
        SELECT conname::text, pg_get_expr(conbin, conrelid)
        FROM pg_constraint
        WHERE conrelid = %(oid)s AND contype = 'c' AND coninhcount = 0
          AND coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::boolean, true)
        ORDER BY conname
        """,
        {"oid": part.oid},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def _parts(conn: Connection, table: Table) -> Iterator[Part]:
    yield Part(table, table.restored, table.restored_oid, "")
    rows = conn.execute(
        """
        SELECT nspname, relname, part.relid::oid, pg_get_partition_constraintdef(part.relid)
        FROM pg_partition_tree(%(oid)s::oid::regclass) AS part
        JOIN pg_class ON pg_class.oid = part.relid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE part.level > 0 AND part.isleaf
        ORDER BY part.relid
        """,
        {"oid": table.restored_oid},
    ).fetchall()
    for schema, name, oid, holds in rows:
        yield Part(table, sql.Identifier(schema, name), oid, holds or "true")


# Uniqueness -----------------------------------------------------------------------------------------------------------


def _excluding(conn: Connection, part: Part) -> list[Excluding]:
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
        if condition or sorted(expressions) != sorted(map(_quoted, part.table.key)):
            found.append(Excluding(name, part, compared, condition, nulls_equal, at_once))
    return found


def _refuse_double(conn: Connection, each: Excluding) -> int:
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
    return _mark_ids(conn, table, each.name, found)


def _take_turns(conn: Connection, table: Table, excluding: Sequence[Excluding]) -> int:
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
    return _mark_ids(conn, table, "values change places", circle)


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
        sql.SQL("{} AS {}").format(_sql(part.expression), sql.Identifier(f"u{n}"))
        for n, part in enumerate(each.compared)
    ]
    conditions = [sql.SQL("({})").format(_sql(said)) for said in (each.condition, each.part.holds) if said]
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
        same = sql.SQL("{} {} {}").format(left, _sql(part.operator), right)
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


# References -----------------------------------------------------------------------------------------------------------


def _references(conn: Connection, part: Part, tables: Sequence[Table]) -> list[Reference]:
    """Foreign keys of this part itself that the server enforces row by row."""
    rows = conn.execute(
        """
        SELECT conname::text,
               (SELECT array_agg(attname::text ORDER BY position)
                FROM unnest(conkey) WITH ORDINALITY AS part (number, position)
                JOIN pg_attribute ON attrelid = conrelid AND attnum = number),
               nspname, relname, confrelid,
               (SELECT array_agg(attname::text ORDER BY position)
                FROM unnest(confkey) WITH ORDINALITY AS part (number, position)
                JOIN pg_attribute ON attrelid = confrelid AND attnum = number),
               confdeltype::text
        FROM pg_constraint
        JOIN pg_class ON pg_class.oid = confrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE conrelid = %(oid)s AND contype = 'f' AND conparentid = 0
          AND coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::boolean, true)
          AND NOT coalesce((to_jsonb(pg_constraint) ->> 'conperiod')::boolean, false)
        ORDER BY conname
        """,
        {"oid": part.oid},
    ).fetchall()
    by_oid = {table.restored_oid: table for table in tables}
    return [
        Reference(name, part, tuple(columns), sql.Identifier(schema, parent), by_oid.get(oid), tuple(theirs), deletes)
        for name, columns, schema, parent, oid, theirs, deletes in rows
    ]


def _refuse_orphans(conn: Connection, each: Reference) -> int:
    """Merged rows whose parent will not be there."""
    parent = each.parent_table
    found = sql.SQL("""
        SELECT child."merge:id"
        FROM ({children}) AS child
        WHERE {known} AND {inside}
          AND NOT EXISTS (SELECT FROM {parents} AS parent WHERE {refers} AND {stays})
          AND NOT EXISTS (SELECT FROM ({merged}) AS parent WHERE {refers})
    """).format(
        children=final_rows(each.part.table),
        known=sql.SQL(" AND ").join(
            sql.SQL("child.{} IS NOT NULL").format(sql.Identifier(name)) for name in each.columns
        ),
        inside=_inside(each.part),
        parents=parent.restored if parent else each.parent,
        refers=_refers(each),
        stays=untouched(parent, "parent") if parent else sql.SQL("true"),
        merged=final_rows(parent) if parent else _rows_nowhere(each),
    )
    return _mark_ids(conn, each.part.table, each.name, found)


def _refuse_deletions(conn: Connection, each: Reference) -> int:
    """Parents that cannot go, because a row that stays refers to them. A row that only the damage's deletion keeps goes
    with its parent where the constraint says so."""
    parent, child = each.parent_table, each.part.table
    if parent is None:
        return 0
    kept = sql.SQL("NOT EXISTS (SELECT FROM {m} AS kept WHERE kept.kind = 'kept' AND {same})").format(
        m=child.merging, same=child.same_key("kept", "child")
    )
    found = sql.SQL("""
        SELECT gone.id
        FROM {merging} AS gone
        JOIN {parents} AS parent ON {same}
        WHERE gone.kind = 'gone' AND gone.refused IS NULL
          AND (EXISTS (SELECT FROM {children} AS child WHERE {refers} AND {stays} AND {kept})
               OR EXISTS (SELECT FROM ({merged}) AS child WHERE {refers} AND {inside}))
          AND NOT EXISTS (SELECT FROM ({parents_merged}) AS parent_again WHERE {refers_again})
    """).format(
        merging=parent.merging,
        parents=parent.restored,
        same=parent.same_key("gone", "parent"),
        children=each.part.rows,
        refers=_refers(each),
        stays=untouched(child, "child"),
        kept=kept if each.deletes in CASCADES else sql.SQL("true"),
        merged=final_rows(child),
        inside=_inside(each.part),
        parents_merged=final_rows(parent),
        refers_again=sql.SQL(" AND ").join(
            sql.SQL("parent_again.{0} = parent.{0}").format(sql.Identifier(name)) for name in each.parent_columns
        ),
    )
    return _mark_ids(conn, parent, each.name, found)


def _refers(each: Reference) -> sql.Composable:
    parts = [
        sql.SQL("parent.{} = child.{}").format(sql.Identifier(theirs), sql.Identifier(ours))
        for ours, theirs in zip(each.columns, each.parent_columns, strict=True)
    ]
    return sql.SQL(" AND ").join(parts)


def _inside(part: Part) -> sql.Composable:
    if not part.holds:
        return sql.SQL("true")
    columns = [sql.SQL("child.{}").format(column.identifier) for column in part.table.columns]
    named = [
        sql.SQL("{} AS {}").format(value, column.identifier)
        for value, column in zip(columns, part.table.columns, strict=True)
    ]
    return sql.SQL("(SELECT ({}) FROM (SELECT {}) AS rows)").format(_sql(part.holds), sql.SQL(", ").join(named))


def _rows_nowhere(each: Reference) -> sql.Composable:
    return sql.SQL("SELECT * FROM {} WHERE false").format(each.parent)


# Marks ----------------------------------------------------------------------------------------------------------------


def _mark(conn: Connection, table: Table, constraint: str, violates: sql.Composable) -> int:
    found = sql.SQL('SELECT "merge:id" FROM ({}) AS rows WHERE {}').format(final_rows(table), violates)
    return _mark_ids(conn, table, constraint, found)


def _mark_ids(conn: Connection, table: Table, constraint: str, found: sql.Composable) -> int:
    query = sql.SQL("UPDATE {} SET refused = {} WHERE refused IS NULL AND id IN ({})").format(
        table.merging, sql.Literal(constraint), found
    )
    return conn.execute(query).rowcount


def _quoted(name: str) -> str:
    """A column as pg_get_indexdef spells it, for plain names; others merely make one check more."""
    return name


def _sql(text: str) -> sql.Composable:
    """An expression that the server itself has spelled."""
    return sql.SQL(text)
