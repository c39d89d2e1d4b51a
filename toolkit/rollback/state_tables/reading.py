"""Reading the live state: the table alone, or held against a folder."""

from dataclasses import replace

from toolkit.adapters.postgres import Connection, Database
from toolkit.adapters.state_tables import Found, Recorded, choose, find_state_tables, read_table
from toolkit.errors import RollbackError
from toolkit.rollback.migrations import MigrationFolder
from toolkit.rollback.state_tables.state import MigrationState, against

LAYOUT_OF = {  # what no other tool's folder looks like
    "dbmate": "dbmate",
    "diesel": "diesel",
    "Flyway": "flyway",
    "goose": "goose",
    "Prisma": "prisma",
    "Drizzle": "drizzle",
    "sqitch": "sqitch",
}
SHARED = ("dbmate",)  # a table of nothing but versions is others' too


def read_state(database: Database, folder: MigrationFolder, named: str) -> MigrationState:
    """What the live database says, held against the folder.

    `named` is the playbook's state table, which settles it where there are several. Raises RollbackError when there is
    none and when it cannot be told which; DatabaseError when nobody answers.
    """
    found, recorded = read_recorded(database, named)
    _require_its_folder(found, folder, database.target)
    return against(found, recorded, folder)


def read_recorded(database: Database, named: str, folder: MigrationFolder | None = None) -> tuple[Found, Recorded]:
    """The state table and what it says; `version` is one of the folder's, where a folder is given.

    Without one it is the tool's own number, or how many are applied. Raises as `read_state` does.
    """
    with database.reading() as conn:
        found = choose(find_state_tables(conn, named), named, target=database.target)
        recorded = read_table(conn, found, target=database.target)
    if folder is not None:
        recorded = replace(recorded, version=against(found, recorded, folder).version)
    return found, recorded


def owner_of(conn: Connection, found: Found) -> str:
    """Whoever owns the state table, if we may act as that role, or ourselves: what a script creates should be the
    migration tool's, not ours."""
    row = conn.execute(
        """
        SELECT CASE WHEN pg_has_role(relowner, 'MEMBER') THEN pg_get_userbyid(relowner)::text ELSE current_user END
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %(schema)s AND relname = %(table)s
        """,
        {"schema": found.schema, "table": found.table},
    ).fetchone()
    assert row is not None
    return str(row[0])


def _require_its_folder(found: Found, folder: MigrationFolder, target: str) -> None:
    """A table that another tool left behind would tell a version of files that it never knew."""
    own = LAYOUT_OF.get(found.tool)
    anothers = folder.layout in LAYOUT_OF.values() and own != folder.layout
    if not anothers and (own in (None, folder.layout) or found.tool in SHARED):
        return
    raise RollbackError(
        f"{found.schema}.{found.table} is {found.tool}'s, but {folder.path.name} is laid out as {folder.layout}'s",
        target=target,
        state="the version is unknown; nothing was done",
        next="name the table that the service goes by in the playbook (`state_table`), or the folder that goes with it",
    )
