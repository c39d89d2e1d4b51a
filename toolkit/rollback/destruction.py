"""What downs would destroy, counted on the live database: rows and values, so that a person can weigh them.

Read-only and bounded, in rows and in time, whatever the size of the data. What could not be counted says so.
"""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError
from toolkit.rollback.blocking import sqlstate_of
from toolkit.rollback.down_sql import Loss, LossKind, losses
from toolkit.rollback.migrations import Migration
from toolkit.rollback.relations import Relation, find_table, relations
from toolkit.rollback.situation import CountedLoss

COUNT_WITHIN_MS = 2000
COUNT_AT_MOST = 100_000
QUERY_CANCELED = "57014"


def count_losses(
    database: Database, migrations: Sequence[Migration], schemas: Sequence[str]
) -> tuple[CountedLoss, ...]:
    """What the downs of these migrations remove, in their order. Tables without a schema are looked up in `schemas`."""
    return tuple(
        _counted(database, migration.version, loss, schemas)
        for migration in migrations
        if migration.down
        for loss in losses(migration.down.statements)
    )


def _counted(database: Database, version: int, loss: Loss, schemas: Sequence[str]) -> CountedLoss:
    try:
        with database.reading(within_ms=COUNT_WITHIN_MS) as conn:
            conn.execute("SET LOCAL row_security = off")
            return _count(conn, version, loss, schemas)
    except DatabaseError as error:
        late = sqlstate_of(error) == QUERY_CANCELED
        why = f"not counted within {COUNT_WITHIN_MS / 1000:g} s" if late else f"not counted: {error.what}"
        return CountedLoss(version, loss, None, note=why)


def _count(conn: Connection, version: int, loss: Loss, schemas: Sequence[str]) -> CountedLoss:
    if loss.kind is LossKind.SCHEMA:
        tables = [each for each in relations(conn, loss.name) if each.stores_rows]
        counts = [_rows(conn, table, None) for table in tables]
        note = f"in {len(tables)} tables"
        return CountedLoss(version, loss, sum(counts), any(count >= COUNT_AT_MOST for count in counts), note)
    if loss.kind not in (LossKind.TABLE, LossKind.COLUMN, LossKind.VALUES, LossKind.ROWS):
        return CountedLoss(version, loss, None)
    table = find_table(conn, loss.name, schemas)
    if table is None or (loss.column and not _has_column(conn, table, loss.column)):
        return CountedLoss(version, loss, None, note="not there now")
    rows = _rows(conn, table, loss.column)
    note = "with a value" if loss.column else "at most" if loss.kind is LossKind.ROWS else ""
    return CountedLoss(version, loss, rows, rows >= COUNT_AT_MOST, note)


def _rows(conn: Connection, table: Relation, column: str | None) -> int:
    """Rows of a table, or those with a value in a column; COUNT_AT_MOST at most."""
    holding = sql.SQL("") if column is None else sql.SQL("WHERE {} IS NOT NULL").format(sql.Identifier(column))
    count = sql.SQL("SELECT count(*) FROM (SELECT FROM {} {} LIMIT %(most)s) AS counted")
    row = conn.execute(count.format(table.identifier, holding), {"most": COUNT_AT_MOST}).fetchone()
    assert row is not None
    return int(row[0])


def _has_column(conn: Connection, table: Relation, column: str) -> bool:
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT
            FROM pg_attribute a
            JOIN pg_class c ON c.oid = a.attrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = %(schema)s AND c.relname = %(table)s
              AND a.attname = %(column)s AND a.attnum > 0 AND NOT a.attisdropped
        )
        """,
        {"schema": table.schema, "table": table.name, "column": column},
    ).fetchone()
    return bool(row and row[0])
