"""Signals: what was observed against the playbook's thresholds. Pure: it asks nothing and keeps no time.

A signal is breached, not breached, or not known at a poll. It is raised after some polls in a row that were breached,
and cleared after some that were not; a poll that does not know changes nothing. So neither one failed request nor one
good answer decides anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from toolkit.adapters.readings import FLOW_QUARTERS, Activity, Flow, MigrationState, QueueState
from toolkit.adapters.traffic import ErrorClass, Traffic
from toolkit.adapters.value_shares import Shares, shift
from toolkit.playbook import Playbook, Target

OK = "ok"
SILENCE_SPANS = 2  # so many times the silence that is allowed is looked at before the newest event
STEADY_EVENTS = 40  # in the span before the newest event: at that rate, silence by chance is out of the question
FEATURE_RATE, FEATURE_REQUESTS = 0.5, 10
SCHEMA_ERRORS, SCHEMA_ERROR_RATE = 5, 0.02
BLOCKED_TOO_LONG_S = 5.0
# data exception, integrity violation, syntax error or undefined object: what code and schema say when they do not fit
SCHEMA_CLASSES = ("22", "23", "42")


class Signal(StrEnum):
    ERROR_RATE = "error_rate"
    PERFORMANCE = "performance"
    HEALTH = "health"
    FEATURE = "feature"
    DATABASE = "database"
    SILENCE = "webhook_silence"
    MIGRATION_FAILURE = "migration_failure"
    MIGRATION_DIRTY = "migration_dirty"
    QUEUE = "job_queue"
    CONNECTIONS = "connections"
    DATA_INTEGRITY = "data_integrity"


@dataclass(frozen=True)
class Limits:
    """The playbook's thresholds, in one place. Rates from 0 to 1, times in seconds or milliseconds as named."""

    error_rate: float
    degradation: float
    fast_enough_ms: float
    min_requests: int
    silence_s: float
    active_connections: int
    queue_failed_jobs: int
    value_shift: float = 0.3

    @classmethod
    def of(cls, playbook: Playbook, target: Target) -> Self:
        limits, monitoring = playbook.thresholds_on(target), target.monitoring
        return cls(
            error_rate=limits.error_rate,
            degradation=limits.degradation,
            fast_enough_ms=limits.fast_enough_ms,
            min_requests=monitoring.min_requests,
            silence_s=monitoring.silence_s,
            active_connections=limits.active_connections,
            queue_failed_jobs=limits.queue_failed_jobs,
            value_shift=limits.value_shift,
        )


@dataclass(frozen=True)
class DatabaseReading:
    """What the database told; `error` when it could not be reached. Each other part is None where it was not told."""

    error: str | None = None
    flow: Flow | None = None
    migration: MigrationState | None = None
    activity: Activity | None = None
    queue: QueueState | None = None
    shares: Mapping[str, Shares] | None = None


@dataclass(frozen=True)
class Probes:
    """The latest word of each path that is probed: `ok`, or what was wrong. `fresh` are those of this poll."""

    words: Mapping[str, str] = field(default_factory=dict)
    fresh: frozenset[str] = frozenset()

    @property
    def wrong(self) -> dict[str, str]:
        return {path: word for path, word in self.words.items() if word != OK}

    def breached(self) -> bool | None:
        """True when a fresh word is bad; None when there is none, or an older bad one stands; else False."""
        if any(path in self.fresh for path in self.wrong):
            return True
        return None if self.wrong or not self.fresh else False


@dataclass(frozen=True)
class Observation:
    """What one poll saw. None, and words that are not fresh: not seen by this poll.

    `migration` is the latest that is known. `normal_p95_ms` and `stable_version` are what to compare with.
    """

    traffic: Traffic | None = None
    health: Probes = Probes()
    pages: Probes = Probes()
    database: DatabaseReading | None = None
    migration: MigrationState | None = None
    normal_p95_ms: float | None = None
    stable_version: int | None = None
    normal_shares: Mapping[str, Shares] | None = None


@dataclass(frozen=True)
class Reading:
    """One signal at one poll. `breached` None: not known. `value` and `threshold` are in the signal's own unit."""

    breached: bool | None
    value: float | None
    threshold: float | None
    evidence: str


NOT_SEEN = Reading(None, None, None, "not seen")


