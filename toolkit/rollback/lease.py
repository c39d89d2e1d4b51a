"""One operator at a time: a row on the target with a token that only grows, checked inside each step's transaction.

    acquire (a new token) ─► guard in each step's transaction ─► renewed while it is kept ─► release

Advisory locks end with a session, are absent after a swap and mean nothing behind a transaction pooler; a row in the
schema `toolkit` outlives all of that. An operator who was paused and comes back holds an old token: his next guarded
transaction fails. `guard` locks the row until its transaction ends, so whoever takes over waits for that end. The
server's clock is the one that counts. A live operator is never displaced by itself: somebody must say so, and why.
"""

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString, NoReturn, Self

import psutil

from toolkit.adapters.postgres import Connection, Database, pid_of
from toolkit.clock import iso
from toolkit.errors import DatabaseError, RollbackError, ToolkitError, UsageError
from toolkit.rollback.blocking import Blocker, BlockerWatch, sqlstate_of

NAME = "rollback"
RENEW_EVERY_S = 5.0
DEAD_AFTER_S = 30.0  # not renewed for so long: whoever held it is taken for dead
STATEMENT_WITHIN_MS = 3_000
TAKE_OVER_WITHIN_MS = 10_000
LOCK_NOT_AVAILABLE = "55P03"
JOIN_WITHIN_S = 1.0

PREPARING = 7_021_001  # the advisory lock under which tables of the schema `toolkit` are made, one maker at a time

_TABLE = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.lease (
    name        text PRIMARY KEY,
    token       bigint NOT NULL,
    holder      text NOT NULL,
    host        text NOT NULL,
    machine     text NOT NULL,
    pid         integer NOT NULL,
    incident    text NOT NULL,
    plan        text NOT NULL,
    since       timestamptz NOT NULL,
    renewed_at  timestamptz NOT NULL,
    released_at timestamptz
);
INSERT INTO toolkit.lease (name, token, holder, host, machine, pid, incident, plan, since, renewed_at, released_at)
VALUES ('rollback', 0, '', '', '', 0, '', '', now(), now(), now())
ON CONFLICT (name) DO NOTHING;
"""


@dataclass(frozen=True)
class Held:
    """Who holds the lease. Times are the server's, UTC; `idle_s`: seconds since it was last renewed."""

    token: int
    holder: str
    host: str
    machine: str
    pid: int
    incident: str
    plan: str
    since: datetime
    renewed_at: datetime
    idle_s: float

    @property
    def here(self) -> bool:
        """Whether it is held from this machine, as far as process ids mean the same there."""
        return self.machine == _machine()

    @property
    def dead(self) -> bool:
        """Whether its process is known to be gone, or has not renewed it for so long that it is taken to be."""
        return self.idle_s > DEAD_AFTER_S or (self.here and not _alive(self.pid))

    def __str__(self) -> str:
        return (
            f"{self.holder} on {self.host} (pid {self.pid}), incident {self.incident}, plan {self.plan}, "
            f"since {iso(self.since)}, last renewed {self.idle_s:.0f} s ago"
        )

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "holder": self.holder,
            "host": self.host,
            "pid": self.pid,
            "incident": self.incident,
            "plan": self.plan,
            "since": iso(self.since),
            "renewed_at": iso(self.renewed_at),
            "token": self.token,
        }


