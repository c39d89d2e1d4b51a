"""What can be seen of a target, looked at from four sides at once: service, database, platform, traffic.

Each side has its own deadlines and its own trouble: when one does not answer, the other three still tell. It only
reads, and never does work in proportion to the data.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Never, TypeVar

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
from toolkit.adapters.service import Health
from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import Reader, Traffic
from toolkit.adapters.traffic_log import TrafficLog
from toolkit.adapters.value_shares import Shares, shift, value_shares
from toolkit.adapters.vercel import Deployment
from toolkit.detect.signals import SILENCE_SPANS
from toolkit.errors import DatabaseError, ToolkitError

SAMPLE_S = 2.0
NO_SUCH_THING = ("42703", "42P01", "3F000")  # undefined column, undefined table, invalid schema name
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Seen(Generic[T_co]):
    """What one side told, or the trouble that kept it from telling. Both None: it told that there is nothing.

    `sqlstate` is PostgreSQL's code for the trouble, where it has one.
    """

    value: T_co | None
    trouble: str | None = None
    sqlstate: str | None = None

    @property
    def absent(self) -> bool:
        """Whether the server says that there is no such column, table or schema."""
        return self.sqlstate in NO_SUCH_THING


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


def look(systems: Systems, sample_s: float = SAMPLE_S) -> Views:
    """Look at all four sides at once. Takes about `sample_s` seconds when all is well, a few more when not."""
    with ThreadPoolExecutor(4) as pool:
        health = pool.submit(_told, _health, systems)
        database = pool.submit(_told, _database, systems)
        platform = pool.submit(_told, _platform, systems)
        traffic = pool.submit(_told, lambda each: _traffic(each, sample_s), systems)
        return Views(health.result(), database.result(), platform.result(), traffic.result())


def _told(ask: Callable[[Systems], T | None], systems: Systems) -> Seen[T]:
    try:
        return Seen(ask(systems))
    except ToolkitError as error:
        return _trouble(error)


def _trouble(error: ToolkitError) -> Seen[Never]:
    return Seen(None, error.what, error.sqlstate if isinstance(error, DatabaseError) else None)


def _health(systems: Systems) -> Sequence[tuple[str, Health]]:
    return [(path, systems.service.probe(path)) for path in systems.playbook.endpoints.health_checks]


def _database(systems: Systems) -> DatabaseView:
    """Raises DatabaseError only where it is not reached or does not tell who it is: only then does it not work."""
    identity, stable, view = systems.database.identity(), _told(_newest_stable, systems), None
    try:
        with systems.database.reading() as conn:
            view = _answers(systems, conn, identity, stable)
    except DatabaseError:
        if view is None:
            raise
        systems.database.identity()  # the line broke over a question: is the server still there?
    return view


def _newest_stable(systems: Systems) -> StablePoint | None:
    return next(iter(systems.database.stable_points()), None)


def _answers(systems: Systems, conn: Connection, identity: ServerIdentity, stable: Seen[StablePoint]) -> DatabaseView:
    """Each question by itself: a table that a migration renamed must not hide all that the others tell."""
    names = systems.playbook.database
    queue, span_s = names.queue_schema, SILENCE_SPANS * systems.target.monitoring.silence_s

    def asked(question: Callable[[], T | None]) -> Seen[T]:
        try:
            with systems.database.question(conn):
                return Seen(question())
        except DatabaseError as error:
            return _trouble(error)

    return DatabaseView(
        identity=identity,
        migration=asked(lambda: migration_state(conn, names.state_table)),
        activity=asked(lambda: activity(conn)),
        flow=asked(lambda: event_flow(conn, names.events_table, names.events_time, span_s)),
        queue=asked(lambda: queue_state(conn, queue)) if queue else Seen(None),
        stable=stable,
        shares={column: asked(partial(value_shares, conn, column)) for column in names.watched_columns},
    )


def _platform(systems: Systems) -> PlatformView:
    return PlatformView(systems.platform.production(systems.production_host), systems.platform.deployments())


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
