"""The rows that will stand once a merge is written, as a query, and marking those that may not.

What the checks share: each asks which of these rows some constraint would refuse, and marks them. Nothing but the
temporary tables of the merge is changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.merge.tables import Table


@dataclass(frozen=True)
class Part:
    """A table, or one partition of it with constraints of its own. `holds` is the partition's bound; '' for all."""

    table: Table
    rows: sql.Composable
    oid: int
    holds: str


def parts_of(conn: Connection, table: Table) -> Iterator[Part]:
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
    generated = [sql.SQL("{} AS {}").format(spelled(said), sql.Identifier(name)) for name, said in table.generated]
    return sql.SQL("SELECT stored.*, {generated} FROM ({stored}) AS stored").format(
        generated=sql.SQL(", ").join(generated), stored=stored
    )


def untouched(table: Table, row: str) -> sql.Composable:
    """That a row of the restored table stays as it is."""
    return sql.SQL("""NOT EXISTS (
        SELECT FROM {merging} AS touched
        WHERE touched.refused IS NULL AND touched.kind IN ('both', 'gone') AND {same}
    )""").format(merging=table.merging, same=table.same_key("touched", row))


def mark(conn: Connection, table: Table, constraint: str, violates: sql.Composable) -> int:
    found = sql.SQL('SELECT "merge:id" FROM ({}) AS rows WHERE {}').format(final_rows(table), violates)
    return mark_ids(conn, table, constraint, found)


def mark_ids(conn: Connection, table: Table, constraint: str, found: sql.Composable) -> int:
    query = sql.SQL("UPDATE {} SET refused = {} WHERE refused IS NULL AND id IN ({})").format(
        table.merging, sql.Literal(constraint), found
    )
    return conn.execute(query).rowcount


def spelled(text: str) -> sql.Composable:
    """An expression that the server itself has spelled."""
    return sql.SQL(text)
