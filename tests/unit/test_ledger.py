"""The ledger without a database: what is written when, what survives, and the baseline's runs of ids."""

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_book import ERROR, OK, REFUSED, Book, event

from toolkit.drill.ledger import Ledger, Outcome, Totals, reading, seal, totals
from toolkit.drill.ledger.baseline import Baseline, IdRun, id_runs
from toolkit.errors import ToolkitError


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "a ledger.sqlite")


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with reading(path) as db:
        return db.execute(query).fetchall()


def test_an_attempt_can_be_read_by_others_before_it_is_on_the_wire(book: Book) -> None:
    book.webhook("evt_1", None, at=0)
    assert rows(book.path, "SELECT event_id, n, status, acknowledged_at FROM attempts") == [("evt_1", 1, None, None)]
    assert totals(book.path) == Totals(requests=0, failed=0, events=1, acknowledged=0, unsent=0)


def test_the_first_2xx_acknowledges_an_event_and_later_ones_change_nothing(book: Book) -> None:
    book.webhook("evt_1", ERROR, at=0)
    assert rows(book.path, "SELECT acknowledged_at FROM events") == [(None,)]
    book.webhook("evt_1", OK, at=1, n=2)
    first = rows(book.path, "SELECT acknowledged_at FROM events")
    assert first != [(None,)]
    book.webhook("evt_1", Outcome(204, 1.0), at=2, n=3)
    assert rows(book.path, "SELECT acknowledged_at FROM events") == first
    assert rows(book.path, "SELECT count(*) FROM attempts") == [(3,)]


@pytest.mark.parametrize(
    "outcome", [Outcome(302, 1.0), Outcome(401, 1.0), Outcome(200, 5000.0, "ReadTimeout"), REFUSED]
)
def test_what_is_not_a_whole_2xx_acknowledges_nothing(book: Book, outcome: Outcome) -> None:
    book.webhook("evt_1", outcome, at=0)
    assert totals(book.path).acknowledged == 0


def test_moments_never_go_back_with_the_clock(book: Book) -> None:
    book.webhook("evt_1", OK, at=10)
    book.webhook("evt_2", OK, at=-3600)
    book.ledger.close()
    reopened = Ledger(book.path, book.clock)
    reopened.begin_attempt(event("evt_3"), 1)
    moments = [row[0] for row in rows(book.path, "SELECT first_attempt_at FROM events ORDER BY id")]
    assert moments == sorted(moments)
    assert len(set(moments)) == 3


def test_each_start_of_the_senders_has_its_number(book: Book) -> None:
    assert (book.ledger.begin_run(7), book.ledger.begin_run(7)) == (0, 1)
    book.ledger.end_run(1, "drained")
    assert rows(book.path, "SELECT run, ending FROM runs") == [(0, None), (1, "drained")]


def test_a_ledger_survives_kill_9_of_its_writer(tmp_path: Path) -> None:
    """What was written before the kill is there, and the ledger can be written on."""
    path = tmp_path / "ledger.sqlite"
    program = f"""
import os, signal
from pathlib import Path
from ledger_book import OK, event
from toolkit.drill.ledger import Ledger
ledger = Ledger(Path({str(path)!r}))
for number in range(50):
    ledger.finish(ledger.begin_attempt(event(f"evt_{{number}}"), 1), OK)
ledger.begin_attempt(event("evt_50"), 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert totals(path) == Totals(requests=50, failed=0, events=51, acknowledged=50, unsent=0)
    with Ledger(path) as ledger:
        ledger.begin_attempt(event("evt_51"), 1)
    assert totals(path).events == 52


def test_a_closed_ledger_is_one_file_that_opens_where_nobody_may_write(book: Book) -> None:
    book.webhook("evt_1", OK, at=0)
    book.ledger.close()
    assert list(book.path.parent.iterdir()) == [book.path]
    book.path.parent.chmod(0o500)
    try:
        assert totals(book.path).acknowledged == 1
    finally:
        book.path.parent.chmod(0o700)


def test_a_ledger_holds_no_user_and_no_body(book: Book) -> None:
    book.webhook("evt_1", OK, at=0)
    book.ledger.close()
    content = book.path.read_bytes()
    assert b"user_1" not in content
    assert b"sha256=" not in content


def test_a_missing_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match=r"no ledger at .*none\.sqlite"):
        totals(tmp_path / "none.sqlite")


def test_a_ledger_that_somebody_reads_on_is_whole_and_sealed_when_they_are_done(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.webhook("evt_1", OK, at=0)
    reader = sqlite3.connect(book.path, check_same_thread=False)
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
    book.ledger.close()
    monkeypatch.setattr("toolkit.drill.ledger.book.SEAL_WITHIN_S", 0.2)
    seal(book.path)
    assert totals(book.path).acknowledged == 1 and book.path.with_name(book.path.name + "-wal").exists()
    monkeypatch.setattr("toolkit.drill.ledger.book.SEAL_WITHIN_S", 20)
    goes = threading.Timer(0.3, reader.close)
    goes.start()
    seal(book.path)
    assert list(book.path.parent.iterdir()) == [book.path] and totals(book.path).acknowledged == 1


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all " * 100)
    for use in (totals, seal):
        with pytest.raises(ToolkitError, match=r"The ledger .*ledger\.sqlite cannot be used: file is not a database"):
            use(path)


# The baseline's ids


def expanded(runs: list[IdRun]) -> list[str]:
    return [
        name
        for run in runs
        for name in (
            [run.prefix]
            if run.first is None or run.last is None
            else [f"{run.prefix}{number}" for number in range(run.first, run.last + 1)]
        )
    ]


def test_ids_in_sequence_are_one_run() -> None:
    assert list(id_runs(f"evt_seed_{number}" for number in reversed(range(20_000)))) == [IdRun("evt_seed_", 0, 19_999)]


id_texts = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["evt_", "evt_0", "x", ""]), st.integers(0, 40)),
    st.text("0123456789ab_", max_size=24),
    st.text(max_size=5),
)


@given(st.sets(id_texts))
def test_runs_hold_exactly_the_ids(ids: set[str]) -> None:
    runs = list(id_runs(ids))
    assert sorted(expanded(runs)) == sorted(ids)


@given(st.sets(id_texts), st.lists(id_texts))
def test_ticking_off_finds_what_is_missing_and_repeated(ids: set[str], present: list[str]) -> None:
    baseline = Baseline(id_runs(ids))
    assert [baseline.tick(one) for one in present] == [one in ids for one in present]
    assert set(baseline.missing()) == ids - set(present)
    assert set(baseline.repeated()) == {one for one in ids if present.count(one) > 1}
