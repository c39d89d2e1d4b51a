"""What is tried on a server of our own: that there is one like production's, and that the newest downs run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from toolkit.adapters.postgres import Connection, ServerIdentity, sql
from toolkit.adapters.systems import Systems
from toolkit.checks import Finding, failed, judge, passed, unknown
from toolkit.errors import DatabaseError
from toolkit.rollback.migrations import Migration, MigrationFolder, read_folder
from toolkit.rollback.scratch import Scratch, create_extension
from toolkit.rollback.state_tables import read_state

Scratching = Callable[[ServerIdentity | None], AbstractContextManager[Scratch]]
NEWEST = 3  # downs that are run; older ones are seldom gone back by
NAME = "preflight"


def downs(systems: Systems) -> Finding:
    """By the text of the newest: what has no down, or one that no transaction can hold, needs a restore."""
    folder = read_folder(systems.target.migrations)
    stuck = [f"{m.label} {m.name}: {m.down_problem}" for m in _newest(folder, max(folder.versions)) if m.down_problem]
    return judge(not stuck, "; ".join(stuck) or f"each of the newest {min(NEWEST, len(folder.versions))}")


def server(systems: Systems, scratch: Scratching) -> Finding:
    """Started now, with every extension that production uses."""
    identity = systems.database.identity()
    with systems.database.reading() as conn:
        wanted = list(_extensions(conn))
    with scratch(identity) as found:
        if not found.same_major:
            return failed(f"PostgreSQL {found.major} is here, production has {identity.version.split()[0]}")
        database = found.empty(NAME)
        missing = []
        for name, schema in wanted:
            try:
                with database.writing() as conn:
                    create_extension(conn, name, schema)
            except DatabaseError as error:
                missing.append(f"{name} ({error.what})")
    if missing:
        return failed(f"PostgreSQL {found.major} started; it lacks {'; '.join(missing)}")
    names = ", ".join(name for name, _ in wanted) or "none"
    return passed(f"PostgreSQL {found.major} started; production's extensions: {names}")


def _extensions(conn: Connection) -> Iterator[tuple[str, str]]:
    yield from conn.execute(
        """
        SELECT extname::text, nspname::text
        FROM pg_extension
        JOIN pg_namespace ON pg_namespace.oid = extnamespace
        WHERE extname <> 'plpgsql'
        ORDER BY extname
        """
    ).fetchall()


def run_downs(systems: Systems, scratch: Scratching) -> Finding:
    """The schema is built from its migrations, and the newest downs are run on it, with no row in their way."""
    folder = read_folder(systems.target.migrations)
    state = read_state(systems.database, folder, systems.playbook.database.state_table)
    if state.version is None:
        return unknown("no migration is applied")
    with scratch(systems.database.identity()) as found:
        built = found.built(folder, state.version, NAME, roles=_roles(systems))
        if built.problems:
            return unknown(f"the schema could not be built here: {built.problems[0]}")
        ran = []
        for migration in _newest(folder, state.version):
            if migration.down is None or migration.down_problem:
                break
            try:
                with built.database.singly() as conn:
                    conn.execute(sql.SQL("SET search_path = public"))
                    _run(conn, migration)
            except DatabaseError as error:
                return failed(f"the down of {migration.label} {migration.name}: {error.what}")
            ran.append(migration.label)
    return judge(bool(ran), f"ran on an empty copy: {', '.join(ran)}" if ran else "the newest migration cannot go down")


def _run(conn: Connection, migration: Migration) -> None:
    """In one transaction, as a rollback does; singly where the text says that it cannot be."""
    down = migration.down
    assert down is not None
    if down.alone:
        text = down.content.decode()
        for statement in down.statements:
            conn.execute(statement.cut(text).encode())
    else:
        with conn.transaction():
            conn.execute(down.content)


def _newest(folder: MigrationFolder, version: int) -> list[Migration]:
    return folder.between(None, version)[:NEWEST]


def _roles(systems: Systems) -> tuple[str, ...]:
    """Those that migrations grant to: the application's, and every other that the database knows."""
    with systems.database.reading() as conn:
        rows = conn.execute("SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper").fetchall()
    return (*systems.playbook.database.application_roles, *(name for (name,) in rows))
