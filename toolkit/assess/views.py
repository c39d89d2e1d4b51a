"""What can be seen of a target, looked at from four sides at once: service, database, platform, traffic.

Each side has its own deadlines and its own trouble: when one does not answer, the other three still tell. It only
reads, and never does work in proportion to the data.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from toolkit.adapters.postgres import ServerIdentity, StablePoint
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
from toolkit.adapters.value_shares import Shares, value_shares
from toolkit.adapters.vercel import Deployment
from toolkit.errors import ToolkitError

SAMPLE_S = 2.0
FLOW_S = 900.0
T = TypeVar("T")


@dataclass(frozen=True)
class Seen(Generic[T]):
    """What one side told, or the trouble that kept it from telling."""

    value: T | None
    trouble: str | None = None


@dataclass(frozen=True)
class DatabaseView:
    identity: ServerIdentity
    migration: MigrationState
    activity: Activity
    flow: Flow
    queue: QueueState | None
    stable: StablePoint | None
    shares: Mapping[str, Shares]


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


def look(systems: Systems, sample_s: float = SAMPLE_S) -> Views:
    """Look at all four sides at once. Takes about `sample_s` seconds when all is well, a few more when not."""
    with ThreadPoolExecutor(4) as pool:
        health = pool.submit(_told, _health, systems)
        database = pool.submit(_told, _database, systems)
        platform = pool.submit(_told, _platform, systems)
        traffic = pool.submit(_told, lambda each: _traffic(each, sample_s), systems)
        return Views(health.result(), database.result(), platform.result(), traffic.result())


def _told(ask: Callable[[Systems], T], systems: Systems) -> Seen[T]:
    try:
        return Seen(ask(systems))
    except ToolkitError as error:
        return Seen(None, error.what)


def _health(systems: Systems) -> Sequence[tuple[str, Health]]:
    return [(path, systems.service.probe(path)) for path in systems.playbook.endpoints.health_checks]


def _database(systems: Systems) -> DatabaseView:
    names = systems.playbook.database
    points = systems.database.stable_points()
    with systems.database.reading() as conn:
        return DatabaseView(
            identity=systems.database.identity(),
            migration=migration_state(conn, names.state_table),
            activity=activity(conn),
            flow=event_flow(conn, names.events_table, names.events_time, FLOW_S),
            queue=queue_state(conn, names.queue_schema) if names.queue_schema else None,
            stable=points[0] if points else None,
            shares={column: value_shares(conn, column) for column in names.watched_columns},
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
