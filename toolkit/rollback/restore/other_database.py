"""Another database on the same server: made like the live one, dropped, closed to everybody and opened again.

All of it from the maintenance database, because a session in a database is in the way of whatever is done to it.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import DatabaseError, RollbackError

MAINTENANCE = "postgres"
END_WITHIN_S = 5.0
LOOK_EVERY_S = 0.005


@dataclass(frozen=True)
class DatabaseState:
    """Whether a database is there and takes connections."""

    name: str
    open: bool


def maintenance(database: Database) -> Database:
    """The database from which others are renamed."""
    return database.named(MAINTENANCE)


def name_of(database: Database) -> str:
    """Its name, from its URL."""
    libpq = database.libpq()
    return libpq.get("PGDATABASE") or libpq.get("PGUSER") or MAINTENANCE


def states_of(conn: Connection, names: Collection[str]) -> dict[str, DatabaseState]:
    """Those of these databases that exist."""
    rows = conn.execute(
        "SELECT datname, datallowconn FROM pg_database WHERE datname = ANY (%(names)s)", {"names": list(names)}
    ).fetchall()
    return {row[0]: DatabaseState(*row) for row in rows}


def drop_database(database: Database, name: str) -> None:
    """Drop a copy, with whoever still loads into it. Safe to repeat."""
    with maintenance(database).singly() as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def create_beside(live: Database, copy: Database, name: str) -> list[str]:
    """Create an empty database like the live one: owner, encoding, locale, extensions. What is missing, in words."""
    with live.reading() as conn:
        row = conn.execute(
            """
            SELECT rolname, pg_encoding_to_char(encoding), datcollate, datctype,
                   (SELECT rolname FROM pg_roles
                    JOIN pg_namespace ON nspowner = pg_roles.oid WHERE nspname = 'public')
            FROM pg_database
            JOIN pg_roles ON pg_roles.oid = datdba
            WHERE datname = current_database()
            """
        ).fetchone()
        extensions = conn.execute(
            """
            SELECT extname, nspname
            FROM pg_extension
            JOIN pg_namespace ON pg_namespace.oid = extnamespace
            WHERE extname <> 'plpgsql'
            ORDER BY 1
            """
        ).fetchall()
    assert row is not None
    owner, encoding, collate, ctype, public = row
    create = """
    CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING {encoding}
    LC_COLLATE {collate} LC_CTYPE {ctype}
    """
    with maintenance(live).singly() as conn:
        conn.execute(
            sql.SQL(create).format(
                name=sql.Identifier(name),
                owner=sql.Identifier(owner),
                encoding=sql.Literal(encoding),
                collate=sql.Literal(collate),
                ctype=sql.Literal(ctype),
            )
        )
    if public:
        with copy.writing() as conn:
            conn.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(public)))
    return [problem for extension, schema in extensions if (problem := _extend(copy, extension, schema))]


def _extend(copy: Database, extension: str, schema: str) -> str:
    """Create one extension; why it could not be, or ''."""
    try:
        with copy.writing() as conn:
            conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            conn.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE").format(
                    sql.Identifier(extension), sql.Identifier(schema)
                )
            )
    except DatabaseError as error:
        return f"extension {extension} must be created by a superuser afterwards ({error.what})"
    return ""


def close_to_all(conn: Connection, name: str) -> None:
    """From now on nobody, a superuser neither, can connect to it; sessions that are there stay."""
    conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))


def open_to_all(conn: Connection, name: str) -> None:
    conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))


def end_sessions(conn: Connection, name: str, *, but: Collection[int] = ()) -> int:
    """End every session on a database but these, and see them gone. RollbackError when somebody cannot be ended."""
    deadline, ended = time.monotonic() + END_WITHIN_S, 0
    while True:
        conn.execute("SELECT pg_stat_clear_snapshot()")
        rows = conn.execute(
            """
            SELECT pid
            FROM pg_stat_activity
            WHERE datname = %(name)s AND pid <> ALL (%(but)s) AND pid <> pg_backend_pid()
              AND backend_type IN ('client backend', 'walsender')
            """,
            {"name": name, "but": list(but)},
        ).fetchall()
        if not rows:
            return ended
        for (pid,) in rows:
            ended += _terminate(conn, pid)
        if time.monotonic() > deadline:
            raise RollbackError(
                f"{len(rows)} sessions on {name} did not end in {END_WITHIN_S:g} s: pid {rows[0][0]}",
                state="nothing was renamed",
                next="end them as a superuser, then run the plan again",
            )
        time.sleep(LOOK_EVERY_S)


def _terminate(conn: Connection, pid: int) -> bool:
    """False for a session that we may not end: whether it stays is seen later."""
    row = conn.execute(
        """
        SELECT pg_terminate_backend(pid)
        FROM pg_stat_activity
        LEFT JOIN pg_roles ON pg_roles.oid = usesysid
        WHERE pid = %(pid)s AND NOT coalesce(rolsuper AND usename <> current_user, false)
        """,
        {"pid": pid},
    ).fetchone()
    return bool(row and row[0])
