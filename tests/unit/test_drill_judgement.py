"""The facilitator's measures: the hypothesis judges what was seen, the key what was done, regret what was best."""

from pathlib import Path

import pytest

from toolkit.clock import utc_now
from toolkit.drill.hypothesis import Look, Probe, holds, judged
from toolkit.drill.judgement import decision, kept
from toolkit.drill.regret import Outcome, best, regret
from toolkit.drill.scenario import load_scenario
from toolkit.incident import Incident, State
from toolkit.playbook import Severity, load_playbook

ROWS = "SELECT count(*) FROM recovery_cases"


@pytest.mark.parametrize(
    ("tolerance", "before", "now", "expected"),
    [
        ("true", None, True, True),
        ("true", None, False, False),
        ("true", None, None, False),
        ("not less", 10, 10, True),
        ("not less", 10, 9, False),
        ("as before", "abc", "abc", True),
        ("as before", "abc", "abd", False),
        ("as before", None, "abc", None),  # nobody looked before: unknown
    ],
)
def test_a_probe_is_judged_by_its_tolerance(tolerance, before, now, expected) -> None:
    probe = Probe(what="rows", ask=ROWS, tolerance=tolerance)
    assert judged(probe, {} if before is None else {ROWS: before}, {ROWS: now}).holds is expected


def test_a_question_that_was_not_answered_is_unknown_and_does_not_hold() -> None:
    looked = judged(Probe(what="rows", ask=ROWS, tolerance="true"), {}, {})
    assert looked.holds is None and not holds([looked]) and holds([Look("", True, "")])


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    made = Incident(tmp_path)
    made.open(Severity.P0, ["requests fail"], actor="monitor")
    return made


def assessed(incident: Incident, kind: str) -> None:
    options = [{"kind": each, "recommended": each == kind} for each in ("migration", "application", "wait")]
    incident.record("assessment.made", {"options": options}, actor="drill")


def test_what_was_done_counts_and_not_what_was_planned(incident: Incident) -> None:
    assessed(incident, "migration")
    incident.record("plan.made", {"kind": "migration", "execute": False}, actor="drill")
    incident.record("plan.made", {"kind": "application", "execute": True}, actor="drill")
    found = decision(load_scenario("breaking-migration"), incident)
    assert (found.recommended, found.recommendation) == ("migration", "right")
    assert (found.done, found.verdict) == (("application",), "wrong")


def test_the_last_thing_done_decides_and_the_first_recommendation_counts(incident: Incident) -> None:
    assessed(incident, "application")
    incident.record("plan.made", {"kind": "application", "execute": True}, actor="drill")
    assessed(incident, "migration")
    incident.record("plan.made", {"kind": "migration", "execute": True}, actor="drill")
    found = decision(load_scenario("breaking-migration"), incident)
    assert (found.recommendation, found.done, found.verdict) == ("wrong", ("application", "migration"), "right")


def test_what_was_put_right_by_hand_is_a_fix_forward_and_nothing_is_waiting(incident: Incident) -> None:
    assessed(incident, "wait")
    assert decision(load_scenario("lock-queue"), incident).done == ("wait",)
    incident.record("action.by_hand", {"done": []}, actor="drill")
    assert decision(load_scenario("lock-queue"), incident).verdict == "right"


def test_how_the_playbook_was_kept(incident: Incident) -> None:
    open_ones = kept(load_playbook(), incident, utc_now())
    assert open_ones.answered_in_time is None and open_ones.checklist["open"] > 10
    incident.advance(State.ACKNOWLEDGED, "somebody looks at it", actor="drill")
    assert kept(load_playbook(), incident, utc_now()).answered_in_time is True


def outcome(answer: str, seconds: float | None, rows: int | None = 0) -> Outcome:
    return Outcome(answer, "", seconds is not None, seconds, rows, "")


def test_the_best_heals_loses_least_and_is_quickest() -> None:
    quick_and_lossy, slow, never = outcome("restore", 10, 7), outcome("migration", 30), outcome("application", None)
    assert best([never, quick_and_lossy, slow]) == slow
    assert best([never, slow, outcome("emergency", 45)]) == slow
    assert best([never]) is None


def test_regret_is_seconds_and_rows_apart() -> None:
    played = [outcome("migration", 30), outcome("emergency", 45), outcome("restore", 10, 7)]
    assert regret(played[0], played) == {"seconds": 0, "rows": 0}
    assert regret(played[1], played) == {"seconds": 15, "rows": 0}
    assert regret(played[2], played) == {"seconds": -20, "rows": 7}
    assert regret(outcome("wait", None, None), played) == {"seconds": None, "rows": None}
    assert regret(outcome("wait", None), [outcome("application", None)]) == {}
