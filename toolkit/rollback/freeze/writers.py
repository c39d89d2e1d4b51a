"""Who can still write after the privileges are gone: transactions that are under way, and roles that need none.

A REVOKE stops neither a running statement nor a transaction that only has its COMMIT left. Whoever passed the check of
privileges holds a lock on the table until his transaction ends; so the transactions that hold one right after the
REVOKE was committed are all there are, and no clock is needed to tell them from later ones.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.adapters.postgres import Connection, Database
from toolkit.errors import RollbackError
from toolkit.progress import Advance
from toolkit.rollback.freeze.scope import Scope

LOOK_EVERY_S = 0.02

# ALTER ROLE … NOLOGIN wants CREATEROLE and, from version 16 on, the admin option on that role.
_STILL_WRITING = """
SELECT login.rolname::text,
       coalesce(min(means.rolname) FILTER (WHERE means.rolname <> login.rolname), login.rolname)::text AS by_means_of,
       login.rolname <> session_user AND NOT login.rolsuper AND (
           me.rolsuper OR me.rolcreaterole AND pg_has_role(login.oid, 'MEMBER WITH ADMIN OPTION')) AS may_close
FROM pg_roles AS login
JOIN pg_roles AS me ON me.rolname = session_user
JOIN pg_roles AS means ON pg_has_role(login.oid, means.oid, 'MEMBER')
WHERE login.rolcanlogin AND NOT login.rolname = ANY (%(exempt)s)
  AND EXISTS (
      SELECT
      FROM pg_roles AS application
      WHERE application.rolname = ANY (%(application)s)
        AND (application.oid = login.oid OR NOT login.rolsuper AND login.rolname <> session_user
             AND pg_has_role(login.oid, application.oid, 'MEMBER')))
  AND EXISTS (
      SELECT
      FROM pg_class
      JOIN pg_namespace ON pg_namespace.oid = relnamespace
      WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f')
        AND (has_table_privilege(means.oid, pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
             OR has_any_column_privilege(means.oid, pg_class.oid, 'INSERT, UPDATE')))
GROUP BY login.oid, login.rolname, login.rolsuper, me.rolsuper, me.rolcreaterole
ORDER BY 1
"""

_WRITING = """
WITH tables AS (
    SELECT pg_class.oid
    FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = ANY (%(schemas)s) AND relkind IN ('r', 'p', 'v', 'f', 'S')
),
here AS (SELECT oid FROM pg_database WHERE datname = current_database()),
holding AS (
    SELECT pid, virtualtransaction, bool_or(locktype = 'relation') AS on_tables,
           array_agg(transactionid::text) AS transactions
    FROM pg_locks
    WHERE granted AND pid IS DISTINCT FROM pg_backend_pid()
      AND (locktype = 'transactionid' AND mode = 'ExclusiveLock'
           OR locktype = 'relation' AND database = (SELECT oid FROM here) AND relation IN (SELECT oid FROM tables)
              AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
    GROUP BY pid, virtualtransaction
)
SELECT activity.pid, holding.virtualtransaction, role.rolname::text, coalesce(activity.application_name, ''),
       extract(epoch FROM clock_timestamp() - activity.xact_start)::float8,
       me.rolsuper OR NOT role.rolsuper AND (
           pg_has_role(role.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')) AS may_end
FROM pg_stat_activity AS activity
JOIN pg_roles AS role ON role.oid = activity.usesysid
JOIN pg_roles AS me ON me.rolname = session_user
LEFT JOIN holding ON holding.pid = activity.pid
WHERE activity.datid = (SELECT oid FROM here) AND coalesce(activity.backend_type, 'client backend') = 'client backend'
  AND activity.pid <> pg_backend_pid() AND role.rolname <> session_user AND NOT role.rolname = ANY (%(exempt)s)
  AND (holding.on_tables OR role.rolname = ANY (%(closed)s)
       OR holding.virtualtransaction IS NOT NULL AND NOT role.rolsuper AND EXISTS (
           SELECT
           FROM pg_roles AS application
           WHERE application.rolname = ANY (%(application)s) AND pg_has_role(role.oid, application.oid, 'MEMBER')))
UNION ALL
SELECT NULL, virtualtransaction, owner::text, 'prepared transaction ' || gid,
       extract(epoch FROM clock_timestamp() - prepared)::float8, false
FROM pg_prepared_xacts
JOIN holding ON holding.pid IS NULL AND transaction::text = ANY (holding.transactions)
WHERE database = current_database() AND on_tables AND NOT owner = ANY (%(exempt)s)
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class OpenRole:
    """A role of the application that logs in and can write without any grant, `by_means_of` a role that it is or may
    become. `may_close`: we may take its LOGIN away."""

    name: str
    by_means_of: str
    may_close: bool

    def __str__(self) -> str:
        return self.name if self.by_means_of == self.name else f"{self.name} (as a member of {self.by_means_of})"


@dataclass(frozen=True)
class Writer:
    """A transaction that has written, or the session of a closed role. `pid` None: a prepared transaction."""

    pid: int | None
    transaction: str | None
    role: str
    application: str
    seconds: float | None
    may_end: bool

    @property
    def key(self) -> tuple[int | None, str | None]:
        return self.pid, self.transaction

    def __str__(self) -> str:
        age = "" if self.seconds is None else f", in a transaction for {self.seconds:.0f} s"
        return (
            f"{f'pid {self.pid}' if self.pid else self.application} ({self.role}, {self.application or 'unnamed'}{age})"
        )


def open_roles(conn: Connection, scope: Scope, application: Sequence[str]) -> list[OpenRole]:
    """Roles of the application that can write as things are now."""
    rows = conn.execute(
        _STILL_WRITING,
        {"schemas": list(scope.schemas), "application": list(application), "exempt": list(scope.exempt_roles)},
    ).fetchall()
    return [OpenRole(*row) for row in rows]


def writers(conn: Connection, scope: Scope, application: Sequence[str], closed: Sequence[str]) -> list[Writer]:
    """Transactions that have written or may have, and sessions of closed roles."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    parameters: dict[str, Any] = {"schemas": list(scope.schemas), "application": list(application)}
    parameters |= {"exempt": list(scope.exempt_roles), "closed": list(closed)}
    return [Writer(*row) for row in conn.execute(_WRITING, parameters).fetchall()]


def end_writers(
    database: Database,
    scope: Scope,
    application: Sequence[str],
    closed: Sequence[str],
    *,
    within_s: float,
    advance: Advance,
) -> list[Writer]:
    """End the transactions that are writing now, and wait until none of them is left. Later ones cannot write.

    Returns those that were ended. Raises RollbackError when some are left after `within_s` seconds, or may not be
    ended by us.
    """
    began = time.monotonic()
    with database.reading(within_ms=round(within_s * 1000)) as conn:
        first = {each.key: each for each in writers(conn, scope, application, closed)}
        left, signalled = list(first.values()), set[int]()
        while left:
            for each in left:
                if each.may_end and each.pid is not None and each.pid not in signalled:
                    conn.execute("SELECT pg_terminate_backend(%(pid)s)", {"pid": each.pid})
                    signalled.add(each.pid)
            if time.monotonic() - began > within_s:
                raise _left(left, database.target)
            time.sleep(LOOK_EVERY_S)
            advance("ending transactions that have written", len(first) - len(left), len(first))
            now = writers(conn, scope, application, closed)
            left = [each for each in now if each.key in first or each.role in closed]
    return list(first.values())


def _left(left: Sequence[Writer], target: str) -> RollbackError:
    pids = [each.pid for each in left if each.pid]
    end = (
        f"end them as a superuser: SELECT pg_terminate_backend({pids[0]})" if pids else "ROLLBACK PREPARED as its owner"
    )
    return RollbackError(
        f"Some who have written could not be ended: {'; '.join(map(str, left[:5]))}",
        target=target,
        state="the privileges are taken away and kept; what these have written may still be committed",
        next=f"{end}; then run the plan again",
    )