@dataclass
class Lease:
    """The right to act on a target, with its token. Implements the steps' `Fence`.

    `took_over` is from whom it was taken, None when it was free; `reason` why, where a live one was displaced.
    """

    database: Database
    token: int
    incident: str
    plan: str
    took_over: Held | None = None
    reason: str = ""
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _lost: str = field(default="", repr=False)

    @classmethod
    def acquire(
        cls,
        database: Database,
        *,
        incident: str,
        plan: str,
        holder: str,
        take_over: bool = False,
        reason: str = "",
    ) -> Self:
        """Take the lease, or say who has it.

        A free one is had at once. One whose holder is dead (its process is gone from this machine, or it was not
        renewed for DEAD_AFTER_S) is taken over at once for the same incident, with `take_over` for another. A live one
        needs `take_over` and a `reason`. Raises RollbackError for a refusal, and when the holder's step is inside a
        transaction that does not end within TAKE_OVER_WITHIN_MS; UsageError for a missing reason; DatabaseError.
        """
        with database.writing(within_ms=STATEMENT_WITHIN_MS, hang_up_after_s=3 * STATEMENT_WITHIN_MS / 1000) as conn:
            prepare(conn)
        wanted: dict[str, str | int] = {"incident": incident, "plan": plan, "holder": holder}
        wanted |= {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid()}
        blockers: list[Blocker] = []
        try:
            with _taking_over(database) as conn:
                _lock(conn, database, blockers)
                held = _held(conn)
                _require_takeable(held, incident, take_over, reason, database.target)
                token = _take(conn, wanted)
        except DatabaseError as error:
            if sqlstate_of(error) == LOCK_NOT_AVAILABLE:
                _busy(blockers, database)
            raise
        return cls(database, token, incident, plan, held, reason if held is not None and not held.dead else "")

    def guard(self, conn: Connection) -> None:
        """In a transaction that is about to change something, before it changes its role. RollbackError when the lease
        is not ours any more; otherwise nobody can take it over before this transaction ends."""
        row = conn.execute(
            """
            SELECT FROM toolkit.lease
            WHERE name = %(name)s AND token = %(token)s AND released_at IS NULL
            FOR KEY SHARE
            """,
            {"name": NAME, "token": self.token},
        ).fetchone()
        if row is None:
            self._refuse(_held(conn))

    def require(self) -> None:
        """The same in a transaction of its own, for what has none: whether it is ours at this moment."""
        with self.database.keeping() as conn:
            self.guard(conn)

    def renew(self) -> None:
        """Say that we live. Raises RollbackError when it is not ours any more, DatabaseError."""
        deadline_s = 2 * STATEMENT_WITHIN_MS / 1000
        with self.database.writing(within_ms=STATEMENT_WITHIN_MS, hang_up_after_s=deadline_s) as conn:
            renewed = conn.execute(
                """
                UPDATE toolkit.lease
                SET renewed_at = clock_timestamp()
                WHERE name = %(name)s AND token = %(token)s AND released_at IS NULL
                """,
                {"name": NAME, "token": self.token},
            ).rowcount
            held = None if renewed else _held(conn)
        if not renewed:
            self._refuse(held)

    @contextlib.contextmanager
    def keep(self, every_s: float = RENEW_EVERY_S) -> Iterator[Self]:
        """Renew it every `every_s` seconds, beside whatever is done in the block.

        A renewal that fails is tried again: what counts is `guard`. It does not release.
        """
        self._ended.clear()
        thread = threading.Thread(target=self._keep, args=(every_s,), daemon=True, name="lease")
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(JOIN_WITHIN_S)

    def _keep(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            try:
                self.renew()
            except DatabaseError:
                continue
            except ToolkitError as error:
                self._lost = error.what
                return

    @property
    def lost(self) -> str:
        """Why it is not ours any more, as a renewal found it; '' while none did."""
        return self._lost

    def release(self) -> None:
        """Give it back. Nothing happens where it is not ours any more. Raises DatabaseError."""
        deadline_s = 2 * STATEMENT_WITHIN_MS / 1000
        with self.database.writing(within_ms=STATEMENT_WITHIN_MS, hang_up_after_s=deadline_s) as conn:
            conn.execute(
                """
                UPDATE toolkit.lease
                SET released_at = clock_timestamp()
                WHERE name = %(name)s AND token = %(token)s AND released_at IS NULL
                """,
                {"name": NAME, "token": self.token},
            )

    def _refuse(self, held: Held | None) -> NoReturn:
        said = f"it is held by {held}" if held else "nobody holds it now"
        raise RollbackError(
            f"This run no longer holds the right to act (its token is {self.token}): {said}",
            target=self.database.target,
            state="this step changed nothing",
            next="talk to them before anything else" if held else "run the plan again",
        )


def prepare(conn: Connection) -> None:
    """Make the lease's table where it is missing. Safe to repeat, and by many at once."""
    prepare_tables(conn, _TABLE, ("toolkit.lease",))


def prepare_tables(conn: Connection, statements: LiteralString, names: tuple[str, ...]) -> None:
    """Run DDL of the schema `toolkit` where one of `names` is missing, one maker at a time."""
    missing = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%(names)s::text[]) AS wanted (name)"
    if conn.execute(missing, {"names": list(names)}).fetchone() == (True,):
        return
    conn.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": PREPARING})
    conn.execute(statements)