def read_signals(seen: Observation, limits: Limits) -> dict[Signal, Reading]:
    """Every signal as it stands at this poll."""
    return {signal: read(seen, limits) for signal, read in _READERS.items()}


def _error_rate(seen: Observation, limits: Limits) -> Reading:
    traffic = seen.traffic
    if traffic is None or traffic.error_rate is None or traffic.requests < limits.min_requests:
        return NOT_SEEN
    rate = traffic.error_rate
    evidence = f"{traffic.failed} of {traffic.requests} requests failed in {traffic.window_s:.1f} s ({rate:.1%})"
    return Reading(rate > limits.error_rate, round(rate, 4), limits.error_rate, evidence)


def _performance(seen: Observation, limits: Limits) -> Reading:
    traffic, normal = seen.traffic, seen.normal_p95_ms
    if traffic is None or traffic.p95_ms is None or normal is None or traffic.requests < limits.min_requests:
        return NOT_SEEN
    allowed = max(normal * (1 + limits.degradation), limits.fast_enough_ms)
    evidence = f"95 % of {traffic.requests} requests took up to {traffic.p95_ms:.0f} ms; normal is {normal:.0f} ms"
    return Reading(traffic.p95_ms > allowed, traffic.p95_ms, round(allowed, 1), evidence)


def _health(seen: Observation, _limits: Limits) -> Reading:
    wrong, known = seen.health.wrong, seen.health.words
    if not known:
        return NOT_SEEN
    evidence = ", ".join(f"{path}: {word}" for path, word in wrong.items()) or "all healthy"
    return Reading(seen.health.breached(), round(len(wrong) / len(known), 2), 0, evidence)


def _feature(seen: Observation, _limits: Limits) -> Reading:
    """A page that does not load, or a path most of whose requests fail."""
    paths = seen.traffic.paths if seen.traffic else ()
    failing = [
        f"{each.path}: {each.failed} of {each.requests} failed"
        for each in paths
        if each.requests >= FEATURE_REQUESTS and each.failed / each.requests >= FEATURE_RATE
    ]
    pages = [f"{path}: {word}" for path, word in seen.pages.wrong.items()]
    breached = bool(failing) or seen.pages.breached()
    if seen.traffic is not None and not failing and not pages:
        breached = False
    elif seen.traffic is None and not pages:
        breached = None
    return Reading(breached, float(len(failing) + len(pages)), 0, ", ".join(failing + pages) or "all work")


def _database(seen: Observation, _limits: Limits) -> Reading:
    if seen.database is None:
        return NOT_SEEN
    error = seen.database.error
    return Reading(error is not None, float(error is not None), 0, error or "it answers")


def steady(flow: Flow) -> bool:
    """Whether events had been coming so steadily before the newest that silence after it tells something."""
    return flow.quarters == FLOW_QUARTERS and flow.events >= STEADY_EVENTS


def _silence(seen: Observation, limits: Limits) -> Reading:
    """Only where events had been coming steadily: in each quarter of the span before the newest, and many of them."""
    flow = seen.database.flow if seen.database else None
    if flow is None or flow.newest_age_s is None:
        return NOT_SEEN
    before = f"{flow.events} came in the {SILENCE_SPANS * limits.silence_s:g} s before it"
    evidence = f"the newest event is {flow.newest_age_s:.0f} s old (allowed here: {limits.silence_s:g} s); {before}"
    return Reading(
        steady(flow) and flow.newest_age_s > limits.silence_s, round(flow.newest_age_s, 1), limits.silence_s, evidence
    )


def _migration_failure(seen: Observation, limits: Limits) -> Reading:
    """A migration that nobody verified is live, and requests fail as they do when code and schema do not fit."""
    traffic, state, stable = seen.traffic, seen.migration, seen.stable_version
    if traffic is None or state is None or state.version is None or stable is None or not traffic.requests:
        return NOT_SEEN
    errors = [(error, count) for error, count in traffic.errors if (error.sqlstate or "")[:2] in SCHEMA_CLASSES]
    count = sum(count for _, count in errors)
    unverified = state.version > stable
    evidence = f"version {state.version} is live, the newest verified is {stable}; {count} requests failed so that" + (
        f" the database says {_named(errors[0][0])}" if errors else " the database objects"
    )
    enough = count >= SCHEMA_ERRORS and count / traffic.requests >= SCHEMA_ERROR_RATE
    return Reading(unverified and enough, float(count), SCHEMA_ERRORS, evidence)


