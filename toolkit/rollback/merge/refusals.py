"""What the restored tables' constraints would not take, found before anything is written, so that nothing aborts.

A row that some constraint refuses is left as the backup has it and listed. Refusing one may make room or take a parent
away, so the checks are repeated until none finds anything. Nothing but the temporary tables of the merge is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.conflicts import LEFT_LIVE
from toolkit.rollback.merge.references import Reference, references_of, refuse_deletions, refuse_orphans
from toolkit.rollback.merge.rules import Rules
from toolkit.rollback.merge.standing_rows import Part, mark, parts_of, spelled
from toolkit.rollback.merge.tables import Table
from toolkit.rollback.merge.unique import Excluding, excluding_of, refuse_double, take_turns

ROUNDS = 50


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
        parts = {table.name: list(parts_of(conn, table)) for table in tables}
        every = [part for table in tables for part in parts[table.name]]
        excluding = [each for part in every for each in excluding_of(conn, part)]
        references = [each for part in every for each in references_of(conn, part, tables)]
        return cls(tuple(tables), parts, tuple(excluding), tuple(references))

    def refuse(self, conn: Connection) -> None:
        for table in self.tables:
            _refuse_values(conn, table, self.parts[table.name])
        for _ in range(ROUNDS):
            found = sum(refuse_double(conn, each) for each in self.excluding)
            found += sum(refuse_orphans(conn, each) + refuse_deletions(conn, each) for each in self.references)
            found += sum(take_turns(conn, table, self.excluding) for table in self.tables)
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


def _refuse_values(conn: Connection, table: Table, parts: Sequence[Part]) -> None:
    """Missing values, checks, and rows for which there is no partition."""
    for column in table.columns:
        if column.not_null:
            mark(conn, table, f"not null {column.name}", sql.SQL("{} IS NULL").format(column.identifier))
    for name in table.wanted:
        mark(conn, table, f"not null {name}", sql.SQL("\"merge:kind\" = 'new'"))
    for part in parts:
        inside = spelled(part.holds) if part.holds else sql.SQL("true")
        for constraint, said in _checks(conn, part):
            mark(conn, table, constraint, sql.SQL("({}) AND (({}) IS FALSE)").format(inside, spelled(said)))
    leaves = [part for part in parts if part.holds]
    if leaves:
        held = sql.SQL(" OR ").join(sql.SQL("({})").format(spelled(leaf.holds)) for leaf in leaves)
        mark(conn, table, "no partition", sql.SQL("({}) IS NOT TRUE").format(held))


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
