"""Thresholds, samples and hysteresis, case by case: what raises a signal, and, as important, what does not."""

import math
from dataclasses import replace

import pytest

from toolkit.adapters.capacity import Capacity
from toolkit.adapters.readings import Activity, Flow, MigrationState, QueueState
from toolkit.adapters.sampled import Orphans, Remaining
from toolkit.adapters.traffic import ErrorClass, PathTraffic, Traffic
from toolkit.detect.chance import CHANCE, beyond_chance
from toolkit.detect.hysteresis import Hysteresis
from toolkit.detect.normal import Figures, OwnNormal
from toolkit.detect.seen import (
    DatabaseReading,
    DataReading,
    Jump,
    Limits,
    Observation,
    Outcomes,
    Probes,
    Reading,
    Signal,
)
from toolkit.detect.signals import read_signals

LIMITS = Limits(
    error_rate=0.10,
    degradation=0.5,
    fast_enough_ms=200,
    min_requests=40,
    silence_s=900,
    active_connections=50,
    queue_failed_jobs=10,
)
VIOLATION = ErrorClass(500, "/hook", "23514", constraint="known_category")
DEADLOCK = ErrorClass(500, "/hook", "40P01")
STEADY = Flow(newest_age_s=5, events=400, quarters=4)


def traffic(
    requests: int = 100, failed: int = 0, p95_ms: float | None = 100, *errors: tuple[ErrorClass, int]
) -> Traffic:
    return Traffic(
        60, requests, failed, 50, p95_ms, errors, (PathTraffic("/hook", requests, failed, requests - failed),)
    )


def probes(*fresh: str, **words: str) -> Probes:
    return Probes({f"/{name}": word for name, word in words.items()}, frozenset(f"/{name}" for name in fresh))


def database(**parts) -> DatabaseReading:
    return DatabaseReading(**parts)


def probed(first: int, second: int) -> Traffic:
    """60 probes of two paths, of which so many failed at each."""
    paths = (PathTraffic("/dashboard", 30, first, 30 - first), PathTraffic("/settings", 30, second, 30 - second))
    return Traffic(60, 60, first + second, 50, 100, (), paths)


def orphaned(sampled: int, count: int) -> Observation:
    return Observation(data=DataReading(orphans={"actions.case_id": Orphans(sampled, count)}))


def rows(now: int, before: int, *, sure: bool = True) -> Observation:
    return Observation(data=DataReading(rows={"cases": Remaining(now, sure)}), normal_rows={"cases": before})


CALM = Activity(60, 3, 0, 0, 0)
LIVE_9 = {"migration": MigrationState(9, False), "stable_version": 8}

