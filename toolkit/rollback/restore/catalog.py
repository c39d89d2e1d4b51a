"""Small questions to the catalog, and dropping what a restore made: by the names that only a restore gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from toolkit.adapters.postgres import Connection, Database, sql


@contextmanager
def snapshot_of(database: Database) -> Iterator[str]:
    """A snapshot that holds as long as the block does."""
    with database.reading(within_ms=0) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield row[0]


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
        found = schemas_named(conn, prefix)
        if found:
            names = sql.SQL(", ").join(map(sql.Identifier, found))
            conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(names))
    return found
