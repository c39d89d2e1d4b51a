"""The ledger's file: opened, written by the senders alone, read by anybody.

Each statement is committed before its method returns, so that an attempt stands in the file before it is on the wire,
and an acknowledgement before it counts. The write-ahead log lets others read meanwhile and survives `kill -9`.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from toolkit.adapters.webhook import WEBHOOK_PATH, WebhookEvent
from toolkit.clock import utc_now, wait_until
from toolkit.errors import DeadlineExceeded, ToolkitError

BUSY_TIMEOUT_S = 5.0
SEAL_WITHIN_S = 5.0
PAGE_BYTES = 1024  # each commit logs a few whole pages
CHECKPOINT_PAGES = 20_000  # a checkpoint waits for the disk; a drill of some minutes does without
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Ending = Literal["drained", "gave_up", "stopped"]
Kind = Literal["webhook", "read", "cron"]


@dataclass(frozen=True)
class Outcome:
    """What one request met: a status, or the kind of failure. An answer that broke off has both."""

    status: int | None
    ms: float
    error: str | None = None
    deployment: str | None = None

    @property
    def acknowledged(self) -> bool:
        """What a sender takes as delivered: a whole answer with a 2xx."""
        return self.error is None and self.status is not None and 200 <= self.status < 300


class Ledger:
    """The senders' side: one writer, one thread. Creates the file where there is none. Use it as a context manager."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self._db, self._clock = open_for_writing(path), clock
        newest = self._db.execute("SELECT max(ifnull(max(at), 0), ifnull(max(answered_at), 0)) FROM requests")
        self._latest: int = newest.fetchone()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close, and leave one plain file if nobody is reading. Safe to repeat."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()

    def begin_run(self, seed: int) -> int:
        """Note a start of the senders. Returns its number, 0 for the first on this ledger."""
        with transaction(self._db):
            (run,) = self._db.execute("SELECT count(*) FROM runs").fetchone()
            self._db.execute("INSERT INTO runs (run, seed, started_at) VALUES (?, ?, ?)", (run, seed, self._moment()))
        return int(run)

    def end_run(self, run: int, ending: Ending) -> None:
        """Note how a run ended. A run that was killed has no ending."""
        self._db.execute("UPDATE runs SET ended_at = ?, ending = ? WHERE run = ?", (self._moment(), ending, run))

    def begin_attempt(self, event: WebhookEvent, attempt: int) -> int:
        """Note that an event is about to be sent, for the `attempt`th time. Returns the request's number."""
        now = self._moment()
        with transaction(self._db):
            self._db.execute(
                """
                INSERT INTO events (id, type, membership, company, amount, created_at, first_attempt_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO NOTHING
                """,
                (
                    event.id,
                    event.type,
                    event.membership_id,
                    event.company_id,
                    event.amount,
                    micros(event.created_at),
                    now,
                ),
            )
            return self._insert_request(now, "webhook", "POST", WEBHOOK_PATH, event.id, attempt)

    def begin_request(self, kind: Kind, method: str, path: str) -> int:
        """Note that a request other than a webhook is about to be sent. `path` is without a query."""
        return self._insert_request(self._moment(), kind, method, path, None, 1)

    def finish(self, request: int, outcome: Outcome) -> None:
        """Note what a request met. A webhook's first 2xx acknowledges its event."""
        now = self._moment()
        with transaction(self._db):
            self._db.execute(
                """
                UPDATE requests SET answered_at = ?, status = ?, ms = ?, error = ?, deployment = ?
                WHERE id = ?
                """,
                (now, outcome.status, outcome.ms, outcome.error, outcome.deployment, request),
            )
            if outcome.acknowledged:
                self._db.execute(
                    """
                    UPDATE events SET acknowledged_at = ?
                    WHERE acknowledged_at IS NULL
                      AND id = (SELECT event_id FROM requests WHERE id = ?)
                    """,
                    (now, request),
                )

    def count_unsent(self, kind: Kind) -> None:
        """Count one that there was no capacity to send in time."""
        self._db.execute(
            """
            INSERT INTO unsent (kind, count) VALUES (?, 1)
            ON CONFLICT (kind) DO UPDATE SET count = count + 1
            """,
            (kind,),
        )

    def _insert_request(self, at: int, kind: Kind, method: str, path: str, event: str | None, attempt: int) -> int:
        row = self._db.execute(
            "INSERT INTO requests (at, kind, method, path, event_id, attempt) VALUES (?, ?, ?, ?, ?, ?)",
            (at, kind, method, path, event, attempt),
        )
        assert row.lastrowid is not None
        return row.lastrowid

    def _moment(self) -> int:
        """Now, but later than any moment before: the order of events must survive a clock that is set back."""
        self._latest = max(micros(self._clock()), self._latest + 1)
        return self._latest


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection that commits each statement by itself. The tables are there afterwards."""
    schema = resources.files("toolkit.drill.ledger").joinpath("schema.sql").read_text(encoding="utf-8")
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.executescript(schema)
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All statements inside, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent, read-only view of a ledger that may be being written.

    Raises ToolkitError when there is none, and when it cannot be read.
    """
    if not path.exists():
        raise ToolkitError(f"There is no ledger at {path}", next="start the senders, or name another ledger")
    with (
        telling(path),
        contextlib.closing(
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
        ) as db,
    ):
        db.execute("BEGIN")
        yield db


def seal(path: Path) -> None:
    """Make the ledger one plain file that can be copied and opened anywhere. For when its writer is gone.

    Where somebody goes on reading it, its write-ahead log stays beside it, and belongs to it. Raises ToolkitError when
    it cannot be written.
    """
    with (
        telling(path),
        contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db,
    ):
        try:
            wait_until(lambda: _made_plain(db), within=SEAL_WITHIN_S, what="the ledger's readers to be done")
        except DeadlineExceeded:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _made_plain(db: sqlite3.Connection) -> bool:
    """False while another connection is open on the file: SQLite refuses at once, whatever the timeout."""
    try:
        db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    return True


@contextlib.contextmanager
def telling(path: Path) -> Iterator[None]:
    """Tell what SQLite says of a ledger as an error of ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise ToolkitError(
            f"The ledger {path} cannot be used: {error}",
            state="nothing can be said of its events",
            next="see that its disk has room and that the file is whole, then account again",
        ) from error


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exactly."""
    return (moment - EPOCH) // MICROSECOND
