"""Going up, the way golang-migrate does it, so that its state table reads here as it does in production.

Owns the order: say version N and dirty, run file N as one statement string in one transaction, say clean. A file that
fails leaves the schema as it was and the state table at N, dirty.
"""

import re
import shutil
from pathlib import Path

import psycopg
from psycopg.pq import TransactionStatus

from toolkit.errors import DatabaseError, UsageError

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate_up(conn: psycopg.Connection, to: int, folder: Path | None = None) -> list[int]:
    """Apply every migration above the recorded version up to `to`; the versions applied, oldest first.

    `folder` None: the service's own.

    `conn` is the schema owner's and idle. Every step is committed. Raises UsageError for an unknown or lower version
    and a connection in a transaction, DatabaseError for a dirty state table and for a migration that fails (the
    server's own error is its cause).
    """
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        raise UsageError("Migrations need a connection that is not inside a transaction", next="commit first")
    files = _up_files(folder or MIGRATIONS)
    with conn.transaction():
        current = _recorded_version(conn)
    if to not in files or to < current:
        raise UsageError(
            f"Cannot migrate up to {to}: the schema is at {current} and there are {min(files)} to {max(files)}"
        )
    steps = [version for version in sorted(files) if current < version <= to]
    for version in steps:
        _apply(conn, version, files[version])
    return steps


def migrate_partly(conn: psycopg.Connection, version: int, count: int, folder: Path) -> int:
    """Die after the first `count` statements of one migration, each of which was committed by itself.

    That is what a tool leaves that runs a file without a transaction: the version before it must be applied, and the
    state table says `version`, dirty. The file's statements stand apart by an empty line. How many statements ran.
    """
    script = _up_files(folder)[version].read_text()
    _record(conn, version, dirty=True)
    conn.autocommit = True
    for statement in script.strip().split("\n\n")[:count]:
        conn.execute(statement.encode())
    return count


def release_migrations(folder: Path, own: Path) -> None:
    """Replace the migrations of a sandbox above those that a release brings: what `own` holds, from its first version.

    A release that numbers its migration 009 was made on 008, and knows no other 009.
    """
    first = min(_up_files(own))
    for file in folder.glob("*.sql"):
        if int(file.name.partition("_")[0]) >= first:
            file.unlink()
    for file in own.glob("*.sql"):
        shutil.copy(file, folder)


def _up_files(folder: Path) -> dict[int, Path]:
    found = (re.fullmatch(r"(\d+)_\w+\.up\.sql", path.name) for path in folder.iterdir())
    return {int(match[1]): folder / match[0] for match in found if match}


def _recorded_version(conn: psycopg.Connection) -> int:
    """The version in the state table, which is made where it is missing; 0 when it is empty."""
    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS schema_migrations (
            version bigint NOT NULL PRIMARY KEY,
            dirty boolean NOT NULL
        )
        """
    )
    row = conn.execute("SELECT version, dirty FROM schema_migrations").fetchone()
    if row is None:
        return 0
    version, dirty = row
    if dirty:
        raise DatabaseError(
            f"The state table says version {version}, dirty",
            state="nothing was done",
            next="find out how far that migration came, correct the state table, then migrate",
        )
    return int(version)


def _apply(conn: psycopg.Connection, version: int, file: Path) -> None:
    _record(conn, version, dirty=True)
    try:
        with conn.transaction():
            conn.execute(file.read_bytes())
    except psycopg.Error as error:
        raise DatabaseError(
            f"Migration {file.name} failed: {error.diag.message_primary or type(error).__name__}",
            state=f"the schema is as before, the state table says version {version}, dirty",
        ) from error
    _record(conn, version, dirty=False)


def _record(conn: psycopg.Connection, version: int, *, dirty: bool) -> None:
    with conn.transaction():
        conn.execute("TRUNCATE schema_migrations")
        conn.execute(
            "INSERT INTO schema_migrations (version, dirty) VALUES (%(version)s, %(dirty)s)",
            {"version": version, "dirty": dirty},
        )
