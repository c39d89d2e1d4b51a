"""What a message says and when one is due, from journals whose truth is known. No server."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from incident_folder import Pen, at

from toolkit.communicate.audiences import audiences_of
from toolkit.communicate.cadence import Clock, cadence_of, marks_to_make
from toolkit.communicate.facts import Facts, facts_of
from toolkit.communicate.outbox import Audience, By, Delivery, Draft, Fate, Wanted, drafts
from toolkit.communicate.phases import WORDS, Phase, phase_of
from toolkit.communicate.running import running_in
from toolkit.communicate.templates import PLACEHOLDERS, TEMPLATES, Kind, Said, Values, fill
from toolkit.playbook import Playbook, Severity, load_playbook

DOCUMENT = Path(__file__).parents[2] / "playbook.toml"
MINUTE = 60.0

# the playbook's own templates, word for word
UPDATE = """\
🚨 INCIDENT UPDATE - [SEVERITY]
Status: [Investigating/Mitigating/Resolved]
Impact: [Description]
Timeline: [Key events]
Next Update: [Time]
On-call: [Name]"""
INITIAL = """\
🚨 PRODUCTION INCIDENT DECLARED 🚨

Service: Churn Saver
Severity: [P0/P1/P2/P3]
Time: [Timestamp]
Impact: [Description]

Investigation in progress. Next update in [15/30/60] minutes.

On-call: [Name]"""
RESOLVED = """\
✅ INCIDENT RESOLVED ✅

Service: Churn Saver
Severity: [P0/P1/P2/P3]
Duration: [X hours Y minutes]
Resolution: [Description]

Service is now fully operational. Post-incident analysis will follow.

