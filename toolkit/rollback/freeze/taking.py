"""Take all write privileges of some schemas, in the caller's transaction, and tell when each is to be given back."""

from collections.abc import Sequence

from toolkit.adapters.postgres import Connection
from toolkit.errors import RollbackError
from toolkit.rollback.freeze.privileges import Granted, Privilege, acting_as, take_away, write_privileges
from toolkit.rollback.freeze.scope import Scope
from toolkit.rollback.plan import Stage


def take_all(conn: Connection, schemas: Sequence[str], keep: Sequence[str]) -> list[Granted]:
    """Revoke all that may be written, and see that it is gone; what was revoked."""
    found = write_privileges(conn, schemas, keep)
    for grantor in sorted({each.privilege.grantor for each in found if each.privilege.grantor != each.owner}):
        with acting_as(conn, grantor):
            pass  # who cannot act for a grantor could not give it back
    take_away(conn, [each for each in found if each.privilege.grantor == each.owner])
    left = write_privileges(conn, schemas, keep)
    if left:  # what a role granted that keeps its own
        take_away(conn, left)
        left = write_privileges(conn, schemas, keep)
    if left:
        raise RollbackError(
            f"{len(left)} privileges could not be revoked, such as {left[0].privilege} by {left[0].privilege.grantor}",
            state="nothing was changed",
            next="revoke them by hand, or exempt that role: freeze_exempt_roles in playbook.toml",
        )
    return found


def staged(revoked: Sequence[Granted], scope: Scope) -> list[tuple[Privilege, Stage]]:
    """What was revoked, with its stage."""
    return [
        (
            each.privilege,
            scope.stages.of(each.privilege.kind, each.privilege.schema, each.serves, each.privilege.privilege),
        )
        for each in revoked
    ]


def kept(conn: Connection, scope: Scope) -> list[str]:
    """Roles whose privileges are left alone: exempt, or our own."""
    row = conn.execute("SELECT session_user::text").fetchone()
    assert row is not None
    return [*scope.exempt_roles, row[0]]


def things(conn: Connection, schemas: Sequence[str]) -> list[str]:
    """What there is in these schemas, as 'schema.name'; a schema itself as 'schema.'."""
    rows = conn.execute(
        """
        SELECT nspname || '.' || relname
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f', 'S')
        UNION ALL
        SELECT nspname || '.'
        FROM pg_namespace
        WHERE nspname = ANY (%(schemas)s)
        ORDER BY 1
        """,
        {"schemas": list(schemas)},
    ).fetchall()
    return [row[0] for row in rows]
