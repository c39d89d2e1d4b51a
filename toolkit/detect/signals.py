"""Signals: what was observed against the playbook's thresholds. Pure: it asks nothing and keeps no time.

A signal is breached, not breached, or not known at a poll. It is raised after some polls in a row that were breached,
and cleared after some that were not; a poll that does not know changes nothing. So neither one failed request nor one
good answer decides anything. Here are those of requests, health and migrations; `data_signals` has the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from toolkit.adapters.readings import FLOW_QUARTERS, Flow
from toolkit.adapters.traffic import ErrorClass, Traffic
from toolkit.detect import data_signals
from toolkit.detect.chance import beyond_chance
from toolkit.detect.seen import NOT_SEEN, Limits, Observation, Reading, Signal

SILENCE_SPANS = 2  # so many times the silence that is allowed is looked at before the newest event
STEADY_EVENTS = 40  # in the span before the newest event: at that rate, silence by chance is out of the question
SEVERAL_PATHS = 2
ORDINARY_ERRORS = 0.2  # of the threshold: a service of which 2 % fail on a good day has bad minutes, and no incident
ORDINARY_SLOW = 0.025  # of all requests; 5 % are slower than normal's 95th percentile, and fewer by half of it
FEATURE_RATE, FEATURE_REQUESTS = 0.5, 10
SCHEMA_ERRORS, SCHEMA_ERROR_RATE = 5, 0.02
# data exception, integrity violation, syntax error or undefined object: what code and schema say when they do not fit
SCHEMA_CLASSES = ("22", "23", "42")


def read_signals(seen: Observation, limits: Limits) -> dict[Signal, Reading]:
    """Every signal as it stands at this poll."""
    return {signal: read(seen, limits) for signal, read in _READERS.items()}


def _enough(traffic: Traffic | None, limits: Limits) -> Traffic | None:
    """The traffic, where it is enough to tell anything by."""
    return traffic if traffic is not None and traffic.requests >= limits.min_requests else None


def _error_rate(seen: Observation, limits: Limits) -> Reading:
    """Users' requests, as the logs tell them; where these are too few, our own probes of several paths."""
    if traffic := _enough(seen.traffic, limits):
        return _rate(traffic, limits, "requests")
    probed = _enough(seen.probed, limits)
    if probed is None:
        return NOT_SEEN
    reading = _rate(probed, limits, "probes")
    alone = sum(path.failed > 0 for path in probed.paths) < SEVERAL_PATHS  # one path is one feature
    return replace(reading, breached=False) if alone else reading


def _rate(traffic: Traffic, limits: Limits, what: str) -> Reading:
    rate = traffic.error_rate or 0.0
    evidence = f"{traffic.failed} of {traffic.requests} {what} failed in {traffic.window_s:.1f} s ({rate:.1%})"
    told = rate > limits.error_rate and beyond_chance(
        traffic.failed, traffic.requests, limits.error_rate * ORDINARY_ERRORS
    )
    return Reading(told, round(rate, 4), limits.error_rate, evidence)


def _performance(seen: Observation, limits: Limits) -> Reading:
    """Against the service's own normal: of users' requests, or of our probes where no log tells how long it took."""
    for traffic, normal, what in (
        (_enough(seen.traffic, limits), seen.normal_p95_ms, "requests"),
        (_enough(seen.probed, limits), seen.normal_probe_ms, "probes"),
    ):
        if traffic is not None and traffic.p95_ms is not None and normal is not None:
            return _slowness(traffic, traffic.p95_ms, normal, limits, what)
    return NOT_SEEN


def _slowness(traffic: Traffic, p95_ms: float, normal: float, limits: Limits, what: str) -> Reading:
    allowed = max(normal * (1 + limits.degradation), limits.fast_enough_ms)
    evidence = f"95 % of {traffic.requests} {what} took up to {p95_ms:.0f} ms; normal is {normal:.0f} ms"
    told = p95_ms > allowed and (
        not traffic.latencies or beyond_chance(traffic.slower_than(allowed), len(traffic.latencies), ORDINARY_SLOW)
    )
    return Reading(told, p95_ms, round(allowed, 1), evidence)


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


_READERS: Mapping[Signal, Callable[[Observation, Limits], Reading]] = {
    Signal.ERROR_RATE: _error_rate,
    Signal.PERFORMANCE: _performance,
    Signal.HEALTH: _health,
    Signal.FEATURE: _feature,
    Signal.DATABASE: _database,
    Signal.SILENCE: _silence,
    Signal.MIGRATION_FAILURE: _migration_failure,
    Signal.MIGRATION_DIRTY: _migration_dirty,
    Signal.QUEUE: data_signals.queue,
    Signal.CONNECTIONS: data_signals.connections,
    Signal.DATA_INTEGRITY: data_signals.data_integrity,
    Signal.ORPHANS: data_signals.orphans,
    Signal.ROWS: data_signals.rows_lost,
    Signal.FIGURES: data_signals.kpi_jump,
    Signal.STORAGE: data_signals.storage,
    Signal.ROLLBACK_FAILURE: data_signals.rollback_failure,
    Signal.VALIDATION_FAILURE: data_signals.validation_failure,
}
