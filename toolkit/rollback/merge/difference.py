"""Which rows of a table differ between the two sides, and what each of them becomes. Two temporary tables for each.

The first pass compares hashes, so that it costs one hash join of narrow rows whatever the table's width; the second
looks at the rows that differ, and applies the rules. Nothing of either side is changed here.
"""

from collections.abc import Iterable
from typing import LiteralString

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.conflicts import DELETION, OLDER, UNFIT
from toolkit.rollback.merge.rules import FALSE, NULL, RESTORED, Rules, cases, row_hash, settled
from toolkit.rollback.merge.tables import Column, Table


def find_pairs(conn: Connection, rules: Rules) -> int:
    """Fill the table's `pairs`: the keys that only one side has, and those whose rows differ. Their number."""
    table = rules.table
    others = [column for column in table.values if column.name not in rules.damaged]
    damaged = [column for column in table.values if column.name in rules.damaged]
    numbered = list(enumerate(table.keys))
    query = sql.SQL("""
        CREATE TEMPORARY TABLE {pairs} ON COMMIT DROP AS
        SELECT {keys},
               d.here IS TRUE AS in_damaged,
               r.here IS TRUE AS in_restored,
               d.others IS DISTINCT FROM r.others AS others_differ
        FROM (
            SELECT {live_keys}, true AS here, {live_others} AS others, {live_damaged} AS damaged, {settled} AS settled
            FROM {damaged} AS d
        ) AS d
        FULL JOIN (
            SELECT {old_keys}, true AS here, {old_others} AS others, {old_damaged} AS damaged
            FROM {restored} AS r
        ) AS r ON {same_key}
        WHERE d.others IS DISTINCT FROM r.others
           OR (d.damaged IS DISTINCT FROM r.damaged AND d.settled IS NOT TRUE)
    """).format(
        pairs=unqualified(table, "_pairs"),
        keys=_list(_format("coalesce(d.{k}, r.{k}) AS {k}", k=_key(n)) for n, _ in numbered),
        live_keys=_list(_format("{v} AS {k}", v=rules.live(column), k=_key(n)) for n, column in numbered),
        old_keys=_list(_format("r.{v} AS {k}", v=column.identifier, k=_key(n)) for n, column in numbered),
        live_others=row_hash(others, "d"),
        live_damaged=row_hash(damaged, "d"),
        settled=settled(rules),
        damaged=table.damaged,
        old_others=row_hash(others, "r"),
        old_damaged=row_hash(damaged, "r"),
        restored=table.restored,
        same_key=_all(_format("d.{k} = r.{k}", k=_key(n)) for n, _ in numbered),
    )
    return make_temporary(conn, table.pairs, query)


def find_changes(conn: Connection, rules: Rules) -> int:
    """Fill the table's `merging` from its `pairs`: the rows to insert, change and delete, and those to list.

    `kind`: 'new', 'both' (changed), 'gone', 'kept' (brought back), 'damaged' (not carried), 'listed' (as restored).
    """
    table = rules.table
    query = sql.SQL("""
        CREATE TEMPORARY TABLE {merging} ON COMMIT DROP AS
        SELECT row_number() OVER () AS id,
               CASE WHEN p.in_damaged AND p.in_restored THEN CASE WHEN {changed} THEN 'both' ELSE 'listed' END
                    WHEN p.in_damaged THEN CASE WHEN told.fate = 'damaged' THEN 'damaged' ELSE 'new' END
                    WHEN told.kept THEN 'kept'
                    ELSE 'gone' END AS kind,
               {values},
               {reasons}::text[] AS reasons,
               NULL::text AS refused,
               NULL::integer AS turn,
               {key} AS key
        FROM {pairs} AS p
        LEFT JOIN {damaged} AS d ON p.in_damaged AND {in_damaged}
        LEFT JOIN {restored} AS r ON p.in_restored AND {in_restored}
        CROSS JOIN LATERAL (
            SELECT {fate} AS fate, {kept} AS kept {verdicts} OFFSET 0
        ) AS told
        WHERE NOT (p.in_damaged AND p.in_restored)
           OR {changed}
           OR cardinality(array_remove({reasons}::text[], NULL)) > 0
    """).format(
        merging=unqualified(table, ""),
        changed=_changed(rules),
        values=_list(_value(rules, column) for column in table.columns),
        reasons=_reasons(rules),
        key=_key_text(table),
        pairs=table.pairs,
        damaged=table.damaged,
        restored=table.restored,
        in_damaged=_all(_format("{v} = p.{k}", v=rules.live(c), k=_key(n)) for n, c in enumerate(table.keys)),
        in_restored=_all(_format("r.{v} = p.{k}", v=c.identifier, k=_key(n)) for n, c in enumerate(table.keys)),
        fate=_only("damaged", "restored", rules.fate_of_new(), sql.SQL("NULL::text")),
        kept=_only("restored", "damaged", rules.kept(), FALSE),
        verdicts=sql.Composed(
            [_format(", {v} AS {name}", v=_verdict(rules, column), name=_told(table, column)) for column in _hit(rules)]
        ),
    )
    return make_temporary(conn, table.merging, query)


