"""The target's PostgreSQL. The only module that acts in an emergency and imports psycopg.

Owns connections (bounded, named, never longer than they must), the server's identity, and the small schema `toolkit` on
the target for what must outlive a lost laptop. It knows nothing of the service's tables.

Reading is in read-only transactions with timeouts on both sides: the server's do not bound a server that is stopped or
a line that is cut, so the client hangs up by itself when its own deadline has passed. And the server ends a transaction
in which nothing is asked any more: whoever went silent must not leave production locked.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from toolkit.adapters.poolers import NO_OPTIONS, TRANSACTION_POOLER_PORT, Line, line_of, through_a_pooler
from toolkit.errors import DatabaseError, UsageError, WrongServerError
from toolkit.journal import Head
from toolkit.redaction import keep_secret

Connection = psycopg.Connection[TupleRow]
sql = psycopg.sql  # for modules that compose statements and may not import the library
REFUSED = psycopg.errors.InsufficientPrivilege  # what they may catch inside a transaction of theirs

CONNECT_WITHIN_S = 3
READ_WITHIN_MS = 3000
LOCK_WITHIN_MS = 500
IDLE_WITHIN_MS = 30_000  # a transaction of ours that asks nothing for so long is ended by the server
HANG_UP_AFTER_S = 3 * READ_WITHIN_MS / 1000
# a line that died without a word is noticed by both sides in about 20 s, whatever a statement may take
_ASKED_AFTER_S, _ASKED_EVERY_S, _ASKED_TIMES = 5, 5, 3
_SENT_WITHIN_MS = 20_000
_PIDS: WeakKeyDictionary[psycopg.Connection[Any], int] = WeakKeyDictionary()  # where the line tells another one

_TOOLKIT_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS toolkit;
CREATE TABLE IF NOT EXISTS toolkit.journal_head (
    incident text PRIMARY KEY,
    seq      bigint NOT NULL,
    hash     text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS toolkit.stable (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version     bigint NOT NULL,
    deployment  text NOT NULL,
    verified_at timestamptz NOT NULL DEFAULT now(),
    baseline    jsonb NOT NULL
);
"""


@dataclass(frozen=True)
class ServerIdentity:
    """Which server this is. `system_identifier` is None where the role may not see it."""

    system_identifier: str | None
    database: str
    host: str
    port: int
    version: str


@dataclass(frozen=True)
class StablePoint:
    """A migration version at which a full verification passed, with what was normal then (`baseline` is JSON)."""

    version: int
    deployment: str
    verified_at: datetime
    baseline: Mapping[str, Any]

    @property
    def label(self) -> str | None:
        """What the migration tool calls the version; None where that was not kept."""
        kept = self.baseline.get("migration_label")
        return str(kept) if kept else None


