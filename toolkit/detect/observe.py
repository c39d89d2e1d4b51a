"""What one poll sees: our own probes, the database, samples of its data, and the requests that the logs tell of.

Each is watched in a thread of its own with deadlines of its own, so that a poll takes what there is and never waits:
not for a service that accepts and does not answer, nor for a database or a platform that is gone. It judges nothing.
"""

import time
from typing import Protocol

from toolkit.adapters.readings import MigrationState
from toolkit.adapters.service_log import ServiceLog
from toolkit.adapters.systems import Systems
from toolkit.adapters.traffic import Reader, Traffic
from toolkit.adapters.traffic_log import TrafficLog
from toolkit.detect.asking import ask_data, ask_database
from toolkit.detect.normal import Figures, Normal, OwnNormal, recorded_normal
from toolkit.detect.probing import NO_ANSWER, Probing
from toolkit.detect.seen import OK, DatabaseReading, DataReading, Limits, Observation
from toolkit.detect.signals import SILENCE_SPANS
from toolkit.detect.watch import Watch
from toolkit.errors import DatabaseError, PlatformError

SAMPLES_EVERY_S = 2.0
NORMAL_EVERY_S = 5.0


class Watching(Protocol):
    """What all watches have in common, whatever they ask."""

    def start(self) -> None: ...

    def end(self) -> None: ...

    def join(self, within_s: float) -> None: ...


class Observer:
    """Watches one target. `start`, then `poll` as often as wanted, then `end`."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        monitoring, paths = systems.target.monitoring, systems.playbook.endpoints
        self._limits = limits = Limits.of(systems.playbook, systems.target)
        self._window_s, every_s = monitoring.window_s, monitoring.poll_every_s
        reader = Reader(frozenset(path.partition("?")[0] for path in paths.health_checks))
        self.log = TrafficLog(systems.platform, systems.production_host, reader, keep_s=self._window_s)
        own = systems.target.service_log
        self.own_log = ServiceLog(own, reader, keep_s=self._window_s) if own else None
        self.probing = Probing(systems)
        self._database = Watch("the database", self._ask_database, every_s)
        self._data = Watch("the data", self._ask_data, max(every_s, SAMPLES_EVERY_S))
        self._platform = Watch("the platform", self._ask_platform, every_s)
        self._own_log = Watch("the service's log", self._ask_own_log, every_s)
        self._stable = Watch("the stable point", self._ask_stable, max(every_s, NORMAL_EVERY_S))
        self._migration: MigrationState | None = None
        self._recorded, self._figures = Normal(), Figures(limits)
        self._own_normal, self._probes_normal = (OwnNormal(self._window_s, limits) for _ in range(2))
        self.database_word = self.platform_word = "not asked yet"
        self.own_log_word: str | None = None

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
        self.own_log_word = self._own_log.take() or self.own_log_word
        self._recorded = self._stable.take() or self._recorded
        traffic, probed, shown = self._traffic(), self.probing.window(), self.probing.figures()
        now = time.monotonic()
        return Observation(
            traffic=traffic,
            health=self.probing.health(),
            pages=self.probing.pages(),
            database=database,
            migration=self._migration,
            normal_p95_ms=self._recorded.p95_ms or self._own_normal.learn(traffic, now),
            stable_version=self._recorded.version,
            normal_shares=self._recorded.shares,
            normal_rows=self._recorded.rows,
            probed=probed,
            normal_probe_ms=self._probes_normal.learn(probed, now),
            data=self._data.take(),
            jumps=self._figures.learn(shown) if shown else None,
        )

    def _traffic(self) -> Traffic | None:
        """Users' requests: by the service's own log where the target names one, else by the platform's."""
        log = self.own_log or self.log
        return log.window(self._window_s) if log.open else None

    def _watches(self) -> list[Watching]:
        own: list[Watching] = [self._own_log] if self.own_log else []
        return [*self.probing.watches, self._database, self._data, self._platform, self._stable, *own]

    def _ask_database(self) -> DatabaseReading:
        span_s = SILENCE_SPANS * self._limits.silence_s
        return ask_database(self._systems.database, self._systems.playbook.database, span_s)

    def _ask_data(self) -> DataReading | None:
        return ask_data(self._systems.database, self._systems.playbook.database)

    def _ask_stable(self) -> Normal:
        try:
            return recorded_normal(self._systems.database)
        except DatabaseError:
            return self._recorded

    def _ask_platform(self) -> str:
        try:
            self.log.follow()
        except PlatformError as error:
            return error.what
        return self.log.trouble or OK

    def _ask_own_log(self) -> str:
        assert self.own_log is not None
        try:
            self.own_log.follow()
        except PlatformError as error:
            return error.what
        return OK
