"""Foreign keys of the restored tables: merged rows whose parent will not be there, and parents that cannot go."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.standing_rows import Part, final_rows, mark_ids, spelled, untouched
from toolkit.rollback.merge.tables import Table

CASCADES = ("c", "n", "d")


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


def references_of(conn: Connection, part: Part, tables: Sequence[Table]) -> list[Reference]:
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


def refuse_orphans(conn: Connection, each: Reference) -> int:
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
    return mark_ids(conn, each.part.table, each.name, found)


def refuse_deletions(conn: Connection, each: Reference) -> int:
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
    return mark_ids(conn, parent, each.name, found)


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
    return sql.SQL("(SELECT ({}) FROM (SELECT {}) AS rows)").format(spelled(part.holds), sql.SQL(", ").join(named))


def _rows_nowhere(each: Reference) -> sql.Composable:
    return sql.SQL("SELECT * FROM {} WHERE false").format(each.parent)