class Database:
    """One target's database. Opens a connection for each piece of work; holds none."""

    def __init__(self, url: SecretStr, *, target: str, application_name: str = "toolkit") -> None:
        """Connects to nothing yet. UsageError for a URL that libpq cannot read; the URL is not quoted."""
        self._url, self.target, self.application_name = url, target, application_name
        self._parts = _parts_of(url, target)
        self._line = line_of(self._parts)
        self._kept = False  # seen to keep its session

    def libpq(self) -> dict[str, str]:
        """The connection as libpq's variables (PGHOST, PGPASSWORD, …), for programs whose arguments others can read."""
        known = {each.keyword.decode(): each.envvar for each in psycopg.pq.Conninfo.get_defaults()}
        return {
            variable.decode(): str(value)
            for name, value in self._parts.items()
            if value not in (None, "") and (variable := known.get(name))
        }

    @property
    def pooled(self) -> bool:
        """Whether the URL is that of a transaction pooler, which has no session state (locks, SET, pg_dump)."""
        return self._line is Line.TRANSACTION

    def require_session(self) -> None:
        """UsageError unless a session stays ours: dumps, locks and DDL misbehave silently behind other poolers.

        Whatever its port, a pooler gives its clients other process ids than the server's: one that is not known to keep
        sessions is refused. A server that does not answer says so to whoever asks it next.
        """
        if self.pooled:
            raise through_a_pooler(f"a transaction pooler (port {TRANSACTION_POOLER_PORT})", self.target)
        if self._kept:
            return
        try:
            self._kept = self._keeps_its_session() if self._line is Line.SESSION else self._is_the_server()
        except DatabaseError as error:
            if NO_OPTIONS in error.what:
                raise through_a_pooler("a pooler, which takes no settings", self.target) from None
            return
        if not self._kept:
            other = "gives this session away between two transactions"
            known = "knows this session by another process id"
            said = f"a pooler: it {other}" if self._line is Line.SESSION else f"a pooler: the server {known}"
            raise through_a_pooler(said, self.target)

    def _is_the_server(self) -> bool:
        with self.reading() as conn:
            return _asked_pid(conn) == conn.info.backend_pid

    def _keeps_its_session(self) -> bool:
        """Whether nobody is given our server's session while we ask nothing."""
        with self.singly(within_ms=READ_WITHIN_MS) as conn:
            ours = _asked_pid(conn)
            with self.reading() as other:
                theirs = _asked_pid(other)
            return theirs != ours == _asked_pid(conn)

    @contextlib.contextmanager
    def reading(self, *, within_ms: int = READ_WITHIN_MS) -> Iterator[Connection]:
        """A read-only transaction, each statement bounded by `within_ms` (0: no bound). Rolled back at the end.

        With a bound, the whole of it may take three times as long before the client hangs up.
        Raises DatabaseError for whatever the server or the line says.
        """
        with (
            self._connection(within_ms, LOCK_WITHIN_MS, idle_within_ms=3 * within_ms) as conn,
            _hanging_up(conn, after_s=3 * within_ms / 1000),
        ):
            conn.read_only = True
            with conn.transaction(force_rollback=True):
                yield conn

    @contextlib.contextmanager
    def question(self, conn: Connection) -> Iterator[None]:
        """One question of several in one transaction: when it fails, the next can still be asked.

        Raises DatabaseError for whatever the server or the line says.
        """
        try:
            with conn.transaction():
                yield
        except psycopg.Error as error:
            raise self._told(error) from error

    @contextlib.contextmanager
    def writing(
        self, *, within_ms: int = 0, lock_within_ms: int = LOCK_WITHIN_MS, hang_up_after_s: float = 0
    ) -> Iterator[Connection]:
        """A transaction that commits at the end. Waits for a lock `lock_within_ms` at most; 0 means no bound.

        The server ends it when nothing was asked in it for IDLE_WITHIN_MS; not so where locks are waited for without
        bound, which is for copies of ours, where nobody waits for us.
        After `hang_up_after_s` seconds (0: never) the client hangs up by itself, as a stopped server never would; it is
        then not known whether a commit that was under way took place.
        Raises DatabaseError for whatever the server or the line says.
        """
        with (
            self._connection(within_ms, lock_within_ms, idle_within_ms=IDLE_WITHIN_MS if lock_within_ms else 0) as conn,
            _hanging_up(conn, after_s=hang_up_after_s),
            conn.transaction(),
        ):
            yield conn

    def keeping(self) -> contextlib.AbstractContextManager[Connection]:
        """A transaction of the toolkit's own in its schema: short, and bounded on both sides. As `writing`."""
        return self.writing(within_ms=READ_WITHIN_MS, hang_up_after_s=HANG_UP_AFTER_S)

    @contextlib.contextmanager
    def singly(
        self, *, within_ms: int = 0, lock_within_ms: int = LOCK_WITHIN_MS, hang_up_after_s: float = 0
    ) -> Iterator[Connection]:
        """A connection on which each statement is a transaction of its own: for what cannot run in one.

        Bounds as in `writing`. Raises DatabaseError for whatever the server or the line says.
        """
        with (
            self._connection(within_ms, lock_within_ms, idle_within_ms=IDLE_WITHIN_MS) as conn,
            _hanging_up(conn, after_s=hang_up_after_s),
        ):
            conn.autocommit = True
            yield conn

    def named(self, name: str) -> "Database":
        """Another database on the same server, for the same role."""
        url = SecretStr(make_conninfo(self._url.get_secret_value(), dbname=name))
        return Database(url, target=self.target, application_name=self.application_name)

    @contextlib.contextmanager
    def _connection(self, within_ms: int, lock_within_ms: int, *, idle_within_ms: int) -> Iterator[Connection]:
        bounds = {"statement_timeout": within_ms, "lock_timeout": lock_within_ms}
        bounds |= {"idle_in_transaction_session_timeout": idle_within_ms}
        bounds |= {"tcp_keepalives_idle": _ASKED_AFTER_S, "tcp_keepalives_interval": _ASKED_EVERY_S}
        bounds |= {"tcp_keepalives_count": _ASKED_TIMES}
        options = " ".join(f"-c {name}={value}" for name, value in bounds.items()) + " -c timezone=UTC"
        try:
            with psycopg.connect(
                self._url.get_secret_value(),
                application_name=self.application_name,
                connect_timeout=CONNECT_WITHIN_S,
                options=options if self._line is Line.DIRECT else None,
                prepare_threshold=None if self.pooled else 5,
                tcp_user_timeout=_SENT_WITHIN_MS,
                keepalives_idle=_ASKED_AFTER_S,
                keepalives_interval=_ASKED_EVERY_S,
                keepalives_count=_ASKED_TIMES,
            ) as conn:
                if self._line is Line.SESSION:
                    self._settle(conn, bounds)
                yield conn
        except psycopg.Error as error:
            raise self._told(error) from error

    def _settle(self, conn: Connection, bounds: Mapping[str, int]) -> None:
        """What a session pooler drops of what was asked for when connecting. It ends the server's session with ours."""
        wanted = {name: str(value) for name, value in bounds.items()} | {"timezone": "UTC"}
        conn.autocommit = True
        conn.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)",
            [[*wanted, "application_name"], [*wanted.values(), self.application_name]],
        )
        _PIDS[conn] = _asked_pid(conn)
        conn.autocommit = False

    def _told(self, error: psycopg.Error) -> DatabaseError:
        """The server's primary message only: DETAIL holds rows."""
        primary = error.diag.message_primary or str(error).strip().splitlines()[0]
        code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        return DatabaseError(f"PostgreSQL: {primary}{code}", target=self.target, sqlstate=error.sqlstate)

    def identity(self) -> ServerIdentity:
        """Ask the server who it is."""
        with self.reading() as conn:
            row = conn.execute(
                """
                SELECT current_database(),
                       current_setting('server_version'),
                       has_function_privilege('pg_control_system()', 'EXECUTE')
                """
            ).fetchone()
            assert row is not None
            seen = (
                conn.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone() if row[2] else None
            )
            return ServerIdentity(seen[0] if seen else None, row[0], conn.info.host, conn.info.port, row[1])

    def require(self, expected: ServerIdentity) -> None:
        """WrongServerError unless this is the server that was meant: same cluster, same database."""
        found = self.identity()
        if (found.database, found.system_identifier) != (expected.database, expected.system_identifier):
            raise WrongServerError(
                f"This is database {found.database} on {found.host}:{found.port}, "
                f"not {expected.database} as it was assessed on {expected.host}:{expected.port}",
                target=self.target,
                state="nothing was done",
                next="check the target's database URL",
            )

    # What must outlive a lost laptop --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Create the schema `toolkit` on the target where it is missing. Safe to repeat."""
        with self.keeping() as conn:
            conn.execute(_TOOLKIT_SCHEMA)

    def keep_head(self, incident: str, head: Head) -> None:
        """Keep how far an incident's journal had come. Never goes back."""
        with self.keeping() as conn:
            conn.execute(
                """
                INSERT INTO toolkit.journal_head AS kept (incident, seq, hash)
                VALUES (%(incident)s, %(seq)s, %(hash)s)
                ON CONFLICT (incident) DO UPDATE
                SET seq = excluded.seq, hash = excluded.hash, at = now()
                WHERE kept.seq < excluded.seq
                """,
                {"incident": incident, "seq": head.seq, "hash": head.hash},
            )

    def kept_head(self, incident: str) -> Head | None:
        """What `keep_head` kept; None when nothing was."""
        with self.reading() as conn:
            if conn.execute("SELECT to_regclass('toolkit.journal_head')").fetchone() == (None,):
                return None
            row = conn.execute(
                "SELECT seq, hash FROM toolkit.journal_head WHERE incident = %(incident)s", {"incident": incident}
            ).fetchone()
        return Head(*row) if row else None

    def record_stable(self, version: int, deployment: str, baseline: Mapping[str, Any]) -> None:
        """Record that a full verification passed at this migration version with this deployment."""
        with self.keeping() as conn:
            conn.execute(
                """
                INSERT INTO toolkit.stable (version, deployment, baseline)
                VALUES (%(version)s, %(deployment)s, %(baseline)s)
                """,
                {"version": version, "deployment": deployment, "baseline": Jsonb(dict(baseline))},
            )

    def stable_points(self) -> list[StablePoint]:
        """What was recorded, newest first; [] when nothing was."""
        with self.reading() as conn:
            if conn.execute("SELECT to_regclass('toolkit.stable')").fetchone() == (None,):
                return []
            rows = conn.execute(
                """
                SELECT version, deployment, verified_at, baseline
                FROM toolkit.stable
                ORDER BY verified_at DESC, id DESC
                """
            ).fetchall()
        return [StablePoint(*row) for row in rows]


def pid_of(conn: Connection) -> int:
    """The server's process of this session. Asks nothing: also for a transaction that must take no snapshot yet."""
    return _PIDS.get(conn, conn.info.backend_pid)


def _asked_pid(conn: Connection) -> int:
    row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def _parts_of(url: SecretStr, target: str) -> Mapping[str, str | int | None]:
    """The URL as libpq reads it. What it says of one that it cannot read holds pieces of it, the password too."""
    try:
        parts = conninfo_to_dict(url.get_secret_value())
    except psycopg.Error:
        raise UsageError(
            "The database URL cannot be read",
            target=target,
            state="nothing was done",
            next="mend the variable that holds it: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with signs in the "
            "password written as %25 for %, %40 for @, %5B for [ and so on",
        ) from None
    keep_secret(str(parts.get("password") or ""))
    return parts


@contextlib.contextmanager
def _hanging_up(conn: Connection, *, after_s: float) -> Iterator[None]:
    """Cut the line when the block takes longer than `after_s` seconds (0: never); the wait then ends with an error."""
    if not after_s:
        yield
        return

    def hang_up() -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(conn.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(after_s, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