CASES = [
    # error rate: above the threshold, with enough requests
    (Signal.ERROR_RATE, Observation(traffic=traffic(100, 11)), True),
    (Signal.ERROR_RATE, Observation(traffic=traffic(100, 10)), False),
    (Signal.ERROR_RATE, Observation(traffic=traffic(39, 39)), None),
    (Signal.ERROR_RATE, Observation(traffic=traffic(0, 0)), None),
    (Signal.ERROR_RATE, Observation(traffic=None), None),
    (Signal.ERROR_RATE, Observation(traffic=traffic(40, 5)), False),  # 12 %, and chance where 2 % are ordinary
    (Signal.ERROR_RATE, Observation(traffic=traffic(40, 8)), True),
    # performance: worse than normal by half, and slow at all
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=301), normal_p95_ms=200), True),
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=300), normal_p95_ms=200), False),
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=150), normal_p95_ms=5), False),
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=201), normal_p95_ms=5), True),
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=900), normal_p95_ms=None), None),
    (Signal.PERFORMANCE, Observation(traffic=traffic(30, p95_ms=900), normal_p95_ms=200), None),
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=None), normal_p95_ms=200), None),
    # health: a fresh bad word; an old bad word neither raises nor clears
    (Signal.HEALTH, Observation(health=probes("a", "b", a="ok", b="503")), True),
    (Signal.HEALTH, Observation(health=probes("a", a="ok", b="503")), None),
    (Signal.HEALTH, Observation(health=probes("a", a="ok", b="ok")), False),
    (Signal.HEALTH, Observation(health=probes(a="ok")), None),
    (Signal.HEALTH, Observation(), None),
    # one feature: a page that does not load, or a path most of whose requests fail
    (Signal.FEATURE, Observation(traffic=traffic(20, 10)), True),
    (Signal.FEATURE, Observation(traffic=traffic(20, 9)), False),
    (Signal.FEATURE, Observation(traffic=traffic(9, 9)), False),
    (Signal.FEATURE, Observation(traffic=traffic(), pages=probes("p", p="500")), True),
    (Signal.FEATURE, Observation(traffic=traffic(), pages=probes(p="500")), None),
    (Signal.FEATURE, Observation(pages=probes("p", p="ok")), None),
    # database
    (Signal.DATABASE, Observation(database=database(error="connection refused")), True),
    (Signal.DATABASE, Observation(database=database()), False),
    (Signal.DATABASE, Observation(), None),
    # silence: only where there had been a steady flow
    (Signal.SILENCE, Observation(database=database(flow=replace(STEADY, newest_age_s=901))), True),
    (Signal.SILENCE, Observation(database=database(flow=replace(STEADY, newest_age_s=900))), False),
    (Signal.SILENCE, Observation(database=database(flow=Flow(901, 400, 3))), False),
    (Signal.SILENCE, Observation(database=database(flow=Flow(901, 39, 4))), False),
    (Signal.SILENCE, Observation(database=database(flow=Flow(None, 0, 0))), None),
    (Signal.SILENCE, Observation(database=database(error="gone")), None),
    # a migration that nobody verified, and errors of the kind that it makes
    (Signal.MIGRATION_FAILURE, Observation(traffic=traffic(100, 5, 9, (VIOLATION, 5)), **LIVE_9), True),
    (Signal.MIGRATION_FAILURE, Observation(traffic=traffic(100, 4, 9, (VIOLATION, 4)), **LIVE_9), False),
    (Signal.MIGRATION_FAILURE, Observation(traffic=traffic(300, 5, 9, (VIOLATION, 5)), **LIVE_9), False),
    (Signal.MIGRATION_FAILURE, Observation(traffic=traffic(100, 50, 9, (DEADLOCK, 50)), **LIVE_9), False),
    (
        Signal.MIGRATION_FAILURE,
        Observation(traffic=traffic(100, 50, 9, (VIOLATION, 50)), migration=MigrationState(8, False), stable_version=8),
        False,
    ),
    (
        Signal.MIGRATION_FAILURE,
        Observation(traffic=traffic(100, 50, 9, (VIOLATION, 50)), migration=MigrationState(9, False)),
        None,
    ),
    # state table, queue, sessions
    (Signal.MIGRATION_DIRTY, Observation(database=database(migration=MigrationState(9, True))), True),
    (Signal.MIGRATION_DIRTY, Observation(database=database(migration=MigrationState(9, False))), False),
    (Signal.MIGRATION_DIRTY, Observation(database=database(migration=MigrationState(None, None))), None),
    (Signal.QUEUE, Observation(database=database(queue=QueueState(24, 11, 0, 0, None))), True),
    (Signal.QUEUE, Observation(database=database(queue=QueueState(24, 10, 0, 0, None))), False),
    (Signal.QUEUE, Observation(database=database(queue=QueueState(24, 0, 0, 1, None))), True),
    (Signal.CONNECTIONS, Observation(database=database(activity=Activity(60, 51, 0, 0, 0))), True),
    (Signal.CONNECTIONS, Observation(database=database(activity=Activity(60, 50, 2, 4, 4))), False),
    (Signal.CONNECTIONS, Observation(database=database(activity=Activity(60, 3, 2, 6, 6))), True),
    (Signal.CONNECTIONS, Observation(database=database(activity=CALM, capacity=Capacity(91, 100))), True),
    (Signal.CONNECTIONS, Observation(database=database(activity=CALM, capacity=Capacity(90, 100))), False),
    (Signal.QUEUE, Observation(database=database(queue=QueueState(24, 0, 5, 0, 901))), True),
    (Signal.QUEUE, Observation(database=database(queue=QueueState(24, 0, 5, 0, 900))), False),
    # our own probes, where users' requests are too few to tell; one path alone is one feature
    (Signal.ERROR_RATE, Observation(traffic=traffic(39, 0), probed=probed(6, 4)), True),
    (Signal.ERROR_RATE, Observation(traffic=None, probed=probed(7, 7)), True),
    (Signal.ERROR_RATE, Observation(traffic=None, probed=probed(20, 0)), False),
    (Signal.ERROR_RATE, Observation(traffic=traffic(40, 0), probed=probed(20, 20)), False),
    (Signal.ERROR_RATE, Observation(traffic=None, probed=traffic(39, 39)), None),
    (Signal.PERFORMANCE, Observation(probed=traffic(60, p95_ms=301), normal_probe_ms=200), True),
    (Signal.PERFORMANCE, Observation(traffic=traffic(p95_ms=None), probed=traffic(), normal_probe_ms=200), False),
    (Signal.PERFORMANCE, Observation(probed=traffic(60, p95_ms=301), normal_p95_ms=200), None),
    # the data: orphans in a sample, rows of a critical table, figures that users see
    (Signal.ORPHANS, orphaned(2000, 10), True),
    (Signal.ORPHANS, orphaned(2000, 9), False),
    (Signal.ORPHANS, orphaned(100, 2), False),
    (Signal.ORPHANS, orphaned(0, 0), None),
    (Signal.ROWS, rows(499, 1000), True),
    (Signal.ROWS, rows(500, 1000), False),
    (Signal.ROWS, rows(499, 1000, sure=False), None),
    (Signal.ROWS, rows(0, 19), None),
    (Signal.ROWS, Observation(data=DataReading(rows={"t": Remaining(0, True)})), None),
    (Signal.FIGURES, Observation(jumps=[Jump("cases", 151, 100)]), True),
    (Signal.FIGURES, Observation(jumps=[Jump("cases", 150, 100)]), False),
    (Signal.FIGURES, Observation(jumps=[Jump("cases", 49, 100), Jump("total", 100, 100)]), True),
    (Signal.FIGURES, Observation(jumps=[Jump("cases", 19, 2)]), None),
    (Signal.FIGURES, Observation(jumps=[]), None),
    # room: what the server tells of it
    (Signal.STORAGE, Observation(database=database(capacity=Capacity(1, 100))), False),
    (Signal.STORAGE, Observation(database=database(capacity=Capacity(1, 100, lag_s=61))), True),
    (Signal.STORAGE, Observation(database=database(capacity=Capacity(1, 100, slots_lost=1))), True),
    (Signal.STORAGE, Observation(database=database(capacity=Capacity(1, 100, archiver_fails=True))), True),
    (Signal.STORAGE, Observation(traffic=traffic(100, 1, 9, (ErrorClass(500, "/hook", "53100"), 1))), True),
    (Signal.STORAGE, Observation(traffic=traffic()), None),
    # what we did ourselves
    (Signal.ROLLBACK_FAILURE, Observation(outcomes=Outcomes(rollback="interrupted")), True),
    (Signal.ROLLBACK_FAILURE, Observation(outcomes=Outcomes(rollback="")), False),
    (Signal.ROLLBACK_FAILURE, Observation(), None),
    (Signal.VALIDATION_FAILURE, Observation(outcomes=Outcomes(validation="2 checks failed")), True),
    (Signal.VALIDATION_FAILURE, Observation(outcomes=Outcomes(validation="")), False),
]


