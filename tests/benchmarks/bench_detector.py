"""`make bench`: the detector alone, over generated series: 24 hours without a fault, and faults at known moments.

What polls see is generated; signals, hysteresis and severity are the product's, with the playbook's thresholds and the
monitoring of production. A false alarm in 24 hours is one too many. A fault is found within its window (the window of
requests, or the silence that is allowed; none for a probe) and two polling intervals.
"""

import math
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from toolkit.adapters.readings import FLOW_QUARTERS, Flow
from toolkit.adapters.request_window import RequestWindow
from toolkit.adapters.traffic import LoggedRequest, Traffic
from toolkit.detect.hysteresis import Hysteresis
from toolkit.detect.normal import OwnNormal
from toolkit.detect.seen import OK, DatabaseReading, Limits, Observation, Probes, Signal
from toolkit.detect.severity import classify
from toolkit.detect.signals import SILENCE_SPANS, read_signals
from toolkit.playbook import Monitoring, load_playbook

PLAYBOOK = load_playbook()
MONITORING = Monitoring()
THRESHOLDS = PLAYBOOK.thresholds
LIMITS = Limits(
    error_rate=THRESHOLDS.error_rate,
    degradation=THRESHOLDS.degradation,
    fast_enough_ms=THRESHOLDS.fast_enough_ms,
    min_requests=MONITORING.min_requests,
    silence_s=MONITORING.silence_s,
    active_connections=THRESHOLDS.active_connections,
    queue_failed_jobs=THRESHOLDS.queue_failed_jobs,
)
HOUR = 3600.0
DAYS_S, WARM_UP_S = 24 * HOUR, HOUR
WEBHOOKS = 0.6  # of the requests
PATHS = ("/api/health", "/api/health/db", "/api/health/webhooks", "/dashboard", "/settings")


@dataclass(frozen=True)
class Series:
    """A service without a fault. `rate` in requests a second at a moment; latency in ms; `errors` of all requests."""

    name: str
    rate: Callable[[float], float]
    errors: float
    median_ms: float = 60.0
    spread: float = 0.5
    load: Callable[[float], float] = lambda _at: 1.0
    bursts: bool = True  # each hour a restart: some seconds in which a third fails and all is slow


def daily(low: float, high: float) -> Callable[[float], float]:
    """From `low` at night to `high` at noon."""
    return lambda at: low + (high - low) * (1 - math.cos(2 * math.pi * at / DAYS_S)) / 2


NOISE = Series("noise, 5 a second", lambda _at: 5.0, errors=0.01)
DAILY = Series("daily cycle, 0.005 to 6 a second", daily(0.005, 6.0), errors=0.01, load=daily(1.0, 1.3))
SPARSE = Series("sparse, 3 a minute", lambda _at: 0.05, errors=0.02)
EDGE = Series("just enough to tell, 18 a minute", lambda _at: 0.3, errors=0.02)
QUIET = (NOISE, DAILY, SPARSE, EDGE)


@dataclass(frozen=True)
class Fault:
    """From a moment on. `window_s` is what has to pass before it can be known."""

    name: str
    series: Series
    signals: frozenset[Signal]
    window_s: float
    errors: float = 0.0
    slower: float = 1.0
    silent: bool = False
    unwell: frozenset[str] = frozenset()


FAULTS = (
    Fault("every third request fails", NOISE, frozenset({Signal.ERROR_RATE}), MONITORING.window_s, errors=0.33),
    Fault("one in six fails", NOISE, frozenset({Signal.ERROR_RATE}), MONITORING.window_s, errors=0.17),
    Fault("all fail, at 18 a minute", EDGE, frozenset({Signal.ERROR_RATE}), MONITORING.window_s, errors=1.0),
    Fault("everything takes 4 times as long", NOISE, frozenset({Signal.PERFORMANCE}), MONITORING.window_s, slower=4),
    Fault("no webhook comes", NOISE, frozenset({Signal.SILENCE}), MONITORING.silence_s, silent=True),
    Fault("a health endpoint fails", SPARSE, frozenset({Signal.HEALTH}), 0.0, unwell=frozenset(PATHS[1:2])),
    Fault("pages fail, 3 users a minute", SPARSE, frozenset({Signal.FEATURE}), 0.0, unwell=frozenset(PATHS[3:])),
)


