"""A copy beside production, while production serves: loaded under other names, verified there, only then called whole.

By way of schemas (and for a reload) the source is restored on a scratch server, renamed there, dumped, and loaded into
the live database as `restored_<mark>_<schema>`; by way of databases it is restored into `restored_<mark>` on the same
server. What a killed run left is dropped and made again. It never touches a live schema.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import Database, sql
from toolkit.adapters.readings import exists
from toolkit.errors import BackupError, DatabaseError
from toolkit.playbook import pg_bindir
from toolkit.rollback.backup.foreign import describe_dump, require_usable
from toolkit.rollback.backup.manifest import DATABASE_FOLDER
from toolkit.rollback.blocking import sqlstate_of
from toolkit.rollback.plan import Way
from toolkit.rollback.relations import existing_schemas
from toolkit.rollback.restore.catalog import drop_schemas, root_tables, snapshot_of
from toolkit.rollback.restore.exchange import set_aside
from toolkit.rollback.restore.names import mark_of, restored_name
from toolkit.rollback.restore.other_database import create_beside, drop_database
from toolkit.rollback.restore.other_schemas import held_beside
from toolkit.rollback.restore.records import Restored, keep_restored, prepare
from toolkit.rollback.restore.source_reading import Source, creates_public
from toolkit.rollback.restore.verification import Content, content_of, require_equal, require_manifest
from toolkit.rollback.scratch import Scratch, scratch_server
from toolkit.rollback.steps.doing import Surroundings

DUMP_WITHIN_S = 6 * 3600.0
JOBS = 2
CLEARED_WITHIN_S, LOOK_EVERY_S = 30.0, 0.2
_BUSY = ("55P03", "40P01", "55006")


@dataclass(frozen=True)
class Beside:
    """One copy of one source for one incident."""

    around: Surroundings
    source: Source
    way: Way

    @property
    def mark(self) -> str:
        return mark_of(self.around.incident.id, str(self.source.path), self.around.plan.turn)

    @property
    def database(self) -> Database:
        return self.around.systems.database

    @property
    def copy(self) -> Database:
        """The database in which the copy stands."""
        return self.database.named(restored_name(self.mark)) if self.way == "databases" else self.database

    def places(self, schemas: Sequence[str]) -> dict[str, str]:
        """The application's schema → where its copy stands."""
        by_name = self.way == "databases"
        return {schema: schema if by_name else restored_name(self.mark, schema) for schema in schemas}

    def restore(self) -> Restored:
        """Restore and verify; what is kept of it. Raises BackupError and leaves no copy where it is not as it was."""
        self._begin()
        try:
            schemas, evidence = self._load_database() if self.way == "databases" else self._load_schemas()
        except BackupError:
            clear_copy(self.around, self.mark, self.way)
            raise
        whole = Restored(self.mark, str(self.source.path), self.source.sha256, self.way, "whole", schemas, evidence)
        with self.database.writing() as conn:
            self.around.fence.guard(conn)
            keep_restored(conn, whole)
        return whole

    def _begin(self) -> None:
        wanted = tuple(self.around.systems.playbook.database.schemas)
        begun = Restored(self.mark, str(self.source.path), self.source.sha256, self.way, "begun", wanted)
        with self.database.writing() as conn:
            self.around.fence.guard(conn)
            prepare(conn)
            keep_restored(conn, begun)
        clear_copy(self.around, self.mark, self.way)

    # In other schemas of the live database -----------------------------------------------------------------------

    def _load_schemas(self) -> tuple[tuple[str, ...], str]:
        with scratch_server(like=self.database.identity()) as scratch:
            origin = self._on_scratch(scratch)
            schemas = self._require_schemas(origin)
            places = self.places(schemas)
            with origin.writing() as conn:
                for schema in schemas:
                    set_aside(conn, schema, places[schema])
            with origin.reading(within_ms=0) as conn:
                expected = content_of(conn, places)
            with self._private_folder() as folder:
                self._dump(PgTools(scratch.server.binaries), origin, list(places.values()), folder / "copy")
                self.around.advance("loading beside production", 0, None)
                PgTools.found(pg_bindir()).restore(
                    self.database, folder / "copy", jobs=JOBS, exit_on_error=True, advance=self.around.advance
                )
        self._analyze(places)
        self.around.advance("verifying beside production", 0, None)
        return schemas, self._verified(places, expected)

    def _analyze(self, places: Mapping[str, str]) -> None:
        """Without statistics the first queries after the swap are planned blindly, while everybody is waiting."""
        self.around.advance("analyzing beside production", 0, None)
        with self.database.writing() as conn:
            self.around.fence.guard(conn)
            for schema in places.values():
                for table, _ in root_tables(conn, schema):
                    conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))

    def _on_scratch(self, scratch: Scratch) -> Database:
        """The source, restored on the scratch server. BackupError where a part of it could not be built there."""
        if self.source.kind == "ours":
            built = scratch.restored(self.source.path, advance=self.around.advance)
            database, problems = built.database, built.problems
        else:
            database = scratch.empty("restored", roles=self._live_roles())
            problems = tuple(self._load_foreign(database, scratch.major, PgTools.found(pg_bindir()), on_scratch=True))
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise BackupError(
                f"The scratch server could not build all of it: {'; '.join(problems[:3])}{more}",
                target=self.database.target,
                state="production was not touched",
                next="name a PostgreSQL that has what is missing by PG_BINDIR, or use another backup",
            )
        return database

    def _load_foreign(self, database: Database, major: int, tools: PgTools, *, on_scratch: bool = False) -> list[str]:
        """Somebody's dump, read to its end before. A plain one stops at its first error, with BackupError; what the
        server refuses of an archive is returned."""
        require_usable(describe_dump(self.source.path, tools, server_major=major, advance=self.around.advance))
        if self.source.kind == "plain":
            if creates_public(self.source.path):
                with database.writing() as conn:
                    conn.execute("DROP SCHEMA IF EXISTS public")
            tools.run_sql_file(database, self.source.path, server_major=major, advance=self.around.advance)
            return []
        advance = self.around.advance
        return tools.restore(database, self.source.path, jobs=JOBS, no_tablespaces=on_scratch, advance=advance)

    def _live_roles(self) -> list[str]:
        with self.database.reading() as conn:
            return [row[0] for row in conn.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'").fetchall()]

    def _require_schemas(self, copy: Database) -> tuple[str, ...]:
        """The playbook's schemas that the source holds. BackupError when a critical table is in none of them."""
        names = self.around.systems.playbook.database
        with copy.reading() as conn:
            schemas = tuple(existing_schemas(conn, names.schemas))
            missing = [name for name in names.critical_tables if not exists(conn, name)]
        if missing or not schemas:
            raise BackupError(
                f"{self.source.name} is not of this service: it has no {', '.join(missing) or 'schema of it'}",
                target=self.database.target,
                state="production was not touched",
                next="use another backup",
            )
        return schemas

    def _dump(
        self, tools: PgTools, origin: Database, schemas: Sequence[str], folder: Path, *, rows: bool = True
    ) -> None:
        with (
            snapshot_of(origin) as snapshot,
            tools.dump(
                origin,
                folder,
                schemas=schemas,
                snapshot=snapshot,
                jobs=JOBS,
                compression=0,
                lock_within_ms=5_000,
                rows=rows,
            ) as dump,
        ):
            dump.wait(DUMP_WITHIN_S)

    @contextmanager
    def _private_folder(self) -> Iterator[Path]:
        """For the renamed dump: in the incident's folder, for it is production data, and gone afterwards."""
        for leftover in self.around.incident.folder.glob(".restoring-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=".restoring-", dir=self.around.incident.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # In another database of the server ---------------------------------------------------------------------------

    def _load_database(self) -> tuple[tuple[str, ...], str]:
        copy, tools = self.copy, PgTools.found(pg_bindir())
        notes = create_beside(self.database, copy, restored_name(self.mark))
        self.around.advance("restoring into another database", 0, None)
        if self.source.kind == "ours":
            refused = tools.restore(copy, self.source.path / DATABASE_FOLDER, jobs=JOBS, advance=self.around.advance)
        else:
            with self.database.reading() as conn:
                major = conn.info.server_version // 10000
            refused = self._load_foreign(copy, major, tools)
        self._require_taken(refused)
        with copy.writing() as conn:
            conn.execute("DROP SCHEMA IF EXISTS toolkit CASCADE")  # the live one is carried over at the swap
            conn.execute("ANALYZE")
        schemas = self._require_schemas(copy)
        told = self._verified(self.places(schemas), None)
        notes += self._bring_others(tools)
        with copy.reading() as conn:
            return (*schemas, *held_beside(conn, schemas)), "; ".join([told, *notes])

    def _require_taken(self, refused: Sequence[str]) -> None:
        if refused:
            raise BackupError(
                f"The server refused a part of it: {'; '.join(refused[:3])}",
                target=self.database.target,
                state="production was not touched; the copy is dropped",
                next="use another backup, or plan the restore by way of reloading the damaged tables",
            )

    def _bring_others(self, tools: PgTools) -> list[str]:
        """The definitions of the live schemas that the source does not hold. Their rows come with the catch-up: a key
        of theirs may name a row that came after the backup."""
        with self.copy.reading() as conn:
            there = held_beside(conn, ())
        with self.database.reading() as conn:
            missing = held_beside(conn, there)
        if not missing:
            return []
        with self._private_folder() as folder:
            self._dump(tools, self.database, missing, folder / "others", rows=False)
            self._require_taken(tools.restore(self.copy, folder / "others", jobs=1))
        return [f"{', '.join(missing)} came from the live database"]

    def _verified(self, places: Mapping[str, str], expected: Content | None) -> str:
        """What the copy was held against, in a sentence; BackupError where it differs."""
        with self.copy.reading(within_ms=0) as conn:
            found = content_of(conn, places)
        told = [require_equal(expected, found)] if expected else []
        if self.source.manifest is not None:
            told.append(require_manifest(self.source.manifest, found))
        return "; ".join(told) or f"{len(found.tables)} tables were loaded without an error"


def clear_copy(around: Surroundings, mark: str, way: Way) -> None:
    """Drop whatever stands beside under this mark, whole or not. A dying loader's session may still hold it a while."""
    database, deadline = around.systems.database, time.monotonic() + CLEARED_WITHIN_S
    while True:
        try:
            if way == "databases":
                drop_database(database, restored_name(mark))
            else:
                drop_schemas(database, restored_name(mark), guard=around.fence.guard)
            return
        except DatabaseError as error:
            if sqlstate_of(error) not in _BUSY or time.monotonic() > deadline:
                raise
        time.sleep(LOOK_EVERY_S)