@pytest.mark.parametrize(("signal", "seen", "breached"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_a_signal_against_its_threshold(signal: Signal, seen: Observation, breached: bool | None) -> None:
    reading = read_signals(seen, LIMITS)[signal]
    assert reading.breached is breached, reading.evidence


def test_every_signal_is_read_at_every_poll() -> None:
    assert set(read_signals(Observation(), LIMITS)) == set(Signal)
    assert {reading.breached for reading in read_signals(Observation(), LIMITS).values()} == {None}


def play(story: str, polls_to_raise: int = 2, polls_to_clear: int = 3) -> str:
    """What becomes of a signal: `x` breached, `.` not, `?` unknown; per poll `R` raised, `C` cleared, `-` no change."""
    hysteresis, told = Hysteresis(polls_to_raise, polls_to_clear), ""
    for poll in story:
        reading = Reading({"x": True, ".": False, "?": None}[poll], 1.0, 0.5, "")
        changes = hysteresis.update({Signal.ERROR_RATE: reading})
        told += "-" if not changes else "R" if changes[0].raised else "C"
        assert (Signal.ERROR_RATE in hysteresis.raised) == (told.count("R") > told.count("C"))
    return told


@pytest.mark.parametrize(
    ("story", "told"),
    [
        ("x.x.x.x.", "--------"),  # never twice in a row
        ("xx", "-R"),
        ("x?x", "--R"),  # not knowing neither helps nor hinders
        ("????", "----"),
        ("xx..", "-R--"),
        ("xx...", "-R--C"),
        ("xx..x..x", "-R------"),  # it comes back before it was cleared
        ("xx.?.?.", "-R----C"),
        ("xx...xx", "-R--C-R"),
        ("xxxxxx", "-R----"),
    ],
)
def test_hysteresis(story: str, told: str) -> None:
    assert play(story) == told


def test_one_poll_is_enough_where_the_playbook_says_so() -> None:
    assert play("x.x", polls_to_raise=1, polls_to_clear=1) == "RCR"


def test_a_raised_signal_carries_its_newest_evidence() -> None:
    hysteresis = Hysteresis(1, 2)
    hysteresis.update({Signal.ERROR_RATE: Reading(True, 0.2, 0.1, "20 %")})
    hysteresis.update({Signal.ERROR_RATE: Reading(True, 0.9, 0.1, "90 %")})
    hysteresis.update({Signal.ERROR_RATE: Reading(False, 0.0, 0.1, "0 %")})
    assert hysteresis.raised[Signal.ERROR_RATE].evidence == "90 %"


def test_signals_do_not_count_for_each_other() -> None:
    hysteresis, bad = Hysteresis(2, 2), Reading(True, 1, 0, "")
    assert hysteresis.update({Signal.HEALTH: bad}) == []
    assert hysteresis.update({Signal.DATABASE: bad}) == []
    assert [change.signal for change in hysteresis.update({Signal.HEALTH: bad})] == [Signal.HEALTH]


def test_one_failed_request_pages_nobody() -> None:
    """In a busy window it is far below the threshold; in a quiet one there are too few requests to say."""
    hysteresis = Hysteresis(2, 4)
    for requests in (1, 5, 39, 40, 100, 1000):
        seen = Observation(traffic=traffic(requests, 1), health=probes("a", a="ok"), database=database(flow=STEADY))
        for _ in range(10):
            assert hysteresis.update(read_signals(seen, LIMITS)) == []


def test_what_is_normal_is_learnt_from_several_windows_and_from_none_that_failed() -> None:
    """The first window may be an idle moment; held against it, an ordinary one would open an incident."""
    own = OwnNormal(60, LIMITS)
    assert own.learn(replace(traffic(p95_ms=1), window_s=30), now=0) is None, "half a window"
    assert own.learn(traffic(30, p95_ms=1), now=0) is None, "too few requests"
    assert own.learn(traffic(p95_ms=228), now=100) is None
    assert own.learn(traffic(p95_ms=459), now=130) is None
    assert own.learn(traffic(100, 50, 3000), now=160) is None, "what failed is not normal"
    assert own.learn(None, now=219) is None
    assert own.learn(traffic(p95_ms=300), now=220) == 459
    assert own.learn(traffic(p95_ms=5000), now=221) == 459, "it has learnt"


def test_a_figure_is_held_against_what_it_was_lately() -> None:
    figures = Figures(LIMITS)
    told = [figures.learn({"cases": 100.0 + n}) for n in range(7)]
    assert [len(jumps) for jumps in told] == [0, 0, 0, 0, 0, 1, 1], "five looks before it says anything"
    (jump,) = figures.learn({"cases": 300})
    assert jump == Jump("cases", 300, 103) and jump.share > LIMITS.kpi_jump
    assert figures.learn({"cases": 300})[0].before == 103, "what jumped is not normal"
    for _ in range(300):
        last = figures.learn({"cases": 300})
    assert last[0].before == 300, "unless it stays"


def test_a_few_slow_requests_among_few_are_chance_and_many_are_not() -> None:
    def slow(many: int, of: int) -> bool | None:
        told = tuple(sorted([100.0] * (of - many) + [900.0] * many))
        seen = Observation(traffic=replace(traffic(of, p95_ms=900), latencies=told), normal_p95_ms=200)
        return read_signals(seen, LIMITS)[Signal.PERFORMANCE].breached

    assert [slow(3, 40), slow(7, 40), slow(8, 40), slow(40, 40), slow(60, 1000)] == [False, False, True, True, True]


@pytest.mark.parametrize(("count", "of", "ordinary"), [(7, 33, 0.02), (11, 100, 0.02), (34, 600, 0.025), (1, 1, 1e-6)])
def test_what_is_beyond_chance_is_the_binomial_tail(count: int, of: int, ordinary: float) -> None:
    def tail(least: int) -> float:
        return sum(math.comb(of, n) * ordinary**n * (1 - ordinary) ** (of - n) for n in range(least, of + 1))

    for each in range(max(1, count - 6), min(of, count + 6) + 1):
        assert beyond_chance(each, of, ordinary) == (tail(each) < CHANCE), each
