"""Who is in the way of a lock, seen while we wait for it, and how long to go on trying.

DDL that waits behind one long transaction makes every later query on the table wait too. So each wait is short, and
between two of them the queue moves. Blockers are told by pid, application, age and their query's text without its
values, which may be personal data. Sessions are ended only when that was asked for, and then the fewest that free it.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from textwrap import shorten
from types import TracebackType
from typing import Any, Self

from toolkit.adapters.postgres import REFUSED, Connection, Database, pid_of
from toolkit.errors import ToolkitError
from toolkit.rollback.statement_text import without_values

LOOK_EVERY_S = 0.15
JOIN_WITHIN_S = 2.0
SHOWN = 160  # characters of a query, in a sentence; the journal holds more
SILENT_WITHIN = "30s"


@dataclass(frozen=True)
class Patience:
    """Each lock is waited for `lock_within_ms`; tries go on for `give_up_after_s`, with growing pauses between them.

    One try as a whole may take `hang_up_after_s` before the client hangs up by itself, as on a server that is stopped.
    """

    lock_within_ms: int = 500
    give_up_after_s: float = 120.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 5.0
    hang_up_after_s: float = 3600.0

    def pauses(self) -> Iterator[float]:
        """Seconds to wait after the first try, the second, …; without an end."""
        pause = self.first_pause_s
        while True:
            yield pause
            pause = min(2 * pause, self.longest_pause_s)


@dataclass(frozen=True, order=True)
class Blocker:
    """A session that holds what we wait for. `transaction_s`: the age of its transaction, in seconds; None: unknown.

    `query`: its latest statement with `$n` for each value, '' where it is not known.
    """

    pid: int
    application: str
    state: str
    transaction_s: float | None
    query: str = ""

    def __str__(self) -> str:
        age = "" if self.transaction_s is None else f", in a transaction for {self.transaction_s:.0f} s"
        latest = f", latest: {shorten(self.query, SHOWN, placeholder=' …')}" if self.query else ""
        return f"pid {self.pid} ({self.application or 'unnamed'}, {self.state or 'unknown'}{age}{latest})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Ended:
    """Sessions that were told to end, and those in the way that are never ended, each with the reason."""

    sessions: tuple[Blocker, ...] = ()
    spared: tuple[tuple[Blocker, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        spared = [each.to_json() | {"why": why} for each, why in self.spared]
        return {"ended": [each.to_json() for each in self.sessions], "spared": spared}


@dataclass
class _Endings:
    """What a watch ended so far, each session once."""

    sessions: dict[int, Blocker] = field(default_factory=dict)
    spared: dict[int, tuple[Blocker, str]] = field(default_factory=dict)

    def add(self, ended: Ended) -> None:
        self.sessions |= {each.pid: each for each in ended.sessions}
        self.spared |= {each.pid: (each, why) for each, why in ended.spared}

    def told(self) -> Ended:
        return Ended(tuple(self.sessions.values()), tuple(self.spared.values()))


class BlockerWatch:
    """While it is entered it looks, from a connection of its own, at who blocks the session with that pid.

    `seen` holds those that blocked it at the latest look at which somebody did. With `end_after_s`, once that many
    seconds have passed, it ends the fewest of them that free the lock, and `ended` tells which. It never raises: a
    watch that cannot look sees nothing.
    """

    def __init__(self, database: Database, pid: int, *, end_after_s: float | None = None) -> None:
        self._database, self._pid, self._end_after_s = database, pid, end_after_s
        self._endings = _Endings()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: tuple[Blocker, ...] = ()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(JOIN_WITHIN_S)

    @property
    def ended(self) -> Ended:
        return self._endings.told()

    def _watch(self) -> None:
        if self._ended.wait(LOOK_EVERY_S):
            return
        began = time.monotonic()
        with contextlib.suppress(ToolkitError), self._database.reading(within_ms=0) as conn:
            while True:
                self.seen = blockers_of(conn, self._pid) or self.seen
                if self._end_after_s is not None and time.monotonic() - began >= self._end_after_s:
                    self._endings.add(end_holders(conn, self._pid))
                if self._ended.wait(LOOK_EVERY_S):
                    return


def blockers_of(conn: Connection, pid: int) -> tuple[Blocker, ...]:
    """Who blocks that session now."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    rows = conn.execute(
        """
        SELECT DISTINCT blocking.pid, coalesce(application_name, 'a prepared transaction'), coalesce(state, ''),
               extract(epoch FROM clock_timestamp() - xact_start)::float8, coalesce(query, '')
        FROM unnest(pg_blocking_pids(%(pid)s)) AS blocking (pid)
        LEFT JOIN pg_stat_activity USING (pid)
        """,
        {"pid": pid},
    ).fetchall()
    found = [Blocker(pid, name, state, age, without_values(query)) for pid, name, state, age, query in rows]
    return tuple(sorted(found))


