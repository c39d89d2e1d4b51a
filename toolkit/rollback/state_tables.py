"""What the database says of its own migrations: which tool keeps the account, which version, and whether it is whole.

The tools are a table: each is known by the name and the columns of its state table, since several share a name. Those
that are read have an `Account`; the others are recognised and refused by name. A version that could not be read is an
error, never a zero.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.adapters.readings import split_name
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import MigrationFolder


@dataclass(frozen=True)
class Recorded:
    """What a state table holds. `version` None: no migration is applied. `dirty`: the latest one may be half done."""

    version: int | None
    dirty: bool

    def __str__(self) -> str:
        version = "no migration" if self.version is None else f"version {self.version}"
        return f"{version}, {'dirty' if self.dirty else 'clean'}"


@dataclass(frozen=True)
class MigrationState:
    """The table held against the folder. `drift` are versions that the table has and the folder has not."""

    tool: str
    schema: str
    table: str
    version: int | None
    dirty: bool
    applied: tuple[int, ...]
    pending: tuple[int, ...]
    drift: tuple[int, ...]

    @property
    def said(self) -> str:
        """`version 9, clean`"""
        return str(Recorded(self.version, self.dirty))


class Account(ABC):
    """How one tool keeps its account of migrations. Methods run in the caller's transaction."""

    @abstractmethod
    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        """What it says now."""

    @abstractmethod
    def lock(self, conn: Connection, schema: str, table: str) -> None:
        """Until the transaction ends nobody else changes it."""

    @abstractmethod
    def record_down(self, conn: Connection, schema: str, table: str, to_version: int | None) -> None:
        """Say, as the tool itself would, that the schema went down to this version (None: to before the first)."""


class GolangMigrate(Account):
    """One row: the version, and whether it is dirty. No row: nothing is applied."""

    def read(self, conn: Connection, schema: str, table: str) -> Recorded:
        rows = conn.execute(sql.SQL("SELECT version, dirty FROM {}").format(_named(schema, table))).fetchall()
        if len(rows) > 1:
            raise RollbackError(
                f"{schema}.{table} holds {len(rows)} rows where golang-migrate keeps one",
                state="nothing was done",
                next="find out which version is live, and leave that row only",
            )
        return Recorded(int(rows[0][0]), bool(rows[0][1])) if rows else Recorded(None, False)

    def lock(self, conn: Connection, schema: str, table: str) -> None:
        conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(_named(schema, table)))

    def record_down(self, conn: Connection, schema: str, table: str, to_version: int | None) -> None:
        conn.execute(sql.SQL("DELETE FROM {}").format(_named(schema, table)))
        if to_version is not None:
            insert = sql.SQL("INSERT INTO {} (version, dirty) VALUES (%(version)s, false)")
            conn.execute(insert.format(_named(schema, table)), {"version": to_version})


def _named(schema: str, table: str) -> sql.Identifier:
    return sql.Identifier(schema, table)


@dataclass(frozen=True)
class Known:
    """A tool by its table: the columns that tell it, and those that tell another. `account` None: seen, not read."""

    tool: str
    table: str
    has: frozenset[str]
    lacks: frozenset[str] = frozenset()
    account: Account | None = None


def _known(tool: str, table: str, has: str, lacks: str = "", account: Account | None = None) -> Known:
    return Known(tool, table, frozenset(has.split()), frozenset(lacks.split()), account)


TOOLS: Sequence[Known] = (
    _known("golang-migrate", "schema_migrations", "version dirty", account=GolangMigrate()),
    _known("the Supabase CLI", "schema_migrations", "version statements name"),
    _known("dbmate", "schema_migrations", "version", lacks="dirty statements"),
    _known("node-pg-migrate", "pgmigrations", "id name run_on"),
    _known("Flyway", "flyway_schema_history", "installed_rank success"),
    _known("Liquibase", "databasechangelog", "orderexecuted md5sum"),
    _known("Alembic", "alembic_version", "version_num"),
    _known("Prisma", "_prisma_migrations", "migration_name rolled_back_at"),
    _known("Knex", "knex_migrations", "batch migration_time"),
    _known("Drizzle", "__drizzle_migrations", "hash created_at"),
    _known("sqitch", "changes", "change_id script_hash"),
    _known("pgroll", "migrations", "migration parent done"),
    _known("Atlas", "atlas_schema_revisions", "applied total"),
)