def _named(error: ErrorClass) -> str:
    named = error.constraint or error.column or error.relation
    return f"{error.sqlstate} ({named})" if named else str(error.sqlstate)


def _migration_dirty(seen: Observation, _limits: Limits) -> Reading:
    state = seen.database.migration if seen.database else None
    if state is None or state.dirty is None:
        return NOT_SEEN
    said = "the state table" if state.version is None else f"migration {state.version}"
    evidence = f"{said} is marked {'dirty' if state.dirty else 'clean'}"
    return Reading(state.dirty, float(state.dirty), 0, evidence)


def _queue(seen: Observation, limits: Limits) -> Reading:
    queue = seen.database.queue if seen.database else None
    if queue is None:
        return NOT_SEEN
    breached = queue.failed > limits.queue_failed_jobs or queue.stuck > 0
    evidence = f"{queue.failed} jobs failed, {queue.stuck} are stuck"
    return Reading(breached, float(queue.failed), limits.queue_failed_jobs, evidence)


def _connections(seen: Observation, limits: Limits) -> Reading:
    now = seen.database.activity if seen.database else None
    if now is None:
        return NOT_SEEN
    breached = now.active > limits.active_connections or now.longest_blocked_s > BLOCKED_TOO_LONG_S
    evidence = f"{now.active} sessions are active, {now.blocked} blocked for up to {now.longest_blocked_s:.0f} s"
    return Reading(breached, float(now.active), limits.active_connections, evidence)


def _data_integrity(seen: Observation, limits: Limits) -> Reading:
    """A watched column of which a large part has other values than it had when all was verified."""
    now, normal = seen.database.shares if seen.database else None, seen.normal_shares
    shifts = {name: shift(normal[name], now[name]) for name in now if name in normal} if now and normal else {}
    if not shifts:
        return NOT_SEEN
    worst = max(shifts, key=lambda name: shifts[name])
    evidence = f"{shifts[worst]:.0%} of the sampled values of {worst} are others than when all was verified"
    return Reading(shifts[worst] > limits.value_shift, round(shifts[worst], 3), limits.value_shift, evidence)


_READERS: Mapping[Signal, Callable[[Observation, Limits], Reading]] = {
    Signal.ERROR_RATE: _error_rate,
    Signal.PERFORMANCE: _performance,
    Signal.HEALTH: _health,
    Signal.FEATURE: _feature,
    Signal.DATABASE: _database,
    Signal.SILENCE: _silence,
    Signal.MIGRATION_FAILURE: _migration_failure,
    Signal.MIGRATION_DIRTY: _migration_dirty,
    Signal.QUEUE: _queue,
    Signal.CONNECTIONS: _connections,
    Signal.DATA_INTEGRITY: _data_integrity,
}


@dataclass(frozen=True)
class Change:
    """A signal that was raised or cleared at this poll."""

    signal: Signal
    raised: bool
    reading: Reading


class Hysteresis:
    """Raises a signal after `polls_to_raise` breached polls in a row, clears it after `polls_to_clear` good ones."""

    def __init__(self, polls_to_raise: int, polls_to_clear: int) -> None:
        self._to_raise, self._to_clear = polls_to_raise, polls_to_clear
        self._streaks: dict[Signal, int] = {}
        self.raised: dict[Signal, Reading] = {}

    def update(self, readings: Mapping[Signal, Reading]) -> list[Change]:
        """Take one poll's readings; what was raised or cleared by it. `raised` then holds the latest bad readings."""
        changes = []
        for signal, reading in readings.items():
            if reading.breached is None:
                continue
            towards = reading.breached is not (signal in self.raised)
            self._streaks[signal] = self._streaks.get(signal, 0) + 1 if towards else 0
            if reading.breached and signal in self.raised:
                self.raised[signal] = reading
            if self._streaks[signal] >= (self._to_raise if reading.breached else self._to_clear):
                self._streaks[signal] = 0
                changes.append(Change(signal, reading.breached, reading))
                if reading.breached:
                    self.raised[signal] = reading
                else:
                    del self.raised[signal]
        return changes
