"""Who is in the way of a lock, seen while we wait for it, and how long to go on trying.

DDL that waits behind one long transaction makes every later query on the table wait too. So each wait is short, and
between two of them the queue moves. Blockers are told by pid, application and age, never by their query: it may hold
values.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from toolkit.adapters.postgres import Connection, Database
from toolkit.errors import ToolkitError

LOOK_EVERY_S = 0.15
JOIN_WITHIN_S = 2.0


@dataclass(frozen=True)
class Patience:
    """Each lock is waited for `lock_within_ms`; tries go on for `give_up_after_s`, with growing pauses between them."""

    lock_within_ms: int = 500
    give_up_after_s: float = 120.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 5.0

    def pauses(self) -> Iterator[float]:
        """Seconds to wait after the first try, the second, …; without an end."""
        pause = self.first_pause_s
        while True:
            yield pause
            pause = min(2 * pause, self.longest_pause_s)


@dataclass(frozen=True, order=True)
class Blocker:
    """A session that holds what we wait for. `transaction_s`: the age of its transaction, in seconds; None: unknown."""

    pid: int
    application: str
    state: str
    transaction_s: float | None

    def __str__(self) -> str:
        age = "" if self.transaction_s is None else f", in a transaction for {self.transaction_s:.0f} s"
        return f"pid {self.pid} ({self.application or 'unnamed'}, {self.state or 'unknown'}{age})"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class BlockerWatch:
    """While it is entered it looks, from a connection of its own, at who blocks the session with that pid.

    `seen` holds those that blocked it at the latest look at which somebody did. It never raises: a watch that cannot
    look sees nothing.
    """

    def __init__(self, database: Database, pid: int) -> None:
        self._database, self._pid = database, pid
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

    def _watch(self) -> None:
        if self._ended.wait(LOOK_EVERY_S):
            return
        with contextlib.suppress(ToolkitError), self._database.reading(within_ms=0) as conn:
            while True:
                self.seen = blockers_of(conn, self._pid) or self.seen
                if self._ended.wait(LOOK_EVERY_S):
                    return


def blockers_of(conn: Connection, pid: int) -> tuple[Blocker, ...]:
    """Who blocks that session now."""
    conn.execute("SELECT pg_stat_clear_snapshot()")
    rows = conn.execute(
        """
        SELECT DISTINCT blocking.pid, coalesce(application_name, 'a prepared transaction'), coalesce(state, ''),
               extract(epoch FROM clock_timestamp() - xact_start)::float8
        FROM unnest(pg_blocking_pids(%(pid)s)) AS blocking (pid)
        LEFT JOIN pg_stat_activity USING (pid)
        """,
        {"pid": pid},
    ).fetchall()
    return tuple(sorted(Blocker(*row) for row in rows))


def sqlstate_of(error: ToolkitError) -> str | None:
    """The server's code behind an error of the database adapter; None where the server said none."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
