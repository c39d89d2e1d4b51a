"""The ledger's figures: rates while it is written, downtime, and the export."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ledger_book import ERROR, NOON, OK, REFUSED, Book, event

from toolkit.drill.ledger import Downtime, LiveRates, Outcome, downtime, export_requests, live, totals


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "a ledger.sqlite")


# Rates


def test_live_counts_what_ended_within_the_window(book: Book) -> None:
    book.webhook("evt_1", ERROR, at=0)  # too old
    for number in range(18):
        book.webhook(f"evt_{number + 2}", OK, at=6 + number / 10)
    book.read(REFUSED, at=4, until=9)  # sent before the window, ended inside it
    book.read(Outcome(401, 1000.0), at=9.5)
    book.read(None, at=9.6)  # still under way
    rates = live(book.path, 5, now=NOON + timedelta(seconds=10))
    assert (rates.requests, rates.failed, rates.error_rate) == (20, 1, 0.05)
    assert rates.p95_ms == pytest.approx(57.6)  # a twentieth of the way from 8 to 1000


def test_live_knows_no_rate_where_nothing_ended(tmp_path: Path, book: Book) -> None:
    nothing = LiveRates(requests=0, failed=0, error_rate=None, p95_ms=None)
    assert live(tmp_path / "none.sqlite", 5) == nothing
    assert live(book.path, 5) == nothing
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    assert live(tmp_path / "empty.sqlite", 5) == nothing


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (OK, 0),
        (Outcome(401, 1.0), 0),
        (Outcome(404, 1.0), 0),
        (Outcome(409, 1.0), 0),
        (Outcome(429, 1.0), 1),
        (Outcome(500, 1.0), 1),
        (Outcome(503, 1.0), 1),
        (REFUSED, 1),
        (Outcome(200, 1.0, "ReadError"), 1),
    ],
)
def test_what_counts_as_failed(book: Book, outcome: Outcome, failed: int) -> None:
    book.read(outcome, at=0)
    assert totals(book.path).failed == failed


# Downtime


def test_a_healthy_service_is_neither_down_nor_degraded(book: Book) -> None:
    for number in range(60):
        book.webhook(f"evt_{number}", OK, at=number / 20)
    assert downtime(book.path) == Downtime(0, 0)


def test_seconds_without_one_acknowledgement_are_downtime(book: Book) -> None:
    for second, outcome in enumerate([OK, ERROR, REFUSED, OK]):
        for number in range(3):
            book.webhook(f"evt_{second}_{number}", outcome, at=second + number / 10)
    assert downtime(book.path) == Downtime(downtime_s=2, degraded_s=0)


def test_one_acknowledgement_in_a_second_makes_it_degraded_instead(book: Book) -> None:
    for number in range(9):
        book.webhook(f"evt_{number}", ERROR if number else OK, at=number / 10)
    assert downtime(book.path) == Downtime(downtime_s=0, degraded_s=1)


def test_a_tenth_of_failures_is_not_yet_degraded(book: Book) -> None:
    for number in range(10):
        book.read(OK if number else ERROR, at=number / 20)
    assert downtime(book.path) == Downtime(0, 0)
    book.read(ERROR, at=0.9)
    assert downtime(book.path) == Downtime(0, 1)


def test_two_attempts_show_no_downtime(book: Book) -> None:
    book.webhook("evt_1", ERROR, at=0)
    book.webhook("evt_2", ERROR, at=0.5)
    assert downtime(book.path) == Downtime(0, 0)


def test_a_service_that_hangs_is_down_while_it_hangs(book: Book) -> None:
    """Every connection is taken in second 1 and given up in second 6: nothing is sent between, and it is down."""
    for number in range(3):
        book.webhook(f"evt_before_{number}", OK, at=0.1 + number / 10)
    timeout = Outcome(None, 5000.0, "ReadTimeout")
    book.clock.set(1.5)
    hanging = [book.ledger.begin_attempt(event(f"evt_{number}"), 1) for number in range(5)]
    book.clock.set(6.5)
    for request in hanging:
        book.ledger.finish(request, timeout)
    for number in range(3):
        book.webhook(f"evt_after_{number}", OK, at=7.1 + number / 10)
    assert downtime(book.path) == Downtime(downtime_s=6, degraded_s=0)


def test_a_late_acknowledgement_counts_where_it_was_sent(book: Book) -> None:
    for number in range(3):
        book.webhook(f"evt_{number}", OK, at=0.9, until=3.0 + number)
    assert downtime(book.path) == Downtime(0, 0)
    book.clock.set(9.9)
    late = book.ledger.begin_attempt(event("evt_late"), 1)
    for number in range(3):
        book.webhook(f"evt_failed_{number}", ERROR, at=10 + number / 10)
    book.clock.set(10.5)
    book.ledger.finish(late, OK)
    assert downtime(book.path) == Downtime(downtime_s=1, degraded_s=0)


def test_downtime_of_a_part_of_the_time(book: Book) -> None:
    for second in range(4):
        for number in range(3):
            book.webhook(f"evt_{second}_{number}", ERROR, at=second + number / 10)
    bounds = {"since": NOON + timedelta(seconds=1), "until": NOON + timedelta(seconds=3)}
    assert downtime(book.path, **bounds) == Downtime(downtime_s=2, degraded_s=0)


# Export


def test_the_export_holds_every_request_with_an_outcome(book: Book, tmp_path: Path) -> None:
    book.webhook("evt_1", ERROR, at=0)
    book.webhook("evt_1", OK, at=1, n=2)
    book.read(REFUSED, at=2)
    book.read(None, at=3)
    target = tmp_path / "requests.parquet"
    assert export_requests(book.path, target) == 3
    table = pq.read_table(target)
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("status").type) == "int16"
    first, second, third = table.to_pylist()
    assert first | {"at": None} == {
        "at": None,
        "kind": "webhook",
        "method": "POST",
        "path": "/api/webhooks/whop",
        "status": 500,
        "ms": 9.0,
        "error": None,
        "deployment": None,
        "attempt": 1,
        "event_type": "payment_failed",
    }
    assert first["at"] == NOON
    assert (second["attempt"], second["status"], second["deployment"]) == (2, 200, "dpl_8")
    assert (third["kind"], third["status"], third["error"], third["event_type"]) == ("read", None, "ConnectError", None)


def test_an_empty_ledger_exports_an_empty_table(book: Book, tmp_path: Path) -> None:
    assert export_requests(book.path, tmp_path / "requests.parquet") == 0
    assert pq.read_table(tmp_path / "requests.parquet").num_rows == 0
