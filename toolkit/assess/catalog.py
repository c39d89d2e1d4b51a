"""What the catalogs say of size and of age, without reading a row of any table of the service."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables import choose, find_state_tables

# the columns in which migration tools keep when each migration was applied
APPLIED_AT = (
    "run_on",
    "tstamp",
    "installed_on",
    "finished_at",
    "committed_at",
    "applied_at",
    "executed_at",
    "dateexecuted",
    "migration_time",
)


@dataclass(frozen=True)
class TableSize:
    """A table of the service by its statistics: `rows` None where it was never analysed; `bytes` with its indexes."""

    name: str
    rows: int | None
    bytes: int


def table_sizes(conn: Connection, schemas: Sequence[str]) -> Sequence[TableSize]:
    """The tables of these schemas, the largest first; as of the latest VACUUM or ANALYZE of each."""
    rows = conn.execute(
        """
        SELECT nspname || '.' || relname,
               CASE WHEN reltuples >= 0 THEN reltuples::bigint END,
               (relpages + coalesce(indexed.pages, 0)) * current_setting('block_size')::bigint
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        LEFT JOIN LATERAL (
            SELECT sum(index.relpages) AS pages
            FROM pg_index
            JOIN pg_class AS index ON index.oid = indexrelid
            WHERE indrelid = pg_class.oid
        ) AS indexed ON true
        WHERE nspname = ANY(%(schemas)s) AND relkind = 'r'
        ORDER BY 3 DESC, 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [TableSize(name, rows, int(size)) for name, rows, size in rows]


def migrated_at(conn: Connection, state_table: str) -> datetime | None:
    """When the newest migration was recorded: by the tool, or by the server where it tracks commits. None: not kept."""
    found = choose(find_state_tables(conn, state_table), state_table)
    table = sql.Identifier(found.schema, found.table)
    kept = conn.execute(
        """
        SELECT attname
        FROM pg_attribute
        WHERE attrelid = %(table)s::text::regclass AND attname = ANY(%(names)s)
          AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
        LIMIT 1
        """,
        {"table": table.as_string(conn), "names": list(APPLIED_AT)},
    ).fetchone()
    if kept is not None:
        query = sql.SQL("SELECT max({column})::timestamptz FROM {table}")
        row = conn.execute(query.format(column=sql.Identifier(kept[0]), table=table)).fetchone()
        return row[0] if row else None
    if conn.execute("SELECT current_setting('track_commit_timestamp')").fetchone() != ("on",):
        return None
    row = conn.execute(
        sql.SQL("SELECT max(pg_xact_commit_timestamp(xmin)) FROM {table}").format(table=table)
    ).fetchone()
    return row[0] if row else None
