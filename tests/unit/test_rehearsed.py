"""A rehearsal allows what went well, refuses what failed, and tells nothing where the copy could not be built whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.checks import Check, Outcome, passed, run_checks
from toolkit.errors import RollbackError
from toolkit.incident import Incident
from toolkit.rollback.damage import Damage, told_on_a_copy
from toolkit.rollback.plan import Plan
from toolkit.rollback.rehearsal import Rehearsal
from toolkit.rollback.rehearsed import REHEARSED, require_rehearsal

PLAN = Plan("migration", "churn-saver", "sandbox", None, "a plan", ())
FINE = run_checks([Check("fine", "rehearsal", lambda: passed("so it is"))])
WHY = 'step run-down-9: type "citext" does not exist'
MISSING = ("extension citext: it is not available",)


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    return Incident(tmp_path)


def made(why: str = "", problems: tuple[str, ...] = ()) -> Rehearsal:
    return Rehearsal(PLAN, (), FINE, 1.0, 2.0, why, problems)


def test_a_failed_step_fails_only_where_the_copy_was_whole() -> None:
    assert made().outcome is Outcome.PASS
    assert made(WHY).outcome is Outcome.FAIL
    unsure = made(WHY, MISSING)
    assert unsure.outcome is Outcome.UNKNOWN and unsure.to_json()["outcome"] == "unknown"
    assert WHY in unsure.verdict and MISSING[0] in unsure.verdict


def test_a_copy_that_was_not_whole_leaves_the_choice_to_the_operator(incident: Incident) -> None:
    incident.record(REHEARSED, made(WHY, MISSING).to_json(), actor="tester")
    with pytest.raises(RollbackError, match="could not be built whole") as refused:
        require_rehearsal(incident, PLAN, "", actor="tester")
    assert "--no-rehearsal REASON" in refused.value.next
    require_rehearsal(incident, PLAN, "we know that down", actor="tester")
    told = incident.journal.entries()[-1].data
    assert told == {"plan": PLAN.id, "why": "we know that down", "on_the_copy": WHY}


def test_one_that_failed_on_a_whole_copy_is_refused_whatever_the_reason(incident: Incident) -> None:
    incident.record(REHEARSED, made(WHY).to_json(), actor="tester")
    with pytest.raises(RollbackError, match="failed on the copy"):
        require_rehearsal(incident, PLAN, "I insist", actor="tester")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (Damage("t", ("a",), written=(("a", "0"),), xids=("77",)), True),
        (Damage("t", ("a", "b"), written=(("a", "0"),), xids=("77",)), False),
        (Damage("t", ("a",), "a > 1", xids=("77",)), False),
        (Damage("t", (), "a > 1", xids=("77",), verb="deleted"), True),
        (Damage("t", (), xids=("77",), verb="inserted"), False),
    ],
)
def test_a_copy_is_never_asked_by_production_s_transactions(damage: Damage, told: bool) -> None:
    assert told_on_a_copy(damage) == (replace(damage, xids=()) if told else None)
    without = replace(damage, xids=())
    assert told_on_a_copy(without) == without