def end_holders(conn: Connection, pid: int) -> Ended:
    """End the fewest sessions that free what that session waits for: those that hold a lock in its way.

    Whoever waits in the queue before us holds nothing that is in our way and is left alone. Never ended: vacuuming
    that prevents a wraparound, superusers, replication, sessions of the toolkit, prepared transactions.
    """
    conn.execute("SELECT pg_stat_clear_snapshot()")
    rows = conn.execute(_HOLDERS, {"pid": pid, "ours": pid_of(conn)}).fetchall()
    ended, spared = [], []
    for number, application, state, age, query, started, why in rows:
        holder = Blocker(number, application, state, age, without_values(query))
        if why:
            spared.append((holder, str(why)))
        elif (refusal := _end(conn, number, started)) is not None:
            spared.append((holder, refusal))
        else:
            ended.append(holder)
    return Ended(tuple(ended), tuple(spared))


_HOLDERS = """
WITH wanted AS (
    SELECT * FROM pg_locks WHERE pid = %(pid)s AND NOT granted
),
holders AS (
    SELECT DISTINCT blocking.pid
    FROM unnest(pg_blocking_pids(%(pid)s)) AS blocking (pid)
    WHERE NOT EXISTS (
        SELECT
        FROM pg_locks theirs
        JOIN wanted ON theirs.locktype = wanted.locktype
                   AND theirs.database IS NOT DISTINCT FROM wanted.database
                   AND theirs.relation IS NOT DISTINCT FROM wanted.relation
                   AND theirs.objid IS NOT DISTINCT FROM wanted.objid
        WHERE theirs.pid = blocking.pid AND NOT theirs.granted
          AND NOT EXISTS (
              SELECT FROM pg_locks held
              WHERE held.pid = theirs.pid AND held.granted AND held.locktype = wanted.locktype
                AND held.database IS NOT DISTINCT FROM wanted.database
                AND held.relation IS NOT DISTINCT FROM wanted.relation
                AND held.objid IS NOT DISTINCT FROM wanted.objid))
)
SELECT holders.pid, coalesce(application_name, 'a prepared transaction'), coalesce(state, ''),
       extract(epoch FROM clock_timestamp() - xact_start)::float8, coalesce(query, ''), backend_start,
       CASE
           WHEN a.pid IS NULL THEN 'it is no session: a prepared transaction'
           WHEN backend_type = 'autovacuum worker' AND query LIKE '%%(to prevent wraparound)%%'
               THEN 'it prevents a wraparound of transaction numbers'
           WHEN rolsuper THEN 'it is a superuser''s'
           WHEN backend_type = 'walsender' OR rolreplication THEN 'it is replication'
           WHEN backend_type <> 'client backend' AND backend_type <> 'autovacuum worker' THEN 'it is the server''s own'
           WHEN a.pid = %(ours)s OR (usesysid = (SELECT oid FROM pg_roles WHERE rolname = session_user)
                AND application_name = current_setting('application_name')) THEN 'it is the toolkit''s own'
           ELSE ''
       END
FROM holders
LEFT JOIN pg_stat_activity a ON a.pid = holders.pid
LEFT JOIN pg_roles ON pg_roles.oid = usesysid
ORDER BY holders.pid
"""


def _end(conn: Connection, pid: int, started: Any) -> str | None:
    """End that session, if it is still the same; why it could not be, None when it was."""
    try:
        with conn.transaction():
            row = conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %(pid)s AND backend_start = %(at)s",
                {"pid": pid, "at": started},
            ).fetchone()
    except REFUSED:
        return "this role may not end it"
    return None if row == (True,) else "it had gone by itself"


def hold_nothing_for_the_dead(conn: Connection) -> None:
    """For this transaction: the server looks every second whether we are still there while a statement runs (from 14),
    and ends the session when we are silent between two, so that no lock is held for a client that was cut off."""
    conn.execute(
        "SELECT set_config('idle_in_transaction_session_timeout', %(within)s, true)", {"within": SILENT_WITHIN}
    )
    if conn.info.server_version >= 140_000:
        conn.execute("SELECT set_config('client_connection_check_interval', '1s', true)")


def sqlstate_of(error: ToolkitError) -> str | None:
    """The server's code behind an error of the database adapter; None where the server said none."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
