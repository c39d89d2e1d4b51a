"""Credentials and rights, each really tried: on the database it is rolled back, the platform is only asked."""

from pathlib import Path

from toolkit.adapters.pgtools import PgTools
from toolkit.adapters.postgres import REFUSED, Connection, sql
from toolkit.adapters.readings import relation
from toolkit.adapters.systems import Systems
from toolkit.checks import Finding, failed, judge, passed, unknown
from toolkit.errors import DatabaseError, PlatformError, UsageError
from toolkit.playbook import pg_bindir
from toolkit.rollback.backup.aside import free_bytes
from toolkit.rollback.backup.conditions import compression_for, database_bytes
from toolkit.rollback.scratch import major_of

PROGRAMS = ("pg_dump", "pg_restore", "psql")
REFUSED_CODE = "42501"
TRIED = "toolkit_preflight"


def settings(systems: Systems) -> Finding:
    """The variables that the playbook names for this target."""
    unset = sorted(set(systems.target.unset.values()))
    told = f"not set: {', '.join(unset)}" if unset else "every variable that the playbook names is set"
    return judge(not unset, told)


def database(systems: Systems) -> Finding:
    try:
        who = systems.database.identity()
    except DatabaseError as error:
        return failed(error.what)
    return passed(f"PostgreSQL {who.version.split()[0]}, database {who.database} on {who.host}:{who.port}")


def direct(systems: Systems) -> Finding:
    """`require_session` lets a server that is silent pass, so it is asked first."""
    systems.database.identity()
    try:
        systems.database.require_session()
    except UsageError as error:
        return failed(f"{error.what}; {error.next}")
    return passed("no pooler in between that keeps no session")


def ownership(systems: Systems) -> Finding:
    """A down alters tables, which only their owner may. Acting as the owner is tried; no table is locked."""
    lacking, owners = list[str](), set[str]()
    for table in systems.playbook.database.critical_tables:
        try:
            with systems.database.reading() as conn:
                owner = _owner(conn, table)
                conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
                conn.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(relation(table)))
                owners.add(owner)
        except DatabaseError as error:
            if error.sqlstate is None:
                raise
            lacking.append(f"{table} ({error.what})")
    told = f"not ours to change: {'; '.join(lacking)}" if lacking else f"as {', '.join(sorted(owners))}"
    return judge(not lacking, told)


def _owner(conn: Connection, table: str) -> str:
    row = conn.execute(
        "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = %(table)s::text::regclass",
        {"table": relation(table).as_string(conn)},
    ).fetchone()
    assert row is not None
    return str(row[0])


def creating(systems: Systems) -> Finding:
    """What was destroyed is salvaged into a schema of its own. One is made, and rolled back."""

    class _Undone(Exception):
        pass

    try:
        with systems.database.writing(within_ms=3000, hang_up_after_s=9) as conn:
            try:
                conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(TRIED)))
            except REFUSED:
                raise _Undone("we may not make a schema") from None
            raise _Undone
    except _Undone as undone:
        return failed(str(undone)) if str(undone) else passed("one was made, and rolled back")


def monitoring(systems: Systems) -> Finding:
    """Without it nobody sees who is in the way of a lock."""
    with systems.database.reading() as conn:
        row = conn.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").fetchone()
    return judge(row == (True,), "pg_read_all_stats" if row == (True,) else "queries of other roles are hidden from us")


def platform(systems: Systems) -> Finding:
    """Whether the token may point production elsewhere is seen only when it does so; that it may read is seen here."""
    if systems.target.platform == "none":
        return passed("the playbook names no platform")
    try:
        systems.platform.project()
        names = systems.platform.environment()
        live = systems.platform.production(systems.production_host)
    except PlatformError as error:
        return failed(error.what)
    return passed(f"it reads the project, {len(names)} names of variables, and that production is {live.id}")


def service(systems: Systems) -> Finding:
    health = systems.service.probe(systems.playbook.endpoints.health)
    if health.status_code is None:
        return failed(f"{health.path}: no answer ({health.error})")
    return judge(health.healthy, f"{health.path}: {health.status_code} in {health.latency_ms:.0f} ms")


def programs(systems: Systems) -> Finding:
    """A pg_dump reads servers of its own version and older ones."""
    tools = PgTools.found(pg_bindir())
    versions = {name: tools.version(name) for name in PROGRAMS}
    server = systems.database.identity().version
    old = [f"{name} {version}" for name, version in versions.items() if major_of(version) < major_of(server)]
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return judge(not old, f"{told}, for PostgreSQL {server.split()[0]}")


def disk(systems: Systems, reports: Path) -> Finding:
    """Room for a dump where an incident's backup goes."""
    size, free = database_bytes(systems), free_bytes(reports)
    told = f"{free / 1e6:,.0f} MB free for a database of {size / 1e6:,.0f} MB"
    if not reports.exists():
        return unknown(f"{reports} is not there yet; {told}")
    return judge(compression_for(size, free) is not None, told)
