"""Log lines as requests: what counts, what fails, and what is never kept."""

import json

import pytest

from toolkit.adapters.traffic import ErrorClass, Reader, percentile, summarise
from toolkit.adapters.vercel import LogLine
from toolkit.clock import utc_now

READER = Reader(frozenset({"/api/health", "/api/health/db"}))


def line(message: str = "", *, status: int | None = 200, path: str = "/x", method: str = "GET") -> LogLine:
    return LogLine(utc_now(), "info", message, "serverless", method, path, status, "row")


def printed(**more) -> LogLine:
    told = {"method": "POST", "path": "/hook", "status": 200, "ms": 12.5, "request_id": "evt_1", "error": None}
    return line(json.dumps(told | more))


def test_a_printed_request_is_read_in_full() -> None:
    error = {"type": "CheckViolation", "sqlstate": "23514", "constraint": "c", "relation": "t", "column": None}
    found = READER.read(printed(status=500, error=error | {"message": "violates c"}, event_type="payment_failed"))
    assert found is not None and found.failed and (found.ms, found.event_type) == (12.5, "payment_failed")
    assert found.error == ErrorClass(500, "/hook", "23514", "c", "t", None, "violates c")


def test_the_platforms_columns_serve_where_nothing_was_printed() -> None:
    found = READER.read(line("GET /x took long", status=504))
    assert found is not None and found.failed and (found.path, found.ms) == ("/x", None)


@pytest.mark.parametrize(
    "ignored",
    [
        line("started", status=None),
        line(status=200, path="/api/health"),
        printed(path="/api/health/db?x=1"),
        printed(request_id="toolkit-0123"),
        printed(path="/api/health", status=503),
    ],
)
def test_what_does_not_count(ignored: LogLine) -> None:
    assert READER.read(ignored) is None


@pytest.mark.parametrize(
    ("path", "alike"),
    [
        ("/api/cases/7c9e6679-7425-40de-944b-e07fc1f90ae7/nudge", "/api/cases/…/nudge"),
        ("/api/cases/42", "/api/cases/…"),
        ("/u/user_123456", "/u/…"),
        ("/api/v2/health.db", "/api/v2/health.db"),
        ("/a?token=secret", "/a"),
    ],
)
def test_paths_are_told_alike_and_without_what_names_somebody(path: str, alike: str) -> None:
    found = READER.read(printed(path=path))
    assert found is not None and found.path == alike


def test_a_refused_signature_is_nobodys_failure() -> None:
    found = READER.read(printed(status=401))
    assert found is not None and not found.failed and found.error is None


def test_a_window_is_summed_up() -> None:
    lines = [printed(ms=n) for n in range(1, 20)] + [printed(status=500, ms=1000), printed(path="/y", ms=None)]
    found = summarise([request for each in lines if (request := READER.read(each))], 10)
    assert (found.requests, found.failed, found.p50_ms, found.p95_ms) == (21, 1, 10, 19)
    assert found.steady_state()["rate_per_s"] == 2.1 and found.error_rate == pytest.approx(1 / 21)
    assert [(each.path, each.requests, each.failed, each.succeeded) for each in found.paths] == [
        ("/hook", 20, 1, 19),
        ("/y", 1, 0, 1),
    ]
    assert found.errors_as_json()[0] | {"count": 1, "status": 500, "path": "/hook"} == found.errors_as_json()[0]


def test_nothing_has_no_rate_and_no_latency() -> None:
    found = summarise([], 10)
    assert (found.error_rate, found.p50_ms, found.p95_ms, found.rate_per_s) == (None, None, None, 0)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.95, 4), (0.0, 1), (1.0, 4)])
def test_a_percentile_is_a_value_that_was_seen(share: float, value: int) -> None:
    assert percentile([1, 2, 3, 4], share) == value