On-call: [Name]"""


@pytest.fixture
def playbook() -> Playbook:
    return load_playbook(DOCUMENT)


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    folder = tmp_path / "incident"
    folder.mkdir()
    return Pen(folder / "journal.jsonl")


def opened(pen: Pen, severity: str = "P1", seconds: float = 0) -> None:
    pen(seconds, "monitor", "incident.opened", {"severity": severity, "reasons": ["Error rate >10%: 45 of 100 failed"]})


def sent(pen: Pen, minutes: float, update: str, **told: object) -> None:
    pen(
        minutes * MINUTE,
        "comms",
        "update.sent",
        {"update": update, "delivery": f"{update}.1", "outside": False, **told},
    )


def facts(playbook: Playbook, pen: Pen, minutes: float = 5, said: Said = Said()) -> Facts:  # noqa: B008
    found = facts_of(playbook, pen.journal.entries(), said, next_due=at(1800), now=at(minutes * MINUTE))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("kind", "document"), [(Kind.INITIAL, INITIAL), (Kind.UPDATE, UPDATE), (Kind.RESOLVED, RESOLVED)]
)
def test_the_three_texts_are_the_playbook_s_word_for_word(kind: Kind, document: str) -> None:
    ours = TEMPLATES[kind].replace("{service}", "Churn Saver")
    assert re.sub(r"\{[a-z_]+\}", "[]", ours) == re.sub(r"\[[^\]]*\]", "[]", document)
    assert all(f"[{PLACEHOLDERS[name]}" for name in re.findall(r"\{([a-z_]+)\}", TEMPLATES[kind]))


def test_what_is_not_known_stays_visibly_unknown_and_nothing_is_made_up() -> None:
    filled = fill(Kind.UPDATE, Values(severity="P0", status="Investigating"))
    assert filled.gaps == ("impact", "on_call", "timeline", "next_update")
    assert "Impact: [Description: not known yet]\n" in filled.text
    assert "On-call: [Name: not known yet]" in filled.text


def test_no_person_and_no_secret_gets_into_a_text() -> None:
    said = "mem_1234567 of jane@customer.com: Key (user_id)=(u77) at postgresql://app:hunter22@db/x"
    text = fill(Kind.UPDATE, Values(severity="P0", impact=said)).text
    for private in ("mem_1234567", "jane@", "u77", "hunter22"):
        assert private not in text


def test_a_message_tells_what_the_journal_knows(playbook: Playbook, pen: Pen) -> None:
    opened(pen)
    assert facts(playbook, pen).inside.on_call is None, "the monitor is nobody's name"
    pen(60, "DevOps Lead", "incident.acknowledged", {"from": "open", "why": "mine"})
    pen(
        90,
        "DevOps Lead",
        "assessment.made",
        {"summary": "Migration 9 broke it.", "recommendation": {"kind": "migration"}},
    )
    pen(120, "DevOps Lead", "plan.made", {"plan": "p", "execute": True, "summary": "9 → 8", "steps": [{"id": "down"}]})
    seen = facts(playbook, pen)
    assert seen.phase is Phase.MITIGATING and seen.inside.status == "Mitigating"
    assert seen.inside.on_call == "DevOps Lead" and seen.outside.on_call == "DevOps Team"
    assert (
        seen.inside.timeline
        == "03:00 declared as P1; 03:01 acknowledged; 03:01 Migration 9 broke it.; 03:02 begun: 9 → 8"
    )
    assert seen.outside.timeline == "03:00 declared as P1; 03:01 acknowledged"
    assert (seen.inside.impact, seen.outside.impact) == ("Error rate >10%: 45 of 100 failed", "Error rate >10%")
    pen(300, "DevOps Lead", "plan.done", {"plan": "p"})
    pen(4000, "DevOps Lead", "incident.resolved", {"from": "mitigated", "why": "all checks passed"})
    over = facts(playbook, pen, 70)
    assert over.inside.duration == "1 hour 7 minutes"
    assert over.inside.resolution == "9 → 8; all checks passed"
    assert over.outside.resolution is None, "nobody verified it, so nobody outside is told that somebody did"


def test_what_a_person_said_holds_until_somebody_says_otherwise(playbook: Playbook, pen: Pen) -> None:
    opened(pen)
    pen(
        10,
        "comms",
        "update.drafted",
        {"update": "1-initial", "said": {"impact": "Half fails", "on_call": "DevOps Lead"}},
    )
    seen = facts(playbook, pen, said=Said(impact="All of it fails"))
    assert (seen.inside.impact, seen.inside.on_call) == ("All of it fails", "DevOps Lead")


def test_a_role_that_nobody_gave_is_in_no_public_text(playbook: Playbook, pen: Pen) -> None:
    pen(0, "responder", "incident.opened", {"severity": "P1", "reasons": ["the customer Jane cannot log in"]})
    assert facts(playbook, pen).outside.impact is None


STEPS = [{"id": "freeze"}, {"id": "restore"}, {"id": "swap"}]


def running_plan(pen: Pen, *, rehearsed: bool) -> None:
    opened(pen)
    if rehearsed:
        steps = [{"step": "freeze", "seconds": 2}, {"step": "restore", "seconds": 400}, {"step": "swap", "seconds": 60}]
        pen(5, "comms", "rehearsal.made", {"plan": "p", "steps": steps})
    pen(10, "comms", "plan.made", {"plan": "p", "execute": True, "steps": STEPS})
    pen(20, "runner", "step.begun", {"plan": "p", "step": "restore", "what": "Restore beside production"})
    pen(60, "runner", "step.progress", {"plan": "p", "what": "restoring", "left_s": 240.0})


@pytest.mark.parametrize(
    ("rehearsed", "seconds", "said"),
    [
        (True, 60, "step 2 of 3: Restore beside production; about 5 min left (ETA 03:06 UTC)"),
        (True, 120, "step 2 of 3: Restore beside production; about 4 min left (ETA 03:06 UTC)"),
        (False, 60, "about 4 min left of it, and what comes after it is not known"),
        (True, 300, "the time left is not known"),
    ],
)
def test_the_eta_comes_from_the_running_plan_or_is_not_known(
    pen: Pen, rehearsed: bool, seconds: float, said: str
) -> None:
    running_plan(pen, rehearsed=rehearsed)
    running = running_in(pen.journal.entries(), at(seconds))
    assert running is not None and running.told(at(seconds)).endswith(said)


@pytest.mark.parametrize("end", ["plan.done", "plan.interrupted", "step.failed"])
def test_a_plan_that_is_over_has_no_eta(pen: Pen, end: str) -> None:
    running_plan(pen, rehearsed=True)
    pen(70, "runner", end, {"plan": "p", "step": "restore"})
    assert running_in(pen.journal.entries(), at(80)) is None


def test_one_table_maps_where_it_stands_to_the_words_of_others(pen: Pen) -> None:
    assert set(WORDS) == set(Phase)
    assert {each.template for each in WORDS.values()} == {"Investigating", "Mitigating", "Resolved"}
    assert [WORDS[phase].statuspage for phase in Phase] == [
        *("investigating", "investigating", "identified", "identified", "monitoring", "resolved")
    ]
    assert phase_of(pen.journal.entries()) is None


@pytest.mark.parametrize(("severity", "minutes"), [("P0", 15), ("P1", 30), ("P2", 60), ("P3", 240)])
def test_an_update_is_due_as_often_as_the_severity_says(
    playbook: Playbook, pen: Pen, severity: str, minutes: float
) -> None:
    opened(pen, severity)
    sent(pen, minutes - 1, "1-initial")
    cadence = cadence_of(playbook, pen.journal.entries(), at(minutes * MINUTE))
    assert (cadence.made, cadence.missed) == (1, 0)
    assert cadence.next is not None and cadence.next.due == at((2 * minutes - 1) * MINUTE)
    assert cadence.remind_at == at((2 * minutes - 1 - 0.2 * minutes) * MINUTE)


def test_one_that_is_late_is_missed_and_the_resolution_ends_it(playbook: Playbook, pen: Pen) -> None:
    opened(pen, "P0")
    sent(pen, 20, "1-initial")  # due at 15: missed; the next was due at 30
    sent(pen, 21, "1-initial")  # to somebody else: the same update
    sent(pen, 30, "2-update", outside=True)  # the status page keeps no promise to the team
    pen(50 * MINUTE, "lead", "incident.resolved", {"from": "mitigated", "why": "well"})
    sent(pen, 52, "3-resolved")
    cadence = cadence_of(playbook, pen.journal.entries(), at(10_000 * MINUTE))
    assert [(each.due, each.missed) for each in cadence.past] == [
        (at(15 * MINUTE), True),
        (at(30 * MINUTE), False),
        (at(35 * MINUTE), True),
        (at(50 * MINUTE), True),
    ]
    assert cadence.next is None, "nothing is due of an incident that is over"


def test_a_severity_that_rises_shortens_the_interval_and_never_back_into_the_past(playbook: Playbook, pen: Pen) -> None:
    opened(pen, "P2")
    pen(20 * MINUTE, "monitor", "incident.severity", {"from": "P2", "to": "P0", "reasons": ["worse"]})
    cadence = cadence_of(playbook, pen.journal.entries(), at(20 * MINUTE))
    assert cadence.next is not None and cadence.next.due == at(20 * MINUTE) and cadence.next.severity is Severity.P0


def test_what_is_due_and_what_was_missed_is_marked_once(playbook: Playbook, pen: Pen) -> None:
    opened(pen, "P0")

    def marks(minutes: float) -> list[tuple[str, Mapping[str, Any]]]:
        now, entries = at(minutes * MINUTE), pen.journal.entries()
        found = list(marks_to_make(cadence_of(playbook, entries, now), entries, now))
        for kind, data in found:
            pen(minutes * MINUTE, "monitor", kind, data)
        return found

    assert marks(11) == []
    assert [kind for kind, _ in marks(12)] == ["update.due"]
    assert marks(14) == []
    assert [kind for kind, _ in marks(16)] == ["update.missed"]
    assert marks(17) == []


def test_a_drill_s_minutes_are_as_long_as_its_target_says_and_drafts_count(playbook: Playbook, pen: Pen) -> None:
    opened(pen, "P0")
    pen(10, "drill", "update.drafted", {"update": "1-initial", "kind": "initial"})
    clock = Clock(playbook.targets["sandbox"].monitoring.minute_s, drafts_count=True)
    cadence = cadence_of(playbook, pen.journal.entries(), at(12), clock)
    assert cadence.made == 1 and cadence.next is not None and cadence.next.due == at(25)


def told_at(
    playbook: Playbook, severity: Severity, kind: Kind, minutes: float = 5, phase: Phase = Phase.OPEN
) -> set[str]:
    values = Values()
    seen = Facts(phase, severity, severity, at(0), values, values)
    found = audiences_of(playbook, kind, seen, [], [], at(minutes * MINUTE))
    return {each.name for each in found}


ROOM = "#incidents"
EVERYWHERE = {ROOM, "#engineering", "#product"}


@pytest.mark.parametrize(
    ("severity", "declared"),
    [
        (Severity.P0, EVERYWHERE | {"Executives", "pager", "status page"}),
        (Severity.P1, EVERYWHERE | {"Department heads", "pager", "status page", "in-app notice"}),
        (Severity.P2, {ROOM, "#engineering", "Team leads"}),
        (Severity.P3, {ROOM}),
    ],
)
def test_who_is_told_at_which_severity(playbook: Playbook, severity: Severity, declared: set[str]) -> None:
    assert told_at(playbook, severity, Kind.INITIAL) == declared
    assert told_at(playbook, severity, Kind.UPDATE) == declared - {"#engineering", "#product", "pager"}


def test_customers_get_mail_when_an_outage_lasts_longer_than_an_hour(playbook: Playbook) -> None:
    assert "customers" not in told_at(playbook, Severity.P0, Kind.UPDATE, 59)
    assert "customers" in told_at(playbook, Severity.P0, Kind.UPDATE, 60)
    assert "customers" not in told_at(playbook, Severity.P0, Kind.UPDATE, 90, Phase.MITIGATED)
    assert "customers" not in told_at(playbook, Severity.P1, Kind.UPDATE, 90), "a degradation is no outage"


def test_whoever_was_told_is_told_that_it_is_over(playbook: Playbook) -> None:
    bosses = Audience("Executives", By.HAND, "Executives")
    message = Wanted(Kind.INITIAL, "", "", "investigating", Severity.P0, "", "")
    earlier = [Draft("1-initial", at(0), message, (Delivery("1-initial.1", bosses, Fate.COPIED),))]
    seen = Facts(Phase.RESOLVED, Severity.P3, Severity.P0, at(0), Values(), Values())
    assert bosses in audiences_of(playbook, Kind.RESOLVED, seen, [], earlier, at(600))


def test_what_was_sent_stays_sent_whatever_a_slower_process_says(pen: Pen) -> None:
    told = {"kind": "initial", "subject": "", "public_subject": "", "status": "investigating", "severity": "P1"}
    told |= {"inside": "", "outside": "", "drill": False}
    room = {"name": ROOM, "by": "slack", "key": "incidents", "outside": False}
    pen(0, "comms", "update.drafted", {"update": "1-initial", **told, "audiences": [room]})
    for kind in ("update.sending", "update.sent", "update.unsure", "update.withdrawn"):
        pen(1, "comms", kind, {"update": "1-initial", "delivery": "1-initial.1", "reference": "ts1"})
    (draft,) = drafts(pen.journal.entries())
    assert (draft.deliveries[0].fate, draft.deliveries[0].reference) == (Fate.SENT, "ts1")
