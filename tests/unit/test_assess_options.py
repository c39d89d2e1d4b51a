"""The options beside each other: what each costs comes from what was seen, and what was not seen is called unknown."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toolkit.assess.decision import decide, decided, said
from toolkit.assess.facts import AppliedMigration, Facts, Failure, Release
from toolkit.assess.gathering import onset_of
from toolkit.assess.options import KINDS, Costs, Option, compare
from toolkit.assess.reasoning import Cause, Confidence, hypotheses, recommend
from toolkit.errors import UsageError
from toolkit.incident import Incident

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
NEW = AppliedMigration(9, "classify", "ALTER TABLE t ADD COLUMN c int", takes=("the column t.c",))
BROKEN = Facts(
    database_up=True,
    dirty=False,
    version=9,
    stable_version=8,
    stable_deployment="dpl_8",
    production=Release("dpl_9", 9, NOW - timedelta(minutes=10)),
    migrations=(NEW,),
    errors=(Failure(40, 500, "/hook", "23502", column="c"),),
    error_rate=0.5,
    onset=NOW - timedelta(minutes=5),
    platform_up=True,
)
COSTS = Costs(rate_per_s=2.0, bytes=40_000_000, backup_at=NOW - timedelta(hours=3), backup="readable", now=NOW)


def options(facts: Facts, costs: Costs = COSTS) -> dict[str, Option]:
    ranked = hypotheses(facts)
    found = compare(facts, ranked, recommend(facts, ranked), costs, where="--target t --incident i")
    assert found[0].recommended and sum(each.recommended for each in found) == 1, "one, and it comes first"
    return {each.kind: each for each in found}


def test_every_way_is_there_and_the_recommended_one_has_its_reasons() -> None:
    found = options(BROKEN)
    assert set(found) == set(KINDS)
    best = found["migration"]
    assert best.recommended and best.target == "version 8" and best.possible
    assert any("name c, which it brought" in reason for reason in best.speaks_for)
    assert "the column t.c (salvaged first)" in best.loss
    assert best.command == "emergency-rollback --last-stable --target t --incident i"
    assert found["restore"].against == ("The newest backup is 3 h old, readable.",)
    assert "60 requests fail a minute" in found["wait"].downtime


def test_what_cannot_be_done_says_so() -> None:
    stuck = replace(NEW, down_problem="it has no down", takes=None)
    found = options(replace(BROKEN, migrations=(stuck,)), replace(COSTS, backup_at=None))
    assert not found["migration"].possible and "it has no down" in found["migration"].against[0]
    assert found["restore"].recommended and not found["restore"].possible
    assert "cannot be done" in str(found["restore"].row()["downtime"])
    assert not options(replace(BROKEN, platform_up=False))["application"].possible
    assert not options(replace(BROKEN, database_up=False))["emergency"].possible


def test_what_was_not_seen_is_unknown() -> None:
    found = options(replace(BROKEN, error_rate=None), Costs(None, None, None, "", NOW))
    assert "was not seen" in found["wait"].downtime and "unknown" in found["emergency"].downtime
    assert (
        "their text does not tell" in options(replace(BROKEN, migrations=(replace(NEW, takes=None),)))["migration"].loss
    )


def test_without_evidence_one_waits_and_with_a_lock_one_mends_it() -> None:
    calm = replace(BROKEN, version=8, production=Release("dpl_8", 8), errors=(), error_rate=0.0)
    assert options(calm)["wait"].recommended
    refused = Failure(9, 500, "/hook", "55P03")
    held = replace(calm, errors=(refused,), blocked=3, blocked_s=40.0, in_the_way=("pid 7 (psql)",))
    assert hypotheses(held)[0].cause is Cause.LOCKS and options(held)["fix-forward"].recommended
    assert any("pid 7" in each for each in hypotheses(held)[0].supporting)


def test_what_was_built_after_the_onset_is_doubted() -> None:
    crash = replace(BROKEN, version=8, errors=(Failure(40, 500, "/dashboard"),))
    assert hypotheses(crash)[0].confidence is Confidence.STRONG
    assert "5 min before" in " ".join(hypotheses(crash)[0].supporting)
    late = replace(crash, production=Release("dpl_9", 9, NOW))
    deployment = next(each for each in hypotheses(late) if each.cause is Cause.DEPLOYMENT)
    assert deployment.confidence is Confidence.SOME and "after the failures" in deployment.against[0]


def test_a_platform_that_is_gone_with_the_service_is_a_cause_of_its_own() -> None:
    dark = replace(BROKEN, version=8, production=None, errors=(), platform_up=False, service_up=False)
    assert hypotheses(dark)[0].cause is Cause.PLATFORM
    assert all(each.cause is not Cause.PLATFORM for each in hypotheses(replace(dark, service_up=True)))


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    made = Incident(tmp_path)
    made.record("assessment.made", {"options": [{"kind": "migration", "recommended": True}]}, actor="lead")
    return made


def test_a_decision_has_a_reason_and_a_name_and_says_whether_it_follows_the_advice(incident: Incident) -> None:
    assert "Nobody has decided" in said(incident, "", reason="", by="lead")
    for wrong in ({"kind": "sleep"}, {"reason": " "}, {"by": ""}):
        with pytest.raises(UsageError):
            decide(incident, **({"kind": "wait", "reason": "it gets better", "by": "lead"} | wrong))
    assert decided(incident) is None
    entry = decide(incident, "wait", reason="it gets better", by="lead")
    assert entry.data | {"about": "rollback", "by": "lead", "follows": False} == entry.data
    assert "though migration is recommended" in said(incident, "", reason="", by="lead")
    assert decide(incident, "migration", reason="it does not", by="lead").data["follows"] is True
    incident.record("assessment.made", {"options": []}, actor="lead")
    assert decided(incident) is None, "a new assessment asks again"


def test_nothing_is_decided_before_anything_was_assessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing was assessed"):
        decide(Incident(tmp_path), "wait", reason="why not", by="lead")


def test_the_onset_is_of_what_still_fails_and_not_of_what_had_passed(tmp_path: Path) -> None:
    incident = Incident(tmp_path)
    incident.record("signal.raised", {"signal": "health"}, actor="monitor")
    incident.record("signal.cleared", {"signal": "health"}, actor="monitor")
    again = incident.record("signal.raised", {"signal": "error_rate"}, actor="monitor")
    assert onset_of(incident) == again.at
    seen = incident.record("monitor.observed", {"errors": [{"path": "/hook"}]}, actor="monitor")
    incident.record("monitor.observed", {"errors": [{"path": "/hook"}]}, actor="monitor")
    assert onset_of(incident) == seen.at
