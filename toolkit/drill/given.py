"""A server of somebody's for a sandbox, given by URL: never started, never stopped, and left as it was found.

A sandbox makes a database and roles of its own there, marks the roles, and removes what bears its mark and nothing
else. The migrations name the roles, so that a server has room for one sandbox; where a name is taken it refuses.
"""

import secrets
import socket
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from toolkit.drill.state import SandboxState
from toolkit.errors import DatabaseError, UsageError
from toolkit.redaction import keep_secret
from toolkit.server import SUPERUSER

MARK = "a sandbox of rollback-drills on "
NEXT = "name a server for trying things, with a superuser's direct URL"


class GivenServer:
    """Looks to its users as a server of our own does. `mark` goes on each role, as a comment."""

    running = True
    log = Path()

    def __init__(self, url: str, home: Path) -> None:
        """`url` is a superuser's. UsageError when it is no URL of a server that a sandbox can use."""
        keep_secret(url)
        self._given = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        self.mark = f"{MARK}{socket.gethostname()}: {home}"
        self.database_name = f"churn_{secrets.token_hex(4)}"
        if not self._given.get("host") or self._given["host"].startswith("/"):
            raise UsageError("A sandbox's server is reached by a host's name and a port", next=NEXT)

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str | None = None) -> str:
        """As that user; without a password as the superuser that was given."""
        parts = self._given
        name, secret = (parts.get("user", SUPERUSER), parts.get("password")) if password is None else (user, password)
        more = {key: value for key, value in parts.items() if key not in ("user", "password", "host", "port", "dbname")}
        who = quote(name, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        at = (
            f"{parts['host']}:{parts.get('port', '5432')}/{quote(database or parts.get('dbname', 'postgres'), safe='')}"
        )
        return f"postgresql://{who}@{at}" + (f"?{urlencode(more)}" if more else "")

    def prepare(self, roles: tuple[str, ...]) -> None:
        """Look whether it serves, and clear away what a sandbox left that died. Raises UsageError, DatabaseError."""
        with self._connect() as conn:
            if not _serves(conn):
                raise UsageError(
                    "A sandbox's server needs a superuser and pg_stat_statements in shared_preload_libraries",
                    state="nothing was made there",
                    next=NEXT,
                )
            marks = _marks(conn, roles)
            for name, mark in marks.items():
                if not (mark.startswith(MARK) and _dead(mark)):
                    raise UsageError(
                        f"The server has a role {name} already" + (f", of {mark}" if mark.startswith(MARK) else ""),
                        state="it was left as it is",
                        next="stop that sandbox, or " + NEXT,
                    )
            _remove(conn, _marked(conn, set(marks.values())))

    def start(self) -> None:
        """Its owner's business."""

    def stop(self, *, immediately: bool = False) -> None:
        """Remove the database and the roles that bear this sandbox's mark. The server runs on. Safe to repeat."""
        with self._connect() as conn:
            _remove(conn, _marked(conn, {self.mark}))

    def _connect(self) -> psycopg.Connection:
        try:
            return psycopg.connect(self.url(), autocommit=True, connect_timeout=10)
        except psycopg.Error as error:
            raise DatabaseError(
                f"The server that was given is not reached: {error}", state="nothing was made there", next=NEXT
            ) from None


def _serves(conn: psycopg.Connection) -> bool:
    if conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() != (True,):
        return False  # and may not ask for what follows
    found = conn.execute("SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'").fetchone()
    return found == (True,)


def _marks(conn: psycopg.Connection, roles: tuple[str, ...]) -> dict[str, str]:
    """Those of the roles that exist, with the comment on each."""
    found = conn.execute(
        """
        SELECT rolname, coalesce(shobj_description(oid, 'pg_authid'), '')
        FROM pg_roles
        WHERE rolname = ANY(%(roles)s)
        """,
        {"roles": list(roles)},
    )
    return dict(found.fetchall())


def _marked(conn: psycopg.Connection, marks: set[str]) -> list[str]:
    """The roles that bear one of them, those of deployments too."""
    found = conn.execute(
        """
        SELECT rolname
        FROM pg_roles
        WHERE shobj_description(oid, 'pg_authid') = ANY(%(marks)s)
        """,
        {"marks": list(marks)},
    )
    return [name for (name,) in found.fetchall()]


def _dead(mark: str) -> bool:
    """Whether that sandbox was this machine's and its keeper is gone. One without a state may be coming up."""
    host, _, home = mark.removeprefix(MARK).partition(": ")
    state = SandboxState.read(Path(home))
    gone = not Path(home).exists() if state is None else not state.alive()
    return host == socket.gethostname() and gone


def _remove(conn: psycopg.Connection, roles: list[str]) -> None:
    """Drop the roles, and first the databases that they own: a restore may have made others beside the first."""
    owned = conn.execute(
        """
        SELECT datname
        FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba
        WHERE rolname = ANY(%(roles)s)
        """,
        {"roles": roles},
    ).fetchall()
    for (name,) in owned:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    for role in roles:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
