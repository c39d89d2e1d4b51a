"""The scan against series whose truth is known: it must find what is there, and must not find what is not."""

import numpy as np
import pytest

from toolkit.analysis.onset import Found, likelihood_ratio, scan


def series(requests: int, begin: int, end: int, usual: float, raised: float, seed: int = 1) -> np.ndarray:
    chance = np.random.default_rng(seed)
    failed = chance.random(requests) < usual
    failed[begin:end] = chance.random(end - begin) < raised
    return failed


@pytest.mark.parametrize(
    ("requests", "begin", "end", "usual", "raised", "off_by"),
    [
        (3000, 1000, 2200, 0.002, 0.20, 40),  # 40 requests are less than two seconds of a drill
        (3000, 1000, 2200, 0.0, 0.05, 120),
        (3000, 1000, 1040, 0.0, 0.90, 4),
        (200, 60, 140, 0.0, 0.30, 20),  # sparse: one request every few seconds
        (100_000, 40_000, 60_000, 0.001, 0.02, 600),
    ],
)
def test_onset_and_recovery_are_found_where_they_are(requests, begin, end, usual, raised, off_by) -> None:
    for seed in range(5):
        found = scan(series(requests, begin, end, usual, raised, seed))
        assert found.found is Found.CHANGE and found.main.onset and found.main.recovery
        assert abs(found.main.onset.at - begin) <= off_by
        assert abs(found.main.recovery.at - end) <= off_by


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    onsets = recoveries = 0
    for seed in range(100):
        found = scan(series(3000, 1000, 2200, 0.002, 0.2, seed))
        onset, recovery = found.main.onset, found.main.recovery
        onsets += onset.after < 1000 <= onset.until
        recoveries += recovery.after < 2200 <= recovery.until
    assert onsets >= 88 and recoveries >= 88
    assert onset.until - onset.after < 100, "an interval that holds everything says nothing"


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 0.1])
def test_a_steady_series_has_no_onset(rate: float) -> None:
    for seed in range(25):
        found = scan(series(3000, 0, 0, rate, rate, seed))
        assert found.found is Found.NO_CHANGE and found.main is None, found.why


def test_no_failure_at_all_is_said() -> None:
    assert scan(np.zeros(500, dtype=bool)).why == "none of 500 requests failed"


@pytest.mark.parametrize("requests", [0, 1, 5, 13])
def test_a_short_series_is_undetectable(requests: int) -> None:
    failed = np.zeros(requests, dtype=bool)
    failed[requests // 2 :] = True
    found = scan(failed)
    assert found.found is Found.UNDETECTABLE and "too few" in found.why and found.main is None


def test_failing_throughout_is_undetectable() -> None:
    found = scan(np.ones(500, dtype=bool))
    assert found.found is Found.UNDETECTABLE and "no normal time" in found.why


def test_failing_from_the_first_request_has_a_recovery_but_no_onset() -> None:
    found = scan(series(1000, 0, 600, 0.0, 0.4))
    assert found.main.onset is None and "onset undetectable" in found.main.unclear[0]
    assert abs(found.main.recovery.at - 600) <= 10


def test_failing_to_the_last_request_has_an_onset_but_no_recovery() -> None:
    found = scan(series(1000, 400, 1000, 0.0, 0.4))
    assert found.main.recovery is None and "recovery undetectable" in found.main.unclear[0]
    assert abs(found.main.onset.at - 400) <= 10


def test_a_few_good_requests_at_the_end_are_no_recovery() -> None:
    failed = series(1000, 400, 996, 0.0, 0.4)
    failed[996:] = False
    assert scan(failed).main.recovery is None


def test_an_outage_within_a_partial_failure_is_one_stretch() -> None:
    failed = series(3000, 1000, 2000, 0.001, 0.2)
    failed[1400:1700] = True
    found = scan(failed)
    assert abs(found.main.onset.at - 1000) <= 40 and abs(found.main.recovery.at - 2000) <= 40
    assert found.others == ()


def test_an_earlier_burst_is_told_apart() -> None:
    failed = series(5000, 3000, 4000, 0.0, 0.2)
    failed[500:512] = True
    found = scan(failed)
    assert abs(found.main.onset.at - 3000) <= 40
    assert [(other.begin, other.end) for other in found.others] == [(500, 512)]


def test_the_ratio_is_that_of_the_formula() -> None:
    inside_failed, inside, failed, requests = 30, 100, 36, 1000
    expected = 30 * np.log(0.3) + 70 * np.log(0.7) + 6 * np.log(6 / 900) + 894 * np.log(894 / 900)
    expected -= 36 * np.log(0.036) + 964 * np.log(0.964)
    (ratio,) = likelihood_ratio(np.array([inside_failed]), np.array([inside]), failed, requests)
    assert ratio == pytest.approx(expected)
    assert likelihood_ratio(np.array([1]), np.array([100]), failed, requests) == [0.0], "better than outside"
