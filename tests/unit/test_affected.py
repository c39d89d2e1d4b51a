"""Whose events failed and what they amount to, counted from a ledger that was filled by hand; no name leaves it."""

import shutil
from pathlib import Path

import pytest
from ledger_book import ERROR, NOON, OK, REFUSED, Book

from toolkit.adapters.webhook import EventType, WebhookEvent
from toolkit.analysis import analyse
from toolkit.analysis.affected import Amount
from toolkit.playbook import load_playbook
from toolkit.report.citations import Citations
from toolkit.report.statements import Statements

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four events of three members: one went well, one came late, two of one member never arrived."""
    book = Book(tmp_path / "ledger.sqlite")

    def send(name: str, kind: EventType, member: str, amount: int, at: float, *outcomes: object) -> None:
        event = WebhookEvent(name, kind, f"pay_{name}", member, "user_1", "biz_01", amount, NOON)
        for number, outcome in enumerate(outcomes, start=1):
            book.clock.set(at + 5 * (number - 1))
            book.ledger.finish(book.ledger.begin_attempt(event, number), outcome)  # type: ignore[arg-type]

    send("evt_1", "payment_failed", "mem_d_secret", 900, 0, OK)
    send("evt_2", "payment_succeeded", "mem_d_2", 1250, 20, ERROR, REFUSED, OK)
    send("evt_3", "payment_failed", "mem_d_3", 100_000, 40, ERROR)
    send("evt_4", "payment_failed", "mem_d_3", 200, 60, REFUSED)
    book.ledger.close()
    return tmp_path


def test_counts_and_sums_are_those_of_the_events_that_failed(folder: Path) -> None:
    analysis = analyse(folder, PLAYBOOK)
    found = analysis.affected
    assert found is not None
    assert (found.memberships, found.events, found.undelivered, found.undelivered_cents) == (2, 3, 2, 100_200)
    assert found.amounts == (Amount("payment_failed", 2, 100_200), Amount("payment_succeeded", 1, 1250))
    assert found.latest_s == pytest.approx(10, abs=0.01)
    say = Statements(analysis, Citations(analysis.evidence))
    assert say.users().startswith(
        "2 memberships, of whose events 3 failed at least once [[E](#E)]. Delivered later: 1, "
    )
    assert "10.0 s after it was sent first; never: 2." in say.users()
    assert "1,002.00 in 2 × `payment_failed`, 12.50 in 1 × `payment_succeeded` [[E](#E)]" in say.revenue()
    assert analysis.evidence.events is not None
    assert "mem_d" not in analysis.evidence.events.to_csv() + say.users() + say.revenue()


def test_without_a_ledger_nothing_is_claimed(folder: Path) -> None:
    (folder / "ledger.sqlite").unlink()
    analysis = analyse(folder, PLAYBOOK)
    say = Statements(analysis, Citations(analysis.evidence))
    assert say.users().startswith("not measured.") and say.revenue().startswith("not measured.")


def test_a_damaged_ledger_is_told(folder: Path) -> None:
    shutil.copy(__file__, folder / "ledger.sqlite")
    state = analyse(folder, PLAYBOOK).evidence.states[-1]
    assert not state.present and state.problems == ("unreadable: DatabaseError",)
