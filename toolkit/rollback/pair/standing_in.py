"""Standing in for the application on a copy: the role as which it asks, with its memberships, inside a rolled-back
transaction.

A copy's server need not have the target's roles, or has them without their memberships; both are made up for in the
transaction and vanish with it. This is where it is refused to try anything on a server that is not our own.
"""

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection, Database, ServerIdentity, sql
from toolkit.errors import UsageError, WrongServerError

TRY_WITHIN_MS = 20_000


@dataclass(frozen=True)
class Application:
    """The role as which a deployment asks, as the target has it.

    `memberships` are pairs of a member and the role that it inherits from, the nearest first. `search_path` is what the
    role's or the database's settings say, None where they say nothing.
    """

    role: str
    memberships: tuple[tuple[str, str], ...] = ()
    search_path: str | None = None
    bypasses_row_security: bool = False


def read_application(conn: Connection, role: str) -> Application | None:
    """The role as this server has it; None where there is none of that name."""
    found = conn.execute(
        "SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = %(role)s", {"role": role}
    ).fetchone()
    if found is None:
        return None
    memberships = conn.execute(
        """
        WITH RECURSIVE above AS (
            SELECT member, roleid, 1 AS depth
            FROM pg_auth_members
            WHERE member = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
            UNION
            SELECT further.member, further.roleid, depth + 1
            FROM pg_auth_members AS further
            JOIN above ON further.member = above.roleid
        )
        SELECT pg_get_userbyid(member)::text, pg_get_userbyid(roleid)::text
        FROM above
        GROUP BY member, roleid
        ORDER BY min(depth), 1, 2
        """,
        {"role": role},
    ).fetchall()
    return Application(role, tuple((row[0], row[1]) for row in memberships), _search_path(conn, role), bool(found[0]))


def _search_path(conn: Connection, role: str) -> str | None:
    row = conn.execute(
        """
        SELECT substr(setting, length('search_path=') + 1)
        FROM pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setting LIKE 'search_path=%%'
          AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = %(role)s))
          AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        ORDER BY setrole DESC, setdatabase DESC
        LIMIT 1
        """,
        {"role": role},
    ).fetchone()
    return row[0] if row else None


def require_own(copy: Database, production: ServerIdentity | None) -> None:
    """Refuse what is not a server of our own: another machine's, and the target's own cluster.

    Raises UsageError or WrongServerError; DatabaseError when it does not answer.
    """
    found = copy.identity()
    if not _is_here(found.host):
        raise UsageError(
            f"Requests are tried on a copy on this machine, never on a server elsewhere ({found.host})",
            target=copy.target,
            state="nothing was tried",
            next="restore a backup on a scratch server, and name that",
        )
    if production is None:
        return
    same = production.system_identifier is not None and found.system_identifier == production.system_identifier
    if same or (found.host, found.port) == (production.host, production.port):
        raise WrongServerError(
            "This is the target's own server, and requests are tried on a copy only",
            target=copy.target,
            state="nothing was tried",
            next="restore a backup on a scratch server, and name that",
        )


@contextlib.contextmanager
def as_application(copy: Database, application: Application) -> Iterator[Connection]:
    """A transaction on the copy as the application's role, rolled back whatever happens.

    Raises DatabaseError where we may not become that role.
    """
    with copy.writing(within_ms=TRY_WITHIN_MS) as conn, conn.transaction(force_rollback=True):
        _make_role(conn, application)
        if application.search_path:
            conn.execute("SELECT set_config('search_path', %(path)s, true)", {"path": application.search_path})
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(application.role)))
        yield conn


def holds_privileges(conn: Connection) -> bool:
    """Whether the role that we are now has any privilege on any table of others. False where a copy came without its
    grants: a refusal then tells nothing of the real schema."""
    return _has(conn, "SELECT, INSERT, UPDATE")


def may_write(conn: Connection) -> bool:
    """Whether it may write to any. False where a copy was made while writes were frozen."""
    return _has(conn, "INSERT, UPDATE")


def _has(conn: Connection, privileges: str) -> bool:
    row = conn.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_class
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relkind IN ('r', 'p', 'v') AND nspname NOT IN ('pg_catalog', 'information_schema', 'toolkit')
              AND has_any_column_privilege(pg_class.oid, %(privileges)s)
              AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                              AND objid = pg_class.oid AND deptype = 'e')
        )
        """,
        {"privileges": privileges},
    ).fetchone()
    return row == (True,)


def _make_role(conn: Connection, application: Application) -> None:
    """What is missing of the role and its memberships; all of it ends with the transaction."""
    roles = {application.role, *(role for pair in application.memberships for role in pair)}
    rows = conn.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%(roles)s)", {"roles": list(roles)})
    for role in sorted(roles - {row[0] for row in rows.fetchall()}):
        conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    for member, group in application.memberships:
        pair = {"member": member, "role": group}
        if conn.execute("SELECT pg_has_role(%(member)s, %(role)s, 'USAGE')", pair).fetchone() != (True,):
            conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(member)))
    if application.bypasses_row_security:
        conn.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(application.role)))


def _is_here(host: str) -> bool:
    """A Unix socket, or an address of this machine alone."""
    if host.startswith(("/", "@")) or host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
