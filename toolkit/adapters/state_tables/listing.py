"""Tools that list what is applied, a row for each, and keep no failure: dbmate, diesel, goose, Knex, Drizzle, …"""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection, sql
from toolkit.adapters.state_tables.locks import GOOSE, NODE_PG_MIGRATE
from toolkit.adapters.state_tables.recorded import Holder, Reader, Recorded, listed


class Dbmate(Reader):
    """A row for each version, ordered as strings."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT version::text FROM {}").format(sql.Identifier(schema, table))
        return listed(sorted(str(version) for (version,) in conn.execute(query)))


class Diesel(Dbmate):
    """As dbmate: a row for each version, its dashes removed, ordered as strings."""


class Supabase(Reader):
    """A row for each version, with the statements that were really applied."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT version, array_to_string(statements, E';\\n') FROM {}")
        rows = sorted(conn.execute(query.format(sql.Identifier(schema, table))).fetchall())
        scripts = {str(version): str(script) for version, script in rows if script is not None}
        return listed([str(version) for version, _ in rows], scripts=scripts)


class NodePgMigrate(Reader):
    """A row for each file, by its name without the extension, in the order in which they ran."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT name FROM {} ORDER BY run_on, id").format(sql.Identifier(schema, table))
        return listed([str(name) for (name,) in conn.execute(query)])

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return (NODE_PG_MIGRATE,)


class Goose(Reader):
    """A row for each run; the latest one of a version counts. Version 0 is goose's own beginning."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL(
            """
            SELECT version_id
            FROM (SELECT DISTINCT ON (version_id) version_id, is_applied FROM {} ORDER BY version_id, id DESC) AS latest
            WHERE is_applied AND version_id > 0
            ORDER BY version_id
            """
        )
        return listed([str(version) for (version,) in conn.execute(query.format(sql.Identifier(schema, table)))])

    def lock_keys(self, database: str, schema: str, table: str) -> Sequence[int]:
        return (GOOSE,)


class Knex(Reader):
    """A row for each file. Its lock is a row of a second table, which a process that died leaves locked."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT name FROM {} ORDER BY id").format(sql.Identifier(schema, table))
        return listed([str(name) for (name,) in conn.execute(query)], locked_by=self._locked(conn, schema, table))

    def _locked(self, conn: Connection, schema: str, table: str) -> tuple[Holder, ...]:
        lock = f"{table}_lock"
        if not there(conn, schema, lock):
            return ()
        query = sql.SQL("SELECT count(*) FROM {} WHERE is_locked = 1").format(sql.Identifier(schema, lock))
        row = conn.execute(query).fetchone()
        assert row is not None
        said = f"is_locked in {schema}.{lock}, which outlives whoever set it"
        return (Holder(None, "a run of Knex", None, said),) if row[0] else ()


class Drizzle(Reader):
    """A row for each file: the moment of its journal entry (milliseconds since 1970) and the SHA-256 of the file."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        query = sql.SQL("SELECT created_at::text, hash FROM {} ORDER BY created_at, id")
        rows = conn.execute(query.format(sql.Identifier(schema, table))).fetchall()
        return listed([str(when) for when, _ in rows], checksums={str(when): str(digest) for when, digest in rows})


def there(conn: Connection, schema: str, table: str) -> bool:
    """Whether there is a table of that name."""
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = %(schema)s AND relname = %(table)s
        )
        """,
        {"schema": schema, "table": table},
    ).fetchone()
    return row == (True,)
