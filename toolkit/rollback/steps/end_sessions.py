"""Ending every other session on the database, as a security breach wants it, and naming what must be rotated.

It ends who is there now; whoever still has a password comes back. So it is no freeze, and the names of the credentials
are part of what it tells: roles that log in, and the variables that hold secrets, never their values.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection
from toolkit.errors import PlatformError, RollbackError, ToolkitError
from toolkit.rollback.lease import prepare_tables
from toolkit.rollback.plan import EndSessions
from toolkit.rollback.steps.doing import Doing, Standing, Surroundings

END_WITHIN_S = 15.0
LOOK_EVERY_S = 0.02
NAMED = 5
SECRET_WORDS = ("KEY", "PASSWORD", "SECRET", "TOKEN", "URL", "DSN", "CREDENTIAL")

_SESSIONS = """
SELECT pid, role.rolname::text, coalesce(application_name, ''), backend_start::text,
       me.rolsuper OR NOT role.rolsuper AND (
           pg_has_role(role.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')) AS may_end
FROM pg_stat_activity
JOIN pg_roles AS role ON role.oid = usesysid
JOIN pg_roles AS me ON me.rolname = session_user
WHERE datname = current_database() AND coalesce(backend_type, 'client backend') IN ('client backend', 'walsender')
  AND pid <> pg_backend_pid() AND NOT (role.rolname = session_user AND application_name = %(ours)s)
ORDER BY pid
"""

_ENDED = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.ended_sessions (
    plan     text PRIMARY KEY,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sessions integer NOT NULL
);
"""


@dataclass(frozen=True)
class Session:
    """A session of somebody else. `began` tells it from a later one with the same pid."""

    pid: int
    role: str
    application: str
    began: str
    may_end: bool

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.role}, {self.application or 'unnamed'})"


class EndingSessions(Doing):
    """`EndSessions`, carried out. Done is what the target says was done: those who come later are not ended again."""

    def __init__(self, action: EndSessions, around: Surroundings) -> None:
        super().__init__(around)
        self.action = action
        self._database = around.systems.database

    def require(self) -> None:
        self._database.require_session()
        if self.around.plan.server is not None:
            self._database.require(self.around.plan.server)

    def look(self) -> Standing:
        with self._database.reading() as conn:
            now = sessions(conn, self._database.application_name)
            if conn.execute("SELECT to_regclass('toolkit.ended_sessions')").fetchone() == (None,):
                return Standing(False, f"{len(now)} sessions of others")
            row = conn.execute(
                "SELECT sessions, ended_at FROM toolkit.ended_sessions WHERE plan = %(plan)s",
                {"plan": self.around.plan.id},
            ).fetchone()
        if row is None:
            return Standing(False, f"{len(now)} sessions of others")
        return Standing(True, f"{row[0]} sessions ended at {row[1]:%H:%M:%S} UTC; {len(now)} came since")

    def act(self) -> str:
        with self._database.writing() as conn:
            self.around.fence.guard(conn)
        ended, kept = self._end_all()
        with self._database.writing() as conn:
            self.around.fence.guard(conn)
            prepare_tables(conn, _ENDED, ("toolkit.ended_sessions",))
            conn.execute(
                """
                INSERT INTO toolkit.ended_sessions (plan, sessions)
                VALUES (%(plan)s, %(sessions)s)
                ON CONFLICT (plan) DO NOTHING
                """,
                {"plan": self.around.plan.id, "sessions": len(ended)},
            )
        rotate = self.credentials()
        told = {"sessions": len(ended), "reason": self.action.reason, "rotate": rotate, "kept": list(map(str, kept))}
        self.around.tell("sessions.ended", told)
        return f"{len(ended)} sessions ended{_kept(kept)}; to be rotated: {', '.join(rotate)}"

    def state(self) -> str:
        try:
            return self.look().evidence
        except ToolkitError as error:
            return f"who is connected is unknown: {error.what}"

    def credentials(self) -> list[str]:
        """What must be rotated, by name: roles that log in here, our own variables, the platform's."""
        with self._database.reading() as conn:
            rows = conn.execute(
                """
                SELECT rolname::text
                FROM pg_roles
                WHERE rolcanlogin AND has_database_privilege(oid, current_database(), 'CONNECT')
                ORDER BY 1
                """
            ).fetchall()
        names = self.around.systems.playbook.targets[self.around.systems.target.name]
        ours = [value for field, value in names if field.endswith("_env") and value]
        return [*(f"role {row[0]}" for row in rows), *(f"variable {name}" for name in self._variables(ours))]

    def _variables(self, ours: Sequence[str]) -> list[str]:
        """Names that sound like a secret's. A platform that does not answer tells none."""
        try:
            names = [variable.key for variable in self.around.systems.platform.environment()]
        except PlatformError:
            names = []
        return sorted({name for name in [*names, *ours] if any(word in name for word in SECRET_WORDS)})

    def _end_all(self) -> tuple[list[Session], list[Session]]:
        """Who was ended, and who is left because our role may not end them: a managed service's own sessions are of a
        superuser, and must not keep a breach's rollback from going on."""
        began, within_ms = time.monotonic(), round(END_WITHIN_S * 1000)
        with self._database.reading(within_ms=within_ms) as conn:
            there = sessions(conn, self._database.application_name)
            first, kept = [each for each in there if each.may_end], [each for each in there if not each.may_end]
            for each in first:
                conn.execute("SELECT pg_terminate_backend(%(pid)s)", {"pid": each.pid})
            left = list(first)
            while left:
                if time.monotonic() - began > END_WITHIN_S:
                    raise self._left(left)
                time.sleep(LOOK_EVERY_S)
                self.around.advance("ending sessions", len(first) - len(left), len(first))
                left = [each for each in sessions(conn, self._database.application_name) if each in first]
        return first, kept

    def _left(self, left: Sequence[Session]) -> RollbackError:
        return RollbackError(
            f"{len(left)} sessions could not be ended: {', '.join(map(str, left[:NAMED]))}",
            target=self._database.target,
            state="all others are ended",
            next=f"end them as a superuser: SELECT pg_terminate_backend({left[0].pid}); then run the plan again",
        )


def _kept(kept: Sequence[Session]) -> str:
    if not kept:
        return ""
    named = ", ".join(map(str, kept[:NAMED]))
    return f"; {len(kept)} are left that only a superuser may end, so look at whose they are: {named}"


def sessions(conn: Connection, ours: str) -> list[Session]:
    """Other people's sessions on this database. Ours are those of our role and our application's name."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    return [Session(*row) for row in conn.execute(_SESSIONS, {"ours": ours}).fetchall()]
