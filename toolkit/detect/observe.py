"""What one poll sees: health endpoints, pages, the database, and the requests that the runtime logs tell of.

Each is watched in a thread of its own with deadlines of its own, so that a poll takes what there is and never waits:
not for a service that accepts and does not answer, nor for a database or a platform that is gone. It judges nothing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from toolkit.adapters.postgres import Connection
from toolkit.adapters.readings import MigrationState, activity, event_flow, migration_state, queue_state
from toolkit.adapters.service import ServiceClient
from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import Reader, Traffic
from toolkit.adapters.traffic_log import TrafficLog
from toolkit.adapters.value_shares import Shares, value_shares
from toolkit.detect.signals import OK, SILENCE_SPANS, DatabaseReading, Limits, Observation, Probes
from toolkit.detect.watch import Watch
from toolkit.errors import DatabaseError, PlatformError

PROBE_WITHIN_S = 3.0
QUESTION_WITHIN_MS = 1000
PAGES_EVERY_S = 2.0
NORMAL_EVERY_S = 5.0
FULL_WINDOW = 0.95
LEARNING_WINDOWS = 3
NO_ANSWER = "no answer"

T = TypeVar("T")


@dataclass(frozen=True)
class Normal:
    """What was recorded when all was verified: the version, the 95th percentile in ms, how values were spread."""

    version: int | None = None
    p95_ms: float | None = None
    shares: Mapping[str, Shares] | None = None


class OwnNormal:
    """Where nobody recorded what is normal: the slowest of the first full windows in which nearly all went well.

    One window is too little to learn from: the first may hold an idle moment, and the next are no worse.
    """

    def __init__(self, window_s: float, limits: Limits) -> None:
        self._window_s, self._limits = window_s, limits
        self._learnt_at: float | None = None
        self._p95_ms: float | None = None

    def learn(self, traffic: Traffic | None, now: float) -> float | None:
        """Take in what one poll saw at `now` (monotonic seconds). The 95th percentile in ms once it is known."""
        if traffic is not None and self._tells(traffic):
            if self._learnt_at is None:
                self._learnt_at = now + (LEARNING_WINDOWS - 1) * self._window_s
            if now <= self._learnt_at:
                self._p95_ms = max(self._p95_ms or 0.0, traffic.p95_ms or 0.0) or None
        return self._p95_ms if self._learnt_at is not None and now >= self._learnt_at else None

    def _tells(self, traffic: Traffic) -> bool:
        full = traffic.window_s >= FULL_WINDOW * self._window_s and traffic.requests >= self._limits.min_requests
        return full and (traffic.error_rate or 0) <= self._limits.error_rate / 2


class Observer:
    """Watches one target. `start`, then `poll` as often as wanted, then `end`."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        monitoring, paths = systems.target.monitoring, systems.playbook.endpoints
        self._limits = Limits.of(systems.playbook, systems.target)
        self._window_s, every_s = monitoring.window_s, monitoring.poll_every_s
        reader = Reader(frozenset(path.partition("?")[0] for path in paths.health_checks))
        self.log = TrafficLog(systems.platform, systems.production_host, reader, keep_s=self._window_s)
        self._health = {path: self._probe(path, every_s, _health_word) for path in paths.health_checks}
        self._pages = {path: self._probe(path, max(every_s, PAGES_EVERY_S), _page_word) for path in paths.pages}
        self._database = Watch("the database", self._ask_database, every_s)
        self._platform = Watch("the platform", self._ask_platform, every_s)
        self._stable = Watch("the stable point", self._ask_stable, max(every_s, NORMAL_EVERY_S))
        self._words: dict[str, str] = {}
        self._migration: MigrationState | None = None
        self._recorded = Normal()
        self._own_normal = OwnNormal(self._window_s, self._limits)
        self.database_word = "not asked yet"
        self.platform_word = "not asked yet"

    def start(self) -> None:
        for watch in self._watches():
            watch.start()

    def end(self) -> None:
        """Ask no more. Waits for nothing."""
        for watch in self._watches():
            watch.end()
        self.log.close()

    def join(self, within_s: float) -> None:
        """Wait until nothing is being asked any more, for `within_s` seconds for each watch at most."""
        for watch in self._watches():
            watch.join(within_s)

    def poll(self) -> Observation:
        """What was seen since the last poll. Never waits."""
        database = self._database.take()
        if database is None and self._database.overdue:
            database = DatabaseReading(error=NO_ANSWER)
        if database is not None:
            self.database_word = database.error or OK
            self._migration = database.migration or self._migration
        self.platform_word = self._platform.take() or (NO_ANSWER if self._platform.overdue else self.platform_word)
        self._recorded = self._stable.take() or self._recorded
        traffic = self.log.window(self._window_s) if self.log.open else None
        return Observation(
            traffic=traffic,
            health=self._probes(self._health),
            pages=self._probes(self._pages),
            database=database,
            migration=self._migration,
            normal_p95_ms=self._recorded.p95_ms or self._own_normal.learn(traffic, time.monotonic()),
            stable_version=self._recorded.version,
            normal_shares=self._recorded.shares,
        )

    def _watches(self) -> list[Watch[str] | Watch[DatabaseReading] | Watch[Normal]]:
        return [*self._health.values(), *self._pages.values(), self._database, self._platform, self._stable]

    def _probe(self, path: str, every_s: float, word: Callable[[ServiceClient, str], str]) -> Watch[str]:
        """A watch with a client of its own, because clients are for one thread, and with a short deadline."""
        config = self._systems.service.config
        short = config.model_copy(update={"timeout_s": min(config.timeout_s, PROBE_WITHIN_S)})
        client = ServiceClient(short)
        return Watch(path, lambda: word(client, path), every_s, client.close)

    def _probes(self, watches: Mapping[str, Watch[str]]) -> Probes:
        fresh = {}
        for path, watch in watches.items():
            word = watch.take()
            if word is None and watch.overdue:
                word = NO_ANSWER
            if word is not None:
                fresh[path] = word
        self._words |= fresh
        return Probes({path: self._words[path] for path in watches if path in self._words}, frozenset(fresh))

    def _ask_platform(self) -> str:
        try:
            self.log.follow()
        except PlatformError as error:
            return error.what
        return self.log.trouble or OK

    def _ask_stable(self) -> Normal:
        """What the newest stable point tells, as far as it is known."""
        try:
            points = self._systems.database.stable_points()
        except DatabaseError:
            return self._recorded
        if not points:
            return Normal()
        baseline = points[0].baseline
        steady, shares = baseline.get("steady_state"), baseline.get("shares")
        p95 = steady.get("p95_ms") if isinstance(steady, Mapping) else None
        return Normal(
            points[0].version,
            float(p95) if isinstance(p95, int | float) else None,
            shares if isinstance(shares, Mapping) else None,
        )

    def _ask_database(self) -> DatabaseReading:
        """Each question by itself: one that fails leaves the others."""
        names, span_s = self._systems.playbook.database, SILENCE_SPANS * self._limits.silence_s
        queue = names.queue_schema
        try:
            with self._systems.database.reading(within_ms=QUESTION_WITHIN_MS) as conn:
                return DatabaseReading(
                    migration=_asked(conn, lambda: migration_state(conn, names.state_table)),
                    flow=_asked(conn, lambda: event_flow(conn, names.events_table, names.events_time, span_s)),
                    activity=_asked(conn, lambda: activity(conn)),
                    queue=_asked(conn, lambda: queue_state(conn, queue)) if queue else None,
                    shares=_shares(conn, names.watched_columns),
                )
        except DatabaseError as error:
            return DatabaseReading(error=error.what)


def _asked(conn: Connection, ask: Callable[[], T]) -> T | None:
    """The answer, or None where this question failed. A connection that broke is found by whoever holds it."""
    try:
        with conn.transaction():
            return ask()
    except Exception:
        if conn.broken:
            raise
        return None


def _shares(conn: Connection, columns: Sequence[str]) -> dict[str, Shares]:
    """Of the columns that can be read: one that is gone must not blind us to the others."""
    asked = {column: _asked(conn, partial(value_shares, conn, column)) for column in columns}
    return {column: shares for column, shares in asked.items() if shares is not None}


def _health_word(service: ServiceClient, path: str) -> str:
    health = service.probe(path)
    if health.status_code is None:
        return f"{NO_ANSWER} ({health.error})"
    if health.healthy:
        return OK
    return str(health.status_code) if health.status_code != 200 else (health.error or health.status or "no status")


def _page_word(service: ServiceClient, path: str) -> str:
    answer = service.fetch(path)
    if answer.status_code is None:
        return f"{NO_ANSWER} ({answer.error})"
    return OK if answer.acknowledged else (answer.error or str(answer.status_code))