@dataclass
class Simulated:
    """A monitor's polls in a time of its own. `fault` begins at `begins_s`."""

    series: Series
    seed: int
    fault: Fault | None = None
    begins_s: float = math.inf
    now: float = 0.0
    events: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.users, self.probes = (RequestWindow(MONITORING.window_s, now=lambda: self.now) for _ in range(2))
        self.normal, self.probes_normal = (OwnNormal(MONITORING.window_s, LIMITS) for _ in range(2))
        self.hysteresis = Hysteresis(MONITORING.polls_to_raise, MONITORING.polls_to_clear)

    def polls(self, until_s: float) -> Iterator[list[str]]:
        """What is raised by each poll."""
        self.users.begin(), self.probes.begin()
        moments = [0.0]
        while moments[-1] < until_s:
            moments.append(moments[-1] + MONITORING.poll_every_s)
        for before, at in pairwise(moments):
            self._requests(before, at)
            self.now = at
            changes = self.hysteresis.update(read_signals(self._seen(), LIMITS))
            yield [change.signal for change in changes if change.raised]

    def _requests(self, begin: float, end: float) -> None:
        """Users' requests between two polls, as a Poisson process."""
        at = begin
        while (at := at + self.random.expovariate(max(self.series.rate(begin), 1e-6))) < end:
            webhook = self.random.random() < WEBHOOKS
            active = self.fault if self.fault and at >= self.begins_s else None
            if webhook and active and active.silent:
                continue
            restart = self.series.bursts and at % HOUR < 5 and at > WARM_UP_S
            errors = max(self.series.errors, active.errors if active else 0.0, 0.33 if restart else 0.0)
            slower = self.series.load(at) * (active.slower if active else 1.0) * (3.0 if restart else 1.0)
            self._keep(self.users, at, errors, slower, "/hook" if webhook else "/api/dashboard/cases")
            if webhook:
                self.events.append(at)

    def _keep(self, window: RequestWindow, at: float, errors: float, slower: float, path: str) -> None:
        ms = self.random.lognormvariate(math.log(self.series.median_ms * slower), self.series.spread)
        status = 500 if self.random.random() < errors else 200
        window.keep(LoggedRequest(at, "GET", path, status, ms))

    def _seen(self) -> Observation:
        active = self.fault if self.fault and self.now >= self.begins_s else None
        words = {path: self._probe(path, active) for path in PATHS}
        users, probed = (window.last(MONITORING.window_s) for window in (self.users, self.probes))
        return Observation(
            traffic=users,
            probed=probed,
            health=_probes({path: words[path] for path in PATHS[:3]}),
            pages=_probes({path: words[path] for path in PATHS[3:]}),
            database=DatabaseReading(flow=self._flow()),
            normal_p95_ms=self._learnt(self.normal, users),
            normal_probe_ms=self._learnt(self.probes_normal, probed),
        )

    def _learnt(self, normal: OwnNormal, traffic: Traffic) -> float | None:
        return normal.learn(traffic, self.now)

    def _probe(self, path: str, active: Fault | None) -> str:
        unwell = 1.0 if active and path in active.unwell else 0.001
        if self.random.random() >= unwell or self.random.random() >= unwell:  # asked again at once, as the product does
            self._keep(self.probes, self.now, 0.0, 1.0, path)
            return OK
        self._keep(self.probes, self.now, 1.0, 1.0, path)
        return "503"

    def _flow(self) -> Flow:
        """As the database tells it: of the span before the newest event."""
        if not self.events:
            return Flow(None, 0, 0)
        newest, span_s = self.events[-1], SILENCE_SPANS * LIMITS.silence_s
        while self.events[0] <= newest - span_s:
            self.events.popleft()
        quarters = {int((newest - at) * FLOW_QUARTERS / span_s) for at in self.events}
        return Flow(self.now - newest, len(self.events), len(quarters))


def tell(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


def _probes(words: dict[str, str]) -> Probes:
    return Probes(words, frozenset(words))


@pytest.mark.parametrize("series", QUIET, ids=[each.name for each in QUIET])
def test_a_day_without_a_fault_is_a_day_without_an_alarm(series: Series) -> None:
    simulated, alarms = Simulated(series, seed=1), []
    for raised in simulated.polls(DAYS_S):
        alarms += [(round(simulated.now), signal, simulated.hysteresis.raised[signal].evidence) for signal in raised]
    found = classify(simulated.hysteresis.raised, PLAYBOOK.severity)
    tell(f"{series.name}: {len(alarms)} false alarms in 24 simulated hours (target 0)")
    assert not alarms and found is None, alarms


@pytest.mark.parametrize("fault", FAULTS, ids=[each.name for each in FAULTS])
def test_a_fault_is_found_within_its_window_and_two_polls(fault: Fault) -> None:
    took = [_found_after(fault, seed) for seed in range(20)]
    target_s = fault.window_s + 2 * MONITORING.poll_every_s
    beyond = (max(took) - fault.window_s) / MONITORING.poll_every_s
    tell(f"{fault.name}: found after {min(took):.0f} to {max(took):.0f} s; {beyond:.1f} polls beyond its window")
    assert max(took) <= target_s, took


def _found_after(fault: Fault, seed: int) -> float:
    """Seconds from the fault to the signal that tells of it; infinite when none did."""
    begins_s = WARM_UP_S + 600 + random.Random(seed).random() * MONITORING.poll_every_s
    simulated = Simulated(fault.series, seed, fault, begins_s)
    for raised in simulated.polls(begins_s + 2 * fault.window_s + HOUR / 4):
        if fault.signals & set(raised) and simulated.now >= begins_s:
            return simulated.now - begins_s
    return math.inf
