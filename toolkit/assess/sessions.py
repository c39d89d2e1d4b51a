"""Who waits for a lock, for how long, and who is in the way. Queries are told without their values."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.adapters.postgres import Connection
from toolkit.rollback.blocking import Blocker, blockers_of
from toolkit.rollback.statement_text import without_values

MOST_WAITING = 5  # whose blockers are looked up; each costs a look at the table of locks


@dataclass(frozen=True)
class Waiting:
    """A session that waits. `lock`: what for, as `AccessShareLock on public.events`; `waited_s` in seconds."""

    pid: int
    application: str
    waited_s: float
    lock: str
    query: str
    blockers: tuple[Blocker, ...]


def waiting_sessions(conn: Connection) -> Sequence[Waiting]:
    """Those that wait longest, MOST_WAITING at most. Other roles' sessions are told to members of pg_monitor only."""
    rows = conn.execute(
        """
        SELECT pid, coalesce(application_name, ''), extract(epoch FROM now() - state_change)::float8,
               coalesce(query, ''), coalesce(wanted.lock, 'a lock')
        FROM pg_stat_activity
        LEFT JOIN LATERAL (
            SELECT mode || coalesce(' on ' || relation::regclass::text, ' on a ' || locktype) AS lock
            FROM pg_locks
            WHERE pg_locks.pid = pg_stat_activity.pid AND NOT granted
            LIMIT 1
        ) AS wanted ON true
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0
        ORDER BY state_change
        LIMIT %(most)s
        """,
        {"most": MOST_WAITING},
    ).fetchall()
    return [
        Waiting(pid, application, waited_s, lock, without_values(query), blockers_of(conn, pid))
        for pid, application, waited_s, query, lock in rows
    ]
