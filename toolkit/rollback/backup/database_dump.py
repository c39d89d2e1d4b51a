"""The database's part of a backup: a dump and, from the very same snapshot, the fingerprints that prove it.

The tables are locked (ACCESS SHARE: readers and writers go on) before the snapshot is taken, because a TRUNCATE after
it would yield an empty dump that calls itself successful. When somebody waits for an exclusive lock, a parallel dump
fails; then everything is let go, so that they get their turn, and one job tries again.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from toolkit.adapters.pgtools import LockedOut, PgTools
from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.errors import BackupError, DatabaseError
from toolkit.playbook import Playbook
from toolkit.rollback.backup.manifest import TableRecord
from toolkit.rollback.blocking import Blocker, BlockerWatch, Patience, sqlstate_of
from toolkit.rollback.relations import Relation, count_rows, existing_schemas, find_table, relations, storing_parts
from toolkit.verify.fingerprints import fingerprint

JOBS = 2
DUMP_WITHIN_S = 6 * 3600.0
OWN_SCHEMA = "toolkit"
FINGERPRINTS_SINCE = 140000  # hash_record_extended
_LOCKED = ("55P03", "40P01")


@dataclass(frozen=True)
class Dumped:
    """What was dumped, and what the snapshot held."""

    schemas: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    relations: tuple[Relation, ...]
    tables: dict[str, TableRecord]
    wal_position: str | None
    jobs: int


class TablesChanged(BackupError):
    """Tables came or went between their locks and the snapshot."""


def wanted_schemas(conn: Connection, playbook: Playbook) -> tuple[list[str], list[str]]:
    """Schemas to back up, the toolkit's own among them, and those of the playbook that are not there."""
    named = playbook.database.schemas
    there = existing_schemas(conn, [*named, OWN_SCHEMA])
    return there, [schema for schema in named if schema not in there]


class DatabaseDump:
    """Dumps of one database, tried until its tables could be locked or `patience` is used up."""

    def __init__(self, database: Database, playbook: Playbook, tools: PgTools, patience: Patience) -> None:
        self._database, self._playbook, self._tools, self._patience = database, playbook, tools, patience
        self._blockers: tuple[Blocker, ...] = ()

    def into(self, folder: Path, *, compression: int) -> Dumped:
        """Dump into `folder`, which is made. Raises BackupError; the folder may then hold a part.

        Two jobs at the first try, one from the second on. UsageError for a transaction pooler's URL.
        """
        self._database.require_direct()
        deadline, jobs = time.monotonic() + self._patience.give_up_after_s, JOBS
        for pause in self._patience.pauses():
            trouble: BackupError | DatabaseError
            try:
                return self._once(folder, compression, jobs)
            except (LockedOut, TablesChanged) as error:
                trouble = error
            except DatabaseError as error:
                if sqlstate_of(error) not in _LOCKED:
                    raise
                trouble = error
            jobs = 1
            shutil.rmtree(folder, ignore_errors=True)
            if time.monotonic() > deadline:
                raise self._locked_out(trouble) from trouble
            time.sleep(pause)
        raise AssertionError("pauses have no end")

    def _once(self, folder: Path, compression: int, jobs: int) -> Dumped:
        with self._database.reading() as conn:
            schemas, missing = wanted_schemas(conn, self._playbook)
            tables = _lockable(relations(conn, schemas))
            left_out = _left_out(conn, schemas)
        if not tables:
            raise BackupError(
                f"There is no table in {', '.join(self._playbook.database.schemas)}", target=self._database.target
            )
        with self._database.reading(within_ms=0) as conn:
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            self._lock(conn, tables)
            snapshot, position = _snapshot(conn)
            catalog = relations(conn, schemas)
            if _lockable(catalog) != tables:
                raise TablesChanged("Tables came or went while they were being locked", target=self._database.target)
            with self._tools.dump(
                self._database,
                folder,
                schemas=schemas,
                snapshot=snapshot,
                jobs=jobs,
                compression=compression,
                lock_within_ms=10 * self._patience.lock_within_ms,
            ) as dump:
                counted, absent = _count_critical(conn, self._playbook)
                dump.wait(DUMP_WITHIN_S)
        return Dumped(
            schemas=tuple(schemas),
            left_out=tuple(left_out),
            missing=(*(f"schema {schema}" for schema in missing), *(f"table {table}" for table in absent)),
            relations=tuple(catalog),
            tables=counted,
            wal_position=position,
            jobs=jobs,
        )

    def _lock(self, conn: Connection, tables: list[Relation]) -> None:
        """All at once, before the snapshot: LOCK takes none by itself. Waits as long as the connection's limit."""
        names = sql.SQL(", ").join(table.identifier for table in tables)
        watch = BlockerWatch(self._database, conn.info.backend_pid)
        try:
            with watch:
                conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
        finally:
            self._blockers = watch.seen or self._blockers

    def _locked_out(self, trouble: BackupError | DatabaseError) -> BackupError:
        named = "; ".join(map(str, self._blockers)) or "nobody could be seen"
        return BackupError(
            f"The tables could not be locked in {self._patience.give_up_after_s:g} s ({trouble.what}). "
            f"In the way: {named}",
            target=self._database.target,
            next="let it end, or end it, then repeat the command",
        )


def _lockable(catalog: list[Relation]) -> list[Relation]:
    return [each for each in catalog if each.kind in ("r", "p")]


def _snapshot(conn: Connection) -> tuple[str, str | None]:
    row = conn.execute(
        """
        SELECT pg_export_snapshot(),
               CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text
        """
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _count_critical(conn: Connection, playbook: Playbook) -> tuple[dict[str, TableRecord], list[str]]:
    """The critical tables as the snapshot has them, by the playbook's names, and those that are not there."""
    found: dict[str, TableRecord] = {}
    absent = []
    for name in playbook.database.critical_tables:
        table = find_table(conn, name.split("."), playbook.database.schemas)
        if table is None:
            absent.append(name)
            continue
        parts = storing_parts(conn, table)
        if conn.info.server_version >= FINGERPRINTS_SINCE:
            taken = fingerprint(conn, f"{table.schema}.{table.name}")
            found[name] = TableRecord(
                table=table, parts=parts, rows=taken.rows, columns=taken.columns, digest=taken.digest
            )
        else:
            found[name] = TableRecord(table=table, parts=parts, rows=count_rows(conn, table))
    return found, absent


def _left_out(conn: Connection, schemas: list[str]) -> list[str]:
    """Of the database, what is in none of these schemas, in words."""
    rows = conn.execute(
        """
        SELECT 'schema ' || nspname
        FROM pg_namespace
        WHERE nspname <> ALL (%(schemas)s) AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT 'extension ' || extname
        FROM pg_extension
        WHERE extname <> 'plpgsql'
        UNION ALL
        SELECT 'large objects'
        WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
        ORDER BY 1
        """,
        {"schemas": schemas},
    ).fetchall()
    return [row[0] for row in rows]
