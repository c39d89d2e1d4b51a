"""What can be seen of a target, looked at from four sides at once: service, database, platform, traffic.

Each side has its own deadlines and its own trouble: when one does not answer, the other three still tell. It only
reads, and never does work in proportion to the data. One deadline holds for all of it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from toolkit.adapters.postgres import Connection, ServerIdentity, StablePoint
from toolkit.adapters.readings import (
    Activity,
    Flow,
    MigrationState,
    QueueState,
    activity,
    event_flow,
    migration_state,
    queue_state,
)
from toolkit.adapters.service import Health, ServiceClient
from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import Reader, Traffic
from toolkit.adapters.traffic_log import TrafficLog
from toolkit.adapters.value_shares import Shares, shift, value_shares
from toolkit.adapters.vercel import Deployment
from toolkit.assess.asking import WITHIN_S, Asked, Deadline, Seen, ask_all, told
from toolkit.assess.catalog import TableSize, migrated_at, table_sizes
from toolkit.assess.sessions import Waiting, waiting_sessions
from toolkit.detect.signals import SILENCE_SPANS
from toolkit.errors import DatabaseError, ToolkitError

SAMPLE_S = 2.0
PROBE_WITHIN_S = 3.0
QUESTION_WITHIN_MS = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class DatabaseView:
    """A database that told who it is, and its answer to each question by itself. `shares` by watched column."""

    identity: ServerIdentity
    migration: Seen[MigrationState]
    activity: Seen[Activity]
    flow: Seen[Flow]
    queue: Seen[QueueState]
    stable: Seen[StablePoint]
    shares: Mapping[str, Seen[Shares]]
    migrated_at: Seen[datetime]
    waiting: Seen[Sequence[Waiting]]
    tables: Seen[Sequence[TableSize]]


@dataclass(frozen=True)
class PlatformView:
    """Where production points, and the newest deployments, newest first."""

    production: Deployment
    deployments: Sequence[Deployment]


@dataclass(frozen=True)
class Views:
    health: Seen[Sequence[tuple[str, Health]]]
    database: Seen[DatabaseView]
    platform: Seen[PlatformView]
    traffic: Seen[Traffic]

    def of_database(self, part: Callable[[DatabaseView], Seen[T]]) -> Seen[T]:
        """One answer of the database's; the trouble with all of it, where it told nothing."""
        view = self.database.value
        return part(view) if view else Seen(None, self.database.trouble or "not seen")

    def apart(self, column: str) -> float | None:
        """The share of a watched column's values that are others than when all was verified; None: not known."""
        before = self._recorded(column)
        now = self.of_database(lambda view: view.shares[column]).value
        return None if before is None or now is None else shift(before, now)

    def gone(self) -> list[str]:
        """The watched columns that were there when all was verified, and of which the server says that they are not."""
        view = self.database.value
        return [name for name, seen in view.shares.items() if seen.absent and self._recorded(name)] if view else []

    def _recorded(self, column: str) -> Shares | None:
        stable = self.of_database(lambda view: view.stable).value
        return (stable.baseline.get("shares") or {}).get(column) if stable else None


def look(systems: Systems, sample_s: float = SAMPLE_S, *, within_s: float = WITHIN_S) -> Views:
    """Look at all four sides at once. Takes about `sample_s` seconds when all is well, `within_s` whatever happens."""
    deadline = Deadline(within_s)
    database = _Database(systems)
    asked = Asked(database.ask)
    stable = Asked(lambda: next(iter(systems.database.stable_points()), None))
    production = Asked(lambda: systems.platform.production(systems.production_host))
    deployments = Asked(systems.platform.deployments)
    traffic = Asked(lambda: _traffic(systems, sample_s))
    probes = {path: partial(_probe, systems, path) for path in systems.playbook.endpoints.health_checks}
    health = [(path, seen.value or _silent(path, seen.trouble)) for path, seen in ask_all(probes, deadline).items()]
    return Views(
        Seen(health),
        database.view(asked.taken(deadline), stable.taken(deadline), deadline),
        _platform(production.taken(deadline), deployments.taken(deadline)),
        traffic.taken(deadline),
    )


