"""Whose clock runs since when, who is to be called at which minute, and who stops that."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.incident import Incident, State
from toolkit.journal import Entry
from toolkit.on_call import (
    Role,
    add_note,
    escalations,
    mark_due,
    minute_in,
    numbers,
    response_clock,
    roles_in,
    take_role,
    to_call,
)
from toolkit.playbook import Contact, Severity, load_playbook

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")
START = datetime(2026, 11, 24, 3, tzinfo=UTC)
LEADS, OTHERS, TOP = (level.roles for level in PLAYBOOK.escalation)


def journal(*told: tuple[float, str, dict]) -> list[Entry]:
    """Entries by the minute at which they were made."""
    return [
        Entry(n, START + timedelta(minutes=minute), 0.0, "x", "monitor", kind, data, "", "")
        for n, (minute, kind, data) in enumerate(told, start=1)
    ]


def opened(severity: str, minute: float = 0) -> tuple[float, str, dict]:
    return minute, "incident.opened", {"severity": severity, "reasons": []}


def became(severity: str, minute: float) -> tuple[float, str, dict]:
    return minute, "incident.severity", {"from": "?", "to": severity, "reasons": []}


def acknowledged(minute: float) -> tuple[float, str, dict]:
    return minute, "incident.acknowledged", {"why": ""}


CLOCKS = [
    # the journal, the severity that sets the clock, by which minute, and how late the answer was
    ([opened("P1")], "P1", 15, None),
    ([opened("P2")], "P2", 60, None),
    ([opened("P3")], "P3", 240, None),
    ([opened("P1"), acknowledged(12)], "P1", 15, None),
    ([opened("P1"), acknowledged(20)], "P1", 15, 5),
    ([opened("P2"), became("P1", 30)], "P1", 45, None),  # from when it became so bad
    ([opened("P2"), became("P1", 50)], "P2", 60, None),  # and never later than it was due before
    ([opened("P1"), became("P2", 5)], "P2", 60, None),  # calmer: more time, from the opening
    ([opened("P1"), became("P2", 5), became("P1", 10)], "P1", 15, None),  # and back: not from the beginning
    ([opened("P0"), acknowledged(3)], "P0", 0, None),  # at once is never late
    ([opened("P1"), acknowledged(5), became("P0", 9)], "P1", 15, None),  # what comes after the answer sets no clock
]


@pytest.mark.parametrize(("told", "severity", "minute", "late"), CLOCKS, ids=[str(n) for n in range(len(CLOCKS))])
def test_the_response_clock(told, severity: str, minute: float, late: float | None) -> None:
    clock = response_clock(PLAYBOOK, journal(*told))
    assert clock is not None
    assert (clock.due.severity, clock.due.at) == (severity, START + timedelta(minutes=minute))
    assert clock.late_by(START) == (timedelta(minutes=late) if late else None)


def test_without_an_incident_no_clock_runs() -> None:
    assert response_clock(PLAYBOOK, []) is None and escalations(PLAYBOOK, []) == ()


def called(told, minute: float) -> list[tuple[str, ...]]:
    return [each.roles for each in to_call(PLAYBOOK, journal(*told), START + timedelta(minutes=minute))]


CALLS = [
    ([opened("P0")], 0, [LEADS]),
    ([opened("P0")], 4.9, [LEADS]),
    ([opened("P0")], 5, [LEADS, OTHERS]),
    ([opened("P0")], 15, [LEADS, OTHERS, TOP]),
    ([opened("P1")], 29, [LEADS, OTHERS]),
    ([opened("P1")], 30, [LEADS, OTHERS, TOP]),
    ([opened("P3")], 100_000, [LEADS, OTHERS]),  # P3 never comes to the top
    ([opened("P1"), became("P0", 20)], 29, [LEADS, OTHERS]),
    ([opened("P1"), became("P0", 12)], 27, [LEADS, OTHERS, TOP]),  # a worse severity hastens it
    ([opened("P0"), acknowledged(6)], 100, []),
    ([opened("P0"), (6, "incident.resolved", {"why": ""})], 100, []),
]


@pytest.mark.parametrize(("told", "minute", "roles"), CALLS, ids=[str(n) for n in range(len(CALLS))])
def test_who_is_to_be_called(told, minute: float, roles: list[tuple[str, ...]]) -> None:
    assert called(told, minute) == roles


def test_in_a_drill_a_minute_takes_as_long_as_the_monitor_says() -> None:
    told = [(0, "monitor.started", {"minute_s": 1.0}), opened("P0")]
    assert minute_in(journal(*told)) == 1
    assert called(told, 15 / 60) == [LEADS, OTHERS, TOP] and called(told, 14 / 60) == [LEADS, OTHERS]


def test_what_is_due_is_journaled_once_and_holds_no_number(tmp_path: Path) -> None:
    reachable = tuple(
        Contact(role=each.role, tier=each.tier, phone="+49 30 901820", name="Ada")
        if each.role in ("CTO", "DevOps Lead")
        else each
        for each in PLAYBOOK.contacts
    )
    book = PLAYBOOK.model_copy(update={"contacts": reachable})
    incident = Incident(tmp_path)
    incident.open(Severity.P1, ["?"], actor="monitor")

    def look(minute: float) -> int:
        entries = incident.journal.entries()
        return mark_due(book, incident, entries, entries[0].at + timedelta(minutes=minute), actor="monitor")

    assert [look(minute) for minute in (0, 1, 15, 15.1, 16, 31, 40)] == [1, 0, 1, 1, 0, 1, 0]
    kinds = [entry.kind for entry in incident.journal.entries()]
    assert kinds == ["incident.opened", "escalation.due", "escalation.due", "response.overdue", "escalation.due"]
    last = incident.latest("escalation.due")
    assert last.data["roles"] == ["CTO", "VP Engineering"] and last.data["without_number"] == ["VP Engineering"]
    assert (last.data["severity"], last.data["after_minutes"], last.data["minute_s"]) == ("P1", 30, 60)
    assert "901820" not in incident.journal.path.read_text()
    assert numbers(book, ("CTO", "VP Engineering")) == {
        "CTO": "+49 30 901820 (Ada)",
        "VP Engineering": "no number in the playbook",
    }


def test_a_role_has_one_holder_and_who_had_it_before_is_kept(tmp_path: Path) -> None:
    incident = Incident(tmp_path)
    with pytest.raises(UsageError, match="never opened"):
        take_role(incident, Role.LEAD, "DevOps Lead", actor="responder")
    incident.open(Severity.P1, ["?"], actor="monitor")
    assert take_role(incident, Role.LEAD, "DevOps Lead", actor="responder") is None
    assert take_role(incident, Role.LEAD, "CTO", actor="responder") == "DevOps Lead"
    take_role(incident, Role.LEAD, "CTO", actor="responder")
    take_role(incident, Role.SCRIBE, "Product Owner", actor="responder")
    entries = incident.journal.entries()
    assert roles_in(entries) == {Role.LEAD: "CTO", Role.SCRIBE: "Product Owner"}
    assert [e.data["who_before"] for e in entries if e.kind == "role.taken"] == [None, "DevOps Lead", None]
    with pytest.raises(UsageError, match="Nobody was named as incident lead"):
        take_role(incident, Role.LEAD, " ", actor="responder")


def test_a_note_has_words_and_says_whose_they_are(tmp_path: Path) -> None:
    incident = Incident(tmp_path)
    incident.open(Severity.P1, ["?"], actor="monitor")
    with pytest.raises(UsageError, match="nothing to note"):
        add_note(incident, "  ", actor="responder")
    add_note(incident, "it began at 03:00", actor="DevOps Lead")
    add_note(incident, "three tickets", actor="support", from_users=True)
    assert [(e.kind, e.actor, e.data["text"]) for e in incident.journal.entries()[1:]] == [
        ("note.added", "DevOps Lead", "it began at 03:00"),
        ("users.reported", "support", "three tickets"),
    ]
    assert incident.state is State.OPEN
