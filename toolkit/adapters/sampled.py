"""Is the data whole, asked so that it costs little: rows without a parent in a sample, tables that lost their rows.

Each question reads a bounded number of rows, whatever the table's size. It reads only.
"""

from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.readings import relation

SAMPLED_ROWS = 2000
COUNTED_ROWS = 10_000


@dataclass(frozen=True)
class Orphans:
    """Of `sampled` values of a reference, so many were not found where they point to."""

    sampled: int
    orphaned: int


@dataclass(frozen=True)
class Remaining:
    """Rows of a table: `rows` counted, up to COUNTED_ROWS, else as the statistics say. `sure`: it was counted, or the
    statistics are of an analysis; after a crash they begin at nothing."""

    rows: int
    sure: bool


def orphans(conn: Connection, child: str, parent: str) -> Orphans:
    """Of a sample of `child` (`table.column`), the values that `parent` does not hold."""
    (table, column), (parent_table, parent_column) = child.rsplit(".", 1), parent.rsplit(".", 1)
    query = sql.SQL(
        """
        SELECT count(*), count(*) FILTER (WHERE parent.key IS NULL)
        FROM (
            SELECT {column} AS value
            FROM {table} TABLESAMPLE SYSTEM (
                (SELECT least(100, greatest(0.001, 100 * %(sampled)s / greatest(reltuples, 1)::float8))
                 FROM pg_class WHERE oid = %(table)s::text::regclass))
            WHERE {column} IS NOT NULL
            LIMIT %(most)s
        ) AS sample
        LEFT JOIN LATERAL (
            SELECT {parent_column} AS key FROM {parent} WHERE {parent_column} = sample.value LIMIT 1
        ) AS parent ON true
        """
    ).format(
        column=sql.Identifier(column),
        table=relation(table),
        parent=relation(parent_table),
        parent_column=sql.Identifier(parent_column),
    )
    given = {"sampled": SAMPLED_ROWS, "most": 2 * SAMPLED_ROWS, "table": relation(table).as_string(conn)}
    row = conn.execute(query, given).fetchone()
    assert row is not None
    return Orphans(*row)


def remaining(conn: Connection, table: str) -> Remaining:
    """About how many rows a table has: counted where they are few, else by the server's statistics."""
    query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT %(most)s) AS first").format(relation(table))
    counted = conn.execute(query, {"most": COUNTED_ROWS}).fetchone()
    assert counted is not None
    if counted[0] < COUNTED_ROWS:
        return Remaining(counted[0], sure=True)
    row = conn.execute(
        """
        SELECT greatest(n_live_tup, %(most)s), coalesce(last_analyze, last_autoanalyze) IS NOT NULL
        FROM pg_stat_user_tables
        WHERE relid = %(table)s::text::regclass
        """,
        {"table": relation(table).as_string(conn), "most": COUNTED_ROWS},
    ).fetchone()
    return Remaining(*row) if row else Remaining(COUNTED_ROWS, sure=False)