def reason_names(rules: Rules) -> list[str]:
    """What the parts of `reasons` are about, in order: '' for the row, then the columns."""
    return ["", *(column.name for column in _tracked(rules))]


def make_temporary(conn: Connection, name: sql.Composable, query: sql.Composed) -> int:
    """Make a temporary table by its query, instead of one from before. Its rows."""
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name))
    rows = conn.execute(query).rowcount
    conn.execute(sql.SQL("ANALYZE {}").format(name))
    return rows


def _verdict(rules: Rules, column: Column) -> sql.Composable:
    both = rules.verdict(column, sql.SQL("p.others_differ"))
    new = rules.verdict_of_new(column)
    return sql.SQL("CASE WHEN p.in_damaged AND p.in_restored THEN {} WHEN p.in_damaged THEN {} END").format(both, new)


def _puts_back(rules: Rules, column: Column) -> sql.Composable:
    """Whether a row of both sides gets the restored value in this column."""
    unfit = sql.SQL("NOT {}").format(rules.fits(column))
    if column.name not in rules.damaged:
        return unfit if not column.same else FALSE
    verdict = sql.SQL("(told.{name} IN ({restored}, {older})) IS TRUE").format(
        name=_told(rules.table, column), restored=sql.Literal(RESTORED), older=sql.Literal(OLDER)
    )
    return verdict if column.same else sql.SQL("({} OR {})").format(verdict, unfit)


def _value(rules: Rules, column: Column) -> sql.Composable:
    back = _puts_back(rules, column)
    name = rules.table.slot(column)
    if column.name in rules.table.key:
        return _format("CASE WHEN p.in_damaged THEN {live} ELSE r.{c} END AS {name}",
                       live=rules.live(column), c=column.identifier, name=name)  # fmt: skip
    return _format("CASE WHEN p.in_restored AND {back} THEN r.{c} ELSE {live} END AS {name}",
                   back=back, c=column.identifier, live=rules.live(column), name=name)  # fmt: skip


def _changed(rules: Rules) -> sql.Composable:
    """Whether a row of both sides becomes another than the restored one."""
    parts = [
        _format("({differs} AND NOT {back})", differs=rules.differs(column), back=_puts_back(rules, column))
        for column in rules.table.values
    ]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts)) if parts else FALSE


def _reasons(rules: Rules) -> sql.Composable:
    whole = cases([
        (sql.SQL("told.kept"), sql.Literal(DELETION)),
        (sql.SQL("told.fate <> 'damaged'"), sql.SQL("told.fate")),
    ])  # fmt: skip
    parts = [whole]
    for column in _tracked(rules):
        found: list[tuple[sql.Composable, sql.Composable]] = []
        if column.name in rules.damaged:
            listed = _format(
                "told.{name} <> {restored}", name=_told(rules.table, column), restored=sql.Literal(RESTORED)
            )
            found.append((listed, _format("told.{name}", name=_told(rules.table, column))))
        if not column.same:
            found.append((_format("p.in_damaged AND NOT {}", rules.fits(column)), sql.Literal(UNFIT)))
        parts.append(cases(found))
    return sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(parts))


def _hit(rules: Rules) -> list[Column]:
    return [column for column in rules.table.values if column.name in rules.damaged]


def _tracked(rules: Rules) -> list[Column]:
    return [column for column in rules.table.columns if column.name in rules.damaged or not column.same]


def _key_text(table: Table) -> sql.Composable:
    """The key as JSON: of the damaged row where there is one, as it stands there."""
    pairs = [
        _format("{name}::text, coalesce(d.{c}::text, r.{c}::text)", name=sql.Literal(c.name), c=c.identifier)
        for c in table.keys
    ]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _only(
    side: LiteralString, other: LiteralString, value: sql.Composable, otherwise: sql.Composable
) -> sql.Composable:
    """A rule's value for the rows that only one side has; no rule needs no CASE."""
    if value in (NULL, FALSE):
        return otherwise
    return _format(f"CASE WHEN p.in_{side} AND NOT p.in_{other} THEN {{value}} END", value=value)


def _told(table: Table, column: Column) -> sql.Composable:
    return table.slot(column)


def _key(number: int) -> sql.Identifier:
    return sql.Identifier(f"k{number}")


def _format(text: LiteralString, *args: sql.Composable, **named: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(*args, **named)


def _list(parts: Iterable[sql.Composable]) -> sql.Composable:
    return sql.SQL(", ").join(parts)


def _all(parts: Iterable[sql.Composable]) -> sql.Composable:
    return sql.SQL(" AND ").join(parts)


def unqualified(table: Table, suffix: str) -> sql.Identifier:
    """The name of one of a table's temporary tables, as CREATE TEMPORARY TABLE wants it."""
    return sql.Identifier(f"toolkit_merge_{table.number}{suffix}")
