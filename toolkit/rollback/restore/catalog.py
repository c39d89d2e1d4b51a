"""Small questions to the catalog, and dropping what a restore made: by the names that only a restore gives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.rollback.blocking import Blocker
from toolkit.rollback.statement_text import without_values


@contextmanager
def snapshot_of(database: Database) -> Iterator[str]:
    """A snapshot that holds as long as the block does."""
    with database.reading(within_ms=0) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield row[0]


def holders_of(conn: Connection, schemas: Sequence[str], *, older_than_ms: int) -> tuple[Blocker, ...]:
    """Who has held a lock on a table of these schemas for longer than that, the oldest transaction first.

    A watch that looks while we wait misses a short wait; this is asked when the wait is over.
    """
    rows = conn.execute(
        """
        SELECT DISTINCT pid, coalesce(application_name, 'a prepared transaction'), coalesce(state, ''),
               extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age, coalesce(query, '')
        FROM pg_locks
        JOIN pg_class ON pg_class.oid = relation
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        LEFT JOIN pg_stat_activity USING (pid)
        WHERE nspname = ANY (%(schemas)s) AND granted AND pid IS DISTINCT FROM pg_backend_pid()
          AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND coalesce(clock_timestamp() - xact_start > make_interval(secs => %(ms)s / 1000.0), true)
        ORDER BY age DESC NULLS FIRST
        """,
        {"schemas": list(schemas), "ms": older_than_ms},
    ).fetchall()
    return tuple(Blocker(pid, name, state, age, without_values(query)) for pid, name, state, age, query in rows)


def root_tables(conn: Connection, schema: str) -> list[tuple[str, bool]]:
    """Tables that are no partitions, and whether each is partitioned; an extension's left out."""
    rows = conn.execute(
        """
        SELECT relname, relkind = 'p'
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relkind IN ('r', 'p') AND NOT relispartition
          AND NOT EXISTS (SELECT FROM pg_depend
                          WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
        ORDER BY 1
        """,
        {"schema": schema},
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def schemas_named(conn: Connection, prefix: str) -> list[str]:
    """Schemas of that name, or whose name goes on after it with an underscore."""
    rows = conn.execute(
        """
        SELECT nspname
        FROM pg_namespace
        WHERE nspname = %(prefix)s OR starts_with(nspname::text, %(prefix)s || '_')
        ORDER BY 1
        """,
        {"prefix": prefix},
    ).fetchall()
    return [row[0] for row in rows]


def drop_schemas(database: Database, prefix: str, *, guard: Callable[[Connection], None]) -> list[str]:
    """Drop the schemas of a copy, with all that is in them and nothing that hangs on them from outside."""
    with database.writing() as conn:
        guard(conn)
        return drop_named(conn, prefix)


def drop_named(conn: Connection, prefix: str) -> list[str]:
    """The same, in the caller's transaction."""
    found = schemas_named(conn, prefix)
    if found:
        names = sql.SQL(", ").join(map(sql.Identifier, found))
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(names))
    return found
