"""The migration tools that are known, each by the name and the columns of its state table, and finding them.

Several tools share a name of a table: the columns tell them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Connection
from toolkit.adapters.state_tables.failing import Atlas, Flyway, Liquibase, Pgroll, Prisma, Sqitch
from toolkit.adapters.state_tables.linear import Alembic, GolangMigrate
from toolkit.adapters.state_tables.listing import (
    Dbmate,
    Diesel,
    Drizzle,
    Goose,
    Knex,
    NodePgMigrate,
    Supabase,
)
from toolkit.adapters.state_tables.locks import holders
from toolkit.adapters.state_tables.recorded import Found, Reader, Recorded
from toolkit.errors import RollbackError

DEFAULT_SCHEMA = "public"
# schemas of Supabase's own services, which keep such tables for themselves
MANAGED = frozenset({"auth", "storage", "realtime", "_realtime", "supabase_functions", "_analytics", "pgbouncer"})


@dataclass(frozen=True)
class Known:
    """A tool by its table: the columns that tell it, and those that tell another. `account` None: seen, not read."""

    tool: str
    table: str
    has: frozenset[str]
    lacks: frozenset[str] = frozenset()
    account: Reader | None = None


def _known(tool: str, table: str, has: str, account: Reader, lacks: str = "") -> Known:
    return Known(tool, table, frozenset(has.split()), frozenset(lacks.split()), account)


TOOLS: Sequence[Known] = (
    _known("golang-migrate", "schema_migrations", "version dirty", GolangMigrate()),
    _known("the Supabase CLI", "schema_migrations", "version statements", Supabase()),
    _known("dbmate", "schema_migrations", "version", Dbmate(), lacks="dirty statements inserted_at"),
    _known("node-pg-migrate", "pgmigrations", "id name run_on", NodePgMigrate()),
    _known("Flyway", "flyway_schema_history", "installed_rank success", Flyway()),
    _known("Liquibase", "databasechangelog", "orderexecuted md5sum", Liquibase()),
    _known("Alembic", "alembic_version", "version_num", Alembic()),
    _known("Prisma", "_prisma_migrations", "migration_name rolled_back_at", Prisma()),
    _known("Knex", "knex_migrations", "batch migration_time", Knex()),
    _known("Drizzle", "__drizzle_migrations", "hash created_at", Drizzle()),
    _known("sqitch", "changes", "change_id script_hash", Sqitch()),
    _known("pgroll", "migrations", "migration parent done", Pgroll()),
    _known("Atlas", "atlas_schema_revisions", "applied total", Atlas()),
    _known("goose", "goose_db_version", "version_id is_applied", Goose()),
    _known("diesel", "__diesel_schema_migrations", "version run_on", Diesel()),
)


def find_state_tables(conn: Connection, named: str = "") -> list[Found]:
    """Every table that looks like a migration tool's, in any schema but the server's own.

    Most tools let their table be called otherwise: the one that is `named` is told by its columns alone.
    """
    schema, table = _split(named)
    rows = conn.execute(
        """
        SELECT n.nspname, c.relname, array_agg(a.attname::text)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE (c.relname = ANY (%(names)s) OR (n.nspname, c.relname) = (%(schema)s, %(table)s))
          AND c.relkind IN ('r', 'p')
          AND n.nspname NOT LIKE 'pg\\_%%'
          AND n.nspname <> 'information_schema'
        GROUP BY n.nspname, c.relname
        ORDER BY n.nspname, c.relname
        """,
        {"names": sorted({known.table for known in TOOLS}), "schema": schema, "table": table},
    ).fetchall()
    return [found for row in rows if (found := identify(*row) or _by_columns(*row)) is not None]


def identify(schema: str, table: str, columns: Sequence[str]) -> Found | None:
    """Which tool a table belongs to, by its name and its columns; None where none is known that keeps such a one."""
    present = set(columns)
    for known in TOOLS:
        if known.table == table and known.has <= present and not known.lacks & present:
            return Found(known.tool, schema, table, known.account)
    return None


def _by_columns(schema: str, table: str, columns: Sequence[str]) -> Found | None:
    """The tool whose table has most of these columns in its own right; a lone `version` must be all there is."""
    present = set(columns)
    if table in {known.table for known in TOOLS}:
        return None
    fitting = [known for known in TOOLS if known.has <= present and not known.lacks & present]
    fitting = [known for known in fitting if len(known.has) > 1 or known.has == present]
    if not fitting:
        return None
    known = max(fitting, key=lambda each: len(each.has))
    return Found(known.tool, schema, table, known.account)


def _split(named: str) -> tuple[str, str]:
    schema, _, table = named.rpartition(".")
    return schema or DEFAULT_SCHEMA, table


def choose(found: Sequence[Found], named: str, *, target: str | None = None) -> Found:
    """The one state table to go by: the one that is named, or the only one. Raises RollbackError without it.

    Where several are found, those in the schemas of a platform's own services do not count.
    """
    wanted = [each for each in found if named and (each.schema, each.table) == _split(named)]
    wanted = wanted or [each for each in found if each.schema not in MANAGED] or list(found)
    if not wanted:
        raise RollbackError(
            f"No migration tool's state table was found, neither {named} nor any other that is known"
            if named
            else "No migration tool's state table was found",
            target=target,
            state="the version is unknown; nothing was done",
            next="check that the database URL names the service's database",
        )
    if len(wanted) > 1:
        raise RollbackError(
            f"Several migration tools keep a state table here: {', '.join(str(each) for each in wanted)}",
            target=target,
            state="the version is unknown; nothing was done",
            next="name the one that the service goes by in the playbook: `state_table`",
        )
    return wanted[0]


def read_table(conn: Connection, found: Found, *, target: str | None = None) -> Recorded:
    """What a state table says, and who holds its tool's lock. Raises RollbackError for a tool that is not read."""
    if found.account is None:
        raise RollbackError(
            f"{found} is not read: only {', '.join(known.tool for known in TOOLS if known.account)} are",
            target=target,
            state="the version is unknown; nothing was done",
            next="go down with that tool itself, or restore from a backup",
        )
    recorded = found.account.read(conn, found.schema, found.table)
    keys = found.account.lock_keys(str(conn.info.dbname), found.schema, found.table)
    held = holders(conn, keys, found.schema, found.table)
    return replace(recorded, locked_by=(*recorded.locked_by, *held)) if held else recorded
