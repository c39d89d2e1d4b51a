"""Type 4 wraps what the other planners decide, and is refused where it could not be held."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from toolkit.adapters.postgres import ServerIdentity
from toolkit.adapters.vercel import Deployment
from toolkit.errors import RollbackError
from toolkit.rollback.emergency import Breach, plan_emergency
from toolkit.rollback.plan import EndSessions, FreezeWrites, Plan, PointProduction, ReleaseWrites, RunDown, Step
from toolkit.rollback.situation import Releases, Situation
from toolkit.rollback.state_tables import MigrationState

SERVER = ServerIdentity("7", "churn", "db", 5432, "18.6")
STATE = MigrationState("golang-migrate", "public", "schema_migrations", 9, False, (8, 9), (), ())


def deployment() -> Deployment:
    return Deployment(
        id="dpl_9",
        host="h9",
        name="churn-saver",
        state="READY",
        substate="PROMOTED",
        target="production",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ready_at=None,
        aliases=(),
        alias_assigned=True,
        is_rollback_candidate=True,
        meta={"schemaVersion": "9"},
    )


def step(id: str, action: PointProduction | RunDown) -> Step:
    return Step(id, action, "what", "why", "expected", "verify", "undo")


def part(kind: str, *steps: Step) -> Plan:
    return Plan(kind, "churn-saver", "sandbox", SERVER, f"Part of churn-saver: {kind}", steps, warnings=("doubt",))  # type: ignore[arg-type]


APPLICATION = part("application", step("point-production", PointProduction("dpl_8", "dpl_9")))
MIGRATION = part("migration", step("run-down-9", RunDown(9, 8, "009.down.sql", "ab")))


@pytest.fixture
def situation() -> Situation:
    return Situation("churn-saver", "sandbox", SERVER, False, Releases(deployment(), ()), state=STATE)


def test_writes_stop_first_and_come_back_last_in_stages(situation: Situation) -> None:
    plan = plan_emergency(situation, parts=[APPLICATION, MIGRATION])
    assert [each.id for each in plan.steps] == [
        "freeze-writes",
        "back-up",
        "point-production",
        "run-down-9",
        "verify-frozen",
        "release-webhooks",
        "release-reminders",
        "release-everything",
    ]
    assert isinstance(plan.steps[0].action, FreezeWrites)
    stages = [each.action.stage for each in plan.steps if isinstance(each.action, ReleaseWrites)]
    assert stages == ["webhooks", "reminders", "everything"]
    assert plan.backs_up and plan.changes_database and plan.warnings == ("doubt",)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_breach_ends_sessions_and_names_what_to_rotate(situation: Situation) -> None:
    plan = plan_emergency(situation, parts=[], breach=Breach("a key leaked", ("VERCEL_TOKEN",)))
    assert any(isinstance(each.action, EndSessions) for each in plan.steps)
    assert [each.id for each in plan.steps][:2] == ["freeze-writes", "end-sessions"]
    assert any("VERCEL_TOKEN" in warning for warning in plan.warnings)


def test_what_cannot_be_frozen_is_refused(situation: Situation) -> None:
    with pytest.raises(RollbackError, match="cannot be read: no route"):
        plan_emergency(replace(situation, server=None, unread="no route"), parts=[APPLICATION])
    with pytest.raises(RollbackError, match="transaction pooler"):
        plan_emergency(replace(situation, pooled=True), parts=[APPLICATION])
    with pytest.raises(RollbackError, match="has anything to go back to"):
        plan_emergency(situation, parts=[])