def _probe(systems: Systems, path: str) -> Health:
    """With a client of its own, because clients are for one thread, and with a short deadline."""
    config = systems.service.config
    with ServiceClient(config.model_copy(update={"timeout_s": min(config.timeout_s, PROBE_WITHIN_S)})) as client:
        return client.probe(path)


def _silent(path: str, why: str | None) -> Health:
    return Health(path, None, None, 0.0, why or "no answer", None, None)


def _platform(production: Seen[Deployment], deployments: Seen[Sequence[Deployment]]) -> Seen[PlatformView]:
    if production.value is None:
        return Seen(None, production.trouble or "the platform names no production")
    return Seen(PlatformView(production.value, deployments.value or (production.value,)))


class _Database:
    """Asks the database, one question after the other, and keeps each answer at once, for whenever time is up."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        self._identity: ServerIdentity | None = None
        self._answers: dict[str, Seen[Any]] = {}
        self._lock = threading.Lock()

    def ask(self) -> bool:
        """Raises DatabaseError only where it is not reached or does not tell who it is: only then does it not work."""
        database = self._systems.database
        self._identity = database.identity()
        try:
            with database.reading(within_ms=QUESTION_WITHIN_MS) as conn:
                for name, question in _questions(self._systems, conn):
                    self._keep(name, self._asked(conn, question))
        except DatabaseError:
            database.identity()  # the line broke over a question: is the server still there?
        return True

    def view(self, asked: Seen[bool], stable: Seen[StablePoint], deadline: Deadline) -> Seen[DatabaseView]:
        """What came until now. A question that was not answered is unknown; a server that told nothing is not there."""
        with self._lock:
            answers, identity = dict(self._answers), self._identity
        if identity is None or (asked.trouble and asked != deadline.missed):
            return Seen(None, asked.trouble or "no answer", asked.sqlstate)
        missed = Seen(None, "the connection ended before it was asked") if asked.value else deadline.missed
        prefix = "shares "
        shares = {column: answers.get(prefix + column, missed) for column in self._watched()}
        names = ("migration", "activity", "flow", "queue", "migrated_at", "waiting", "tables")
        told_of = {name: answers.get(name, missed) for name in names}
        return Seen(DatabaseView(identity, stable=stable, shares=shares, **told_of))

    def _watched(self) -> Iterable[str]:
        return self._systems.playbook.database.watched_columns

    def _asked(self, conn: Connection, question: Callable[[], T | None]) -> Seen[T]:
        """Each question by itself: a table that a migration renamed must not hide all that the others tell."""

        def ask() -> T | None:
            with self._systems.database.question(conn):
                return question()

        return told(ask)

    def _keep(self, name: str, answer: Seen[Any]) -> None:
        with self._lock:
            self._answers[name] = answer


def _questions(systems: Systems, conn: Connection) -> Iterable[tuple[str, Callable[[], Any]]]:
    """What is asked, what the catalogs answer first: a slow question comes late and takes no other's time."""
    names, span_s = systems.playbook.database, SILENCE_SPANS * systems.target.monitoring.silence_s
    yield "migration", lambda: migration_state(conn, names.state_table)
    yield "activity", lambda: activity(conn)
    yield "waiting", lambda: waiting_sessions(conn)
    yield "tables", lambda: table_sizes(conn, names.schemas)
    yield "migrated_at", lambda: migrated_at(conn, names.state_table)
    for column in names.watched_columns:
        yield f"shares {column}", partial(value_shares, conn, column)
    yield "flow", lambda: event_flow(conn, names.events_table, names.events_time, span_s)
    queue = names.queue_schema
    yield "queue", lambda: queue_state(conn, queue) if queue else None


def _traffic(systems: Systems, sample_s: float) -> Traffic:
    """The requests of the next `sample_s` seconds, by the runtime logs."""
    reader = Reader(ignore=systems.playbook.endpoints.health_checks)
    log = TrafficLog(systems.platform, systems.production_host, reader, keep_s=sample_s + 1)
    try:
        log.follow()
        time.sleep(sample_s)
        if log.trouble:
            raise ToolkitError(log.trouble)
        return log.window(sample_s)
    finally:
        log.close()
