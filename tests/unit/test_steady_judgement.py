"""Is it as it was before? Better never fails; worse fails only beyond what chance and the playbook allow."""

import pytest

from toolkit.adapters.traffic import Traffic
from toolkit.checks import Outcome
from toolkit.playbook import Thresholds
from toolkit.verify.expectation import SteadyState
from toolkit.verify.once import Once
from toolkit.verify.steady import judge_error_rate, judge_latency

LIMITS = Thresholds(error_rate=0.10, degradation=0.5, fast_enough_ms=200, active_connections=50, queue_failed_jobs=10)
PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN


def now(requests: int = 100, failed: int = 0, p95_ms: float | None = 100) -> Traffic:
    return Traffic(5, requests, failed, 50, p95_ms)


def before(error_rate: float | None = 0.0, p95_ms: float | None = 100) -> SteadyState:
    return SteadyState(
        window_s=60, requests=1000, failed=0, error_rate=error_rate, p50_ms=50, p95_ms=p95_ms, rate_per_s=16
    )


@pytest.mark.parametrize(
    ("measured", "normal", "outcome"),
    [
        (now(100, 0), before(0.0), PASS),
        (now(100, 1), before(0.0), PASS),  # one request of a hundred is within the margin
        (now(100, 2), before(0.0), FAIL),
        (now(30, 1), before(0.0), PASS),  # one request of thirty as well
        (now(30, 2), before(0.0), FAIL),
        (now(100, 3), before(0.02), PASS),
        (now(100, 0), before(0.05), PASS),
        (now(100, 11), before(0.11), FAIL),  # as bad as before, and too bad for the playbook
        (now(0, 0), before(0.0), UNKNOWN),
    ],
)
def test_the_error_rate(measured: Traffic, normal: SteadyState, outcome: Outcome) -> None:
    assert judge_error_rate(measured, normal, LIMITS).outcome is outcome


@pytest.mark.parametrize(
    ("measured", "normal", "outcome"),
    [
        (now(p95_ms=600), before(p95_ms=400), PASS),
        (now(p95_ms=601), before(p95_ms=400), FAIL),
        (now(p95_ms=199), before(p95_ms=3), PASS),  # fast enough, however fast it was before
        (now(p95_ms=201), before(p95_ms=3), FAIL),
        (now(p95_ms=None), before(p95_ms=3), UNKNOWN),
        (now(p95_ms=3), before(p95_ms=None), UNKNOWN),
    ],
)
def test_the_latency(measured: Traffic, normal: SteadyState, outcome: Outcome) -> None:
    assert judge_latency(measured, normal, LIMITS).outcome is outcome


def test_a_look_is_made_once_for_all_who_ask() -> None:
    looks = []
    once = Once(lambda: looks.append(1) or len(looks))
    assert (once.seen(), once.seen(), len(looks)) == (1, 1, 1)


def test_a_look_that_failed_fails_for_all_without_another_try() -> None:
    looks = []

    def look() -> int:
        looks.append(1)
        raise ValueError("away")

    once = Once(look)
    for _ in range(3):
        with pytest.raises(ValueError, match="away"):
            once.seen()
    assert len(looks) == 1
