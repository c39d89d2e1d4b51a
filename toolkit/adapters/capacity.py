"""Has the server room: sessions against its limit, replicas behind, WAL that is kept or cannot be archived.

A server does not tell how full its disk is. What fills it is told: an archiver that fails, a slot that holds WAL back.
Other roles' sessions and lags are told only to members of pg_monitor; what is not told is None. It reads only.
"""

from dataclasses import dataclass

from toolkit.adapters.postgres import Connection


@dataclass(frozen=True)
class Capacity:
    """`sessions` of all databases against `allowed`. `lag_s`: of the replica furthest behind. `slots_lost`: replication
    slots whose WAL is not safe any more. `archiver_fails`: the newest attempt to archive WAL failed."""

    sessions: int
    allowed: int
    lag_s: float | None = None
    slots_lost: int | None = None
    archiver_fails: bool | None = None


def capacity(conn: Connection) -> Capacity:
    """One question to the server's own views."""
    row = conn.execute(
        """
        SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
               (SELECT max(extract(epoch FROM replay_lag))::float8 FROM pg_stat_replication),
               (SELECT count(*) FROM pg_replication_slots WHERE wal_status IN ('unreserved', 'lost')),
               (SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
                FROM pg_stat_archiver)
        """
    ).fetchone()
    assert row is not None
    return Capacity(*row)