@dataclass(frozen=True)
class Found:
    """A state table on the live database. `account` None: its tool is recognised, and not read."""

    tool: str
    schema: str
    table: str
    account: Account | None

    def __str__(self) -> str:
        return f"{self.schema}.{self.table} ({self.tool})"


def find_state_tables(conn: Connection) -> list[Found]:
    """Every table that looks like a migration tool's, in any schema but the server's own."""
    rows = conn.execute(
        """
        SELECT n.nspname, c.relname, array_agg(a.attname::text)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relname = ANY (%(names)s)
          AND c.relkind IN ('r', 'p')
          AND n.nspname NOT LIKE 'pg\\_%%'
          AND n.nspname <> 'information_schema'
        GROUP BY n.nspname, c.relname
        ORDER BY n.nspname, c.relname
        """,
        {"names": sorted({known.table for known in TOOLS})},
    ).fetchall()
    return [found for row in rows if (found := identify(*row)) is not None]


def identify(schema: str, table: str, columns: Sequence[str]) -> Found | None:
    """Which tool a table belongs to, by its name and its columns; None where none is known that keeps such a one."""
    present = set(columns)
    for known in TOOLS:
        if known.table == table and known.has <= present and not known.lacks & present:
            return Found(known.tool, schema, table, known.account)
    return None


def read_state(database: Database, folder: MigrationFolder, named: str) -> MigrationState:
    """What the live database says, held against the folder.

    `named` is the playbook's state table, which settles it where there are several. Raises RollbackError when there is
    none, when it cannot be told which, and for a tool that is not read; DatabaseError when nobody answers.
    """
    found, recorded = read_recorded(database, named)
    return against(found, recorded, folder)


def read_recorded(database: Database, named: str) -> tuple[Found, Recorded]:
    """The state table and what it says, without a folder to hold it against. Raises as `read_state` does."""
    with database.reading() as conn:
        found = choose(find_state_tables(conn), named, target=database.target)
        return found, account_of(found, target=database.target).read(conn, found.schema, found.table)


def choose(found: Sequence[Found], named: str, *, target: str) -> Found:
    """The one state table to go by: the one that is named, or the only one. Raises RollbackError without it."""
    wanted = [each for each in found if (each.schema, each.table) == split_name(named)] or found
    if not wanted:
        raise RollbackError(
            f"No migration tool's state table was found, neither {named} nor any other that is known",
            target=target,
            state="the version is unknown; nothing was done",
            next="check that the database URL names the service's database",
        )
    if len(wanted) > 1:
        raise RollbackError(
            f"Several migration tools keep a state table here: {', '.join(str(each) for each in found)}",
            target=target,
            state="the version is unknown; nothing was done",
            next="name the one that the service goes by in the playbook: `state_table`",
        )
    return wanted[0]


def account_of(found: Found, *, target: str) -> Account:
    """How to read and write it. Raises RollbackError for a tool whose account is not read yet."""
    if found.account is None:
        raise RollbackError(
            f"{found} is not read yet: only {', '.join(known.tool for known in TOOLS if known.account)} is",
            target=target,
            state="the version is unknown; nothing was done",
            next="go down with that tool itself, or restore from a backup",
        )
    return found.account


def against(found: Found, recorded: Recorded, folder: MigrationFolder) -> MigrationState:
    """A linear account (one version stands for all up to it) held against the folder."""
    version = recorded.version
    applied = tuple(v for v in folder.versions if version is not None and v <= version)
    drift = (version,) if version is not None and version not in folder.migrations else ()
    pending = tuple(v for v in folder.versions if v not in applied)
    return MigrationState(found.tool, found.schema, found.table, version, recorded.dirty, applied, pending, drift)
