"""Who holds a migration tool's lock: its advisory lock, or the state table itself. It asks the catalog only."""

import zlib
from collections.abc import Sequence

from toolkit.adapters.postgres import Connection
from toolkit.adapters.state_tables.recorded import Holder

NODE_PG_MIGRATE = 7241865325823964
PRISMA = 72707369
SQITCH = 75474063
GOOSE = 5887940537704921958  # crc64 of "goose"
FLYWAY = int.from_bytes(b"Flyway", "big")
_GOLANG_SALT = 1486364155
_ATLAS_NAME = "atlas_migrate_execute"


def golang_migrate_keys(database: str, schema: str, table: str) -> tuple[int, int]:
    """Both that golang-migrate takes: its command line (Open) names the database by its URL's path, `/churn`, and a
    program that hands it a connection (WithInstance) as the server does, `churn`."""
    return golang_migrate_key(f"/{database}", schema, table), golang_migrate_key(database, schema, table)


def golang_migrate_key(database: str, schema: str, table: str) -> int:
    """As golang-migrate's database/util.go makes it: the CRC-32 of the three names, times a salt, in 32 bits."""
    crc = zlib.crc32("\0".join((schema, table, database)).encode())
    return crc * _GOLANG_SALT % 2**32


def flyway_key(schema: str, table: str) -> int:
    """As PostgreSQLAdvisoryLockTemplate makes it: a number for "Flyway" plus Java's hash of the table's quoted name."""
    value = 0
    for unit in f'"{schema}"."{table}"'.encode("utf-16-be")[1::2]:
        value = (value * 31 + unit) % 2**32
    return FLYWAY + (value - 2**32 if value >= 2**31 else value)


def atlas_key() -> int:
    """FNV-1, 32 bits, of the lock's default name (sql/postgres/driver.go)."""
    value = 2166136261
    for byte in _ATLAS_NAME.encode():
        value = value * 16777619 % 2**32 ^ byte
    return value


def holders(conn: Connection, keys: Sequence[int], schema: str, table: str) -> tuple[Holder, ...]:
    """Other sessions on this database that hold one of these advisory locks, or have changed or locked the table."""
    rows = conn.execute(
        """
        SELECT DISTINCT ON (activity.pid)
               activity.pid,
               coalesce(activity.application_name, ''),
               coalesce(activity.xact_start, activity.backend_start),
               CASE lock.locktype
                   WHEN 'advisory' THEN 'advisory lock ' || ((lock.classid::bigint << 32) | lock.objid::bigint)
                   ELSE lock.mode || ' on the state table'
               END
        FROM pg_locks AS lock
        JOIN pg_stat_activity AS activity USING (pid)
        WHERE lock.granted
          AND activity.pid <> pg_backend_pid()
          AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (lock.locktype = 'advisory' AND lock.objsubid = 1
               AND ((lock.classid::bigint << 32) | lock.objid::bigint) = ANY (%(keys)s::bigint[])
               OR lock.locktype = 'relation'
               AND lock.mode IN ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                                 'AccessExclusiveLock')
               AND lock.relation = (
                   SELECT pg_class.oid
                   FROM pg_class
                   JOIN pg_namespace ON pg_namespace.oid = relnamespace
                   WHERE nspname = %(schema)s AND relname = %(table)s))
        ORDER BY activity.pid, lock.locktype
        """,
        {"keys": list(keys), "schema": schema, "table": table},
    ).fetchall()
    return tuple(Holder(*row) for row in rows)
