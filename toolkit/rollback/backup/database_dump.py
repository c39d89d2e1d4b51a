"""The database's part of a backup: a dump and, from the very same snapshot, the fingerprints that prove it.

The tables are locked (ACCESS SHARE: readers and writers go on) before the snapshot is taken, because a TRUNCATE after
it would yield an empty dump that calls itself successful. When somebody waits for an exclusive lock, a parallel dump
fails; then everything is let go, so that they get their turn, and one job tries again.
"""

import shutil
import time
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.adapters.pgtools import Dump, LockedOut, PgTools
from toolkit.adapters.postgres import Connection, Database, pid_of, sql
from toolkit.errors import BackupError, DatabaseError
from toolkit.playbook import Playbook
from toolkit.progress import Advance
from toolkit.rollback.backup.left_out import (
    Extension,
    SchemaRights,
    SequenceRecord,
    read_left_out,
    sequences,
)
from toolkit.rollback.backup.manifest import TableRecord
from toolkit.rollback.backup.measuring import GrowingFolder, Measure
from toolkit.rollback.backup.table_proofs import TableProofs, prove_tables
from toolkit.rollback.blocking import Blocker, BlockerWatch, Patience, sqlstate_of
from toolkit.rollback.relations import Relation, existing_schemas, relations

PLAIN, PACKED = 0, 1  # gzip levels
JOBS = 2
DUMP_WITHIN_S = 6 * 3600.0
OWN_SCHEMA = "toolkit"
LOOK_EVERY_S = 0.05
_LOCKED = ("55P03", "40P01")


@dataclass(frozen=True)
class Dumped:
    """What was dumped, and what the snapshot held, as a manifest tells it."""

    schemas: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    relations: tuple[Relation, ...]
    tables: dict[str, TableRecord]
    others: dict[str, TableRecord]
    unproved: tuple[str, ...]
    sequences: tuple[SequenceRecord, ...]
    extensions: tuple[Extension, ...]
    rights: tuple[SchemaRights, ...]
    roles: tuple[str, ...]
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
    """Dumps of one database, tried until its tables could be locked or `patience` is used up.

    `proofs_within_s` bounds the fingerprints of the tables that are not critical. `measured` holds what was measured of
    the data files while they were written.
    """

    def __init__(
        self,
        database: Database,
        playbook: Playbook,
        tools: PgTools,
        patience: Patience,
        *,
        proofs_within_s: float | None = None,
        advance: Advance = lambda _what, _done, _of: None,
    ) -> None:
        self._database, self._playbook, self._tools, self._patience = database, playbook, tools, patience
        self._proofs_within_s, self._advance = proofs_within_s, advance
        self._blockers: tuple[Blocker, ...] = ()
        self.measured: dict[Path, Measure] = {}

    def into(self, folder: Path, *, compression: int) -> Dumped:
        """Dump into `folder`, which is made. Raises BackupError; the folder may then hold a part.

        Two jobs at the first try, one from the second on. UsageError for a transaction pooler's URL.
        """
        self._database.require_session()
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
            counted = sequences(conn, schemas)
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
            left_out = read_left_out(conn, schemas)
            size = table_bytes(conn, tables) if compression == PLAIN else None
            with (
                ThreadPoolExecutor(2) as pool,
                self._tools.dump(
                    self._database,
                    folder,
                    schemas=schemas,
                    snapshot=snapshot,
                    jobs=jobs,
                    compression=compression,
                    lock_within_ms=10 * self._patience.lock_within_ms,
                ) as dump,
            ):
                proofs = self._prove_meanwhile(pool, dump, conn, catalog, GrowingFolder(folder), size)
        return Dumped(
            schemas=tuple(schemas),
            left_out=left_out.words,
            missing=(*(f"schema {schema}" for schema in missing), *(f"table {table}" for table in proofs.absent)),
            relations=tuple(catalog),
            tables=proofs.critical,
            others=proofs.others,
            unproved=proofs.unproved,
            sequences=counted,
            extensions=left_out.extensions,
            rights=left_out.rights,
            roles=left_out.roles,
            wal_position=position,
            jobs=jobs,
        )

    def _prove_meanwhile(
        self,
        pool: Executor,
        dump: Dump,
        conn: Connection,
        catalog: list[Relation],
        growing: GrowingFolder,
        size: int | None,
    ) -> TableProofs:
        """Take the fingerprints and measure the files while the dump is written, which mostly keeps one core busy."""
        dumping = pool.submit(dump.wait, DUMP_WITHIN_S)
        proving = pool.submit(prove_tables, conn, catalog, self._playbook, others_within_s=self._proofs_within_s)
        try:
            while not (dumping.done() and proving.done()):
                if dumping.done():
                    dumping.result()
                if proving.done():
                    proving.result()
                grown = growing.follow()
                self._advance("dumping the database", growing.bytes, size)
                if not grown:
                    under_way: list[Future[Any]] = [each for each in (dumping, proving) if not each.done()]
                    wait(under_way, LOOK_EVERY_S, FIRST_COMPLETED)
            dumping.result()
            self.measured = growing.measured()
            return proving.result()
        except BaseException:
            conn.cancel_safe()
            raise

    def _lock(self, conn: Connection, tables: list[Relation]) -> None:
        """All at once, before the snapshot: LOCK takes none by itself. Waits as long as the connection's limit."""
        names = sql.SQL(", ").join(table.identifier for table in tables)
        watch = BlockerWatch(self._database, pid_of(conn))
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


def table_bytes(conn: Connection, tables: list[Relation]) -> int:
    """Of the tables' rows on the server, indexes apart: about as much as a plain dump of them."""
    row = conn.execute(
        """
        SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[]))
        """,
        {"schemas": [each.schema for each in tables], "names": [each.name for each in tables]},
    ).fetchone()
    assert row is not None
    return int(row[0])
