"""What the journals tell of the response, in the forms in which other modules and other versions write it."""

from pathlib import Path

import pytest
from incident_folder import Pen, make_folder

from toolkit.analysis import analyse
from toolkit.analysis.response import Response, read_response
from toolkit.analysis.sources import read_evidence
from toolkit.analysis.words import clock, duration, hours_and_minutes, offset, share
from toolkit.playbook import load_playbook


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    return Pen(tmp_path / "journal.jsonl")


def read(pen: Pen) -> Response:
    evidence = read_evidence(pen.journal.path.parent)
    return read_response(evidence.journal, evidence.facilitator)


def test_an_empty_journal_tells_of_nothing(pen: Pen) -> None:
    response = read(pen)
    assert not any((response.opening, response.assessment, response.plan, response.backup, response.accounting))
    assert response.decisions == ()


def test_the_worst_severity_counts_with_its_reasons(pen: Pen) -> None:
    pen(1, "monitor", "incident.opened", {"severity": "P1", "reasons": ["slow"]})
    pen(2, "monitor", "incident.severity", {"from": "P1", "to": "P0", "reasons": ["data is lost"]})
    pen(3, "monitor", "incident.severity", {"from": "P0", "to": "P2", "reasons": ["nearly well"]})
    opening = read(pen).opening
    assert (opening.first, opening.worst, opening.last, opening.reasons) == ("P1", "P0", "P2", ("data is lost",))
    assert [str(reference) for reference in opening.references] == ["J1", "J2", "J3"]


STEPS = [{"id": "down-9", "what": "Run the down"}]


def test_a_plan_that_was_only_shown_is_not_carried_out(pen: Pen) -> None:
    pen(1, "responder", "plan.made", {"plan": "a1", "kind": "migration", "steps": STEPS, "execute": False})
    plan = read(pen).plan
    assert not plan.executed and plan.steps[0].state == "not begun"


def test_the_plan_that_was_carried_out_counts_not_a_look_before_or_after(pen: Pen) -> None:
    for second, execute in ((1, False), (2, True)):
        pen(second, "responder", "plan.made", {"plan": "a1", "kind": "migration", "steps": STEPS, "execute": execute})
    pen(3, "runner", "step.begun", {"plan": "a1", "step": "down-9", "attempt": 1})
    pen(4, "runner", "step.done", {"plan": "a1", "step": "down-9", "seconds": 0.4, "outcome": "version 8"})
    pen(5, "responder", "plan.made", {"plan": "a1", "kind": "migration", "steps": STEPS, "execute": False})
    plan = read(pen).plan
    assert plan.executed and plan.steps[0].state == "done" and plan.steps[0].outcome == "version 8"
    assert str(plan.reference) == "J2" and plan.others == ()


def test_steps_of_another_plan_are_not_this_plans(pen: Pen) -> None:
    pen(1, "responder", "plan.made", {"plan": "a1", "steps": STEPS, "execute": True})
    pen(2, "runner", "step.done", {"plan": "b2", "step": "down-9", "outcome": "elsewhere"})
    pen(3, "responder", "plan.made", {"plan": "b2", "steps": STEPS, "execute": False})
    plan = read(pen).plan
    assert plan.steps[0].state == "not begun" and [str(other) for other in plan.others] == ["J3"]


@pytest.mark.parametrize(
    "said",
    [
        {"cause": "migration", "subject": "9"},
        {"cause": "migration 9"},
        {"cause": "whatever", "title": "migration 9"},
    ],
)
def test_a_hypothesis_has_a_title(pen: Pen, said: dict[str, str]) -> None:
    pen(1, "responder", "assessment.made", {"hypotheses": [said]})
    assert read(pen).assessment.hypotheses[0].title == "migration 9"


@pytest.mark.parametrize(
    ("advice", "text"),
    [
        ({"kind": "migration", "migration_target": 8}, "migration rollback to schema version 8"),
        ({"kind": "application", "deployment": "dpl_1"}, "application rollback to deployment dpl_1"),
        ({"kind": "none", "reasons": ["unclear"]}, "no rollback"),
        ({}, None),
    ],
)
def test_a_recommendation_is_told_in_words(pen: Pen, advice: dict[str, object], text: str | None) -> None:
    pen(1, "responder", "assessment.made", {"recommendation": advice})
    assert read(pen).assessment.recommended == text


@pytest.mark.parametrize("lost", [2, {"count": 2, "examples": ["evt_1", "evt_2"]}])
def test_counts_are_read_as_numbers_or_with_examples(pen: Pen, lost: object) -> None:
    pen(1, "facilitator", "accounting.made", {"acknowledged": 10, "lost": lost, "duplicated": 0})
    accounting = read(pen).accounting
    assert accounting.counts == {"acknowledged": 10, "lost": 2, "duplicated": 0} and accounting.faults == {"lost": 2}


@pytest.mark.parametrize(
    "kind", ["assessment.made", "plan.made", "backup.made", "verification.made", "accounting.made", "incident.opened"]
)
@pytest.mark.parametrize("data", [{}, {"steps": 3, "checks": "no", "hypotheses": {}, "tables": [], "lost": "many"}])
def test_entries_of_another_form_break_nothing(pen: Pen, kind: str, data: dict[str, object]) -> None:
    pen(1, "responder", kind, data)
    analysis = analyse(pen.journal.path.parent, load_playbook(Path(__file__).parents[2] / "playbook.toml"))
    assert analysis.timeline[0].references


def test_a_drill_is_told_by_its_facilitator(tmp_path: Path) -> None:
    make_folder(tmp_path)
    evidence = read_evidence(tmp_path)
    drill = read_response(evidence.journal, evidence.facilitator).drill
    assert (drill.scenario, drill.seed, drill.target) == ("breaking-migration", "7", "sandbox")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (duration(0.021), "21 ms"),
        (duration(8.46), "8.5 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(7_500), "2 h 05 min"),
        (duration(None), "not measured"),
        (hours_and_minutes(54.4), "0 hours 0 minutes 54 seconds"),
        (hours_and_minutes(3661), "1 hour 1 minute 1 second"),
        (offset(-0.4), "−0.4 s"),
        (share(0.0004), "0.04%"),
        (share(None), "not measured"),
        (clock(None), "not measured"),
    ],
)
def test_figures_in_words(said: str, expected: str) -> None:
    assert said == expected