def holder_of(database: Database) -> Held | None:
    """Who holds the lease; None when nobody does. For a status: it changes nothing. Raises DatabaseError."""
    with database.reading() as conn:
        if conn.execute("SELECT to_regclass('toolkit.lease')").fetchone() == (None,):
            return None
        return _held(conn)


def _held(conn: Connection) -> Held | None:
    row = conn.execute(
        """
        SELECT token, holder, host, machine, pid, incident, plan, since, renewed_at,
               extract(epoch FROM clock_timestamp() - renewed_at)::float8
        FROM toolkit.lease
        WHERE name = %(name)s AND released_at IS NULL
        """,
        {"name": NAME},
    ).fetchone()
    return Held(*row) if row else None


def _take(conn: Connection, wanted: Mapping[str, str | int]) -> int:
    """Write ourselves into the row, which is locked and therefore there; the new token."""
    row = conn.execute(
        """
        UPDATE toolkit.lease
        SET token = token + 1, holder = %(holder)s, host = %(host)s, machine = %(machine)s, pid = %(pid)s,
            incident = %(incident)s, plan = %(plan)s, since = clock_timestamp(), renewed_at = clock_timestamp(),
            released_at = NULL
        WHERE name = %(name)s
        RETURNING token
        """,
        {"name": NAME, **wanted},
    ).fetchone()
    assert row is not None
    return int(row[0])


def _require_takeable(held: Held | None, incident: str, take_over: bool, reason: str, target: str) -> None:
    if held is None or (held.dead and (take_over or held.incident == incident)):
        return
    if take_over and reason.strip():
        return
    if take_over:
        raise UsageError(
            f"A live operator is displaced only with a reason: {held}",
            target=target,
            state="nothing was done",
            next="say why, or talk to them first",
        )
    if held.dead:
        following = "it seems to be dead: finish or abort that incident, or take over (--take-over REASON)"
    else:
        following = (
            f"wait, or talk to them; if they are dead, it can be taken over {DEAD_AFTER_S:.0f} s after the last "
            "renewal; a live one only for a reason (--take-over REASON)"
        )
    raise RollbackError(f"Somebody else is at work: {held}", target=target, state="nothing was done", next=following)


def _taking_over(database: Database) -> contextlib.AbstractContextManager[Connection]:
    return database.writing(
        within_ms=2 * TAKE_OVER_WITHIN_MS,
        lock_within_ms=TAKE_OVER_WITHIN_MS,
        hang_up_after_s=3 * TAKE_OVER_WITHIN_MS / 1000,
    )


def _lock(conn: Connection, database: Database, blockers: list[Blocker]) -> None:
    """Lock the row against every guard. Whoever was in the way is put into `blockers`."""
    watch = BlockerWatch(database, pid_of(conn))
    try:
        with watch:
            conn.execute("SELECT FROM toolkit.lease WHERE name = %(name)s FOR UPDATE", {"name": NAME})
    finally:
        blockers += watch.seen


def _busy(blockers: Sequence[Blocker], database: Database) -> NoReturn:
    named = "; ".join(map(str, blockers)) or "nobody could be seen"
    end = f"; or, if that session is dead: SELECT pg_terminate_backend({blockers[0].pid})" if blockers else ""
    raise RollbackError(
        f"The lease could not be taken: its holder is inside a transaction that has not ended ({named})",
        target=database.target,
        state="nothing was done; what that transaction does is done wholly or not at all",
        next=f"wait for its end, then try again{end}",
    )


def _alive(pid: int) -> bool:
    """Whether there is such a process, and not only its remains."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _machine() -> str:
    """What tells apart the places in which a process id means something: this boot, this namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{socket.gethostname()}/{uuid.getnode():x}"
