"""The platform's recovery: told beside ours, asked for once, done when the target has forgotten its mark."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from pydantic import SecretStr
from restore_fixtures import opened
from restore_rig import RestoreRig

from toolkit.adapters.supabase import SupabaseClient
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import PlatformError, RollbackError, UsageError
from toolkit.rollback.plan import Plan, RestoreWish
from toolkit.rollback.restoring import restore_plan
from toolkit.rollback.runner import require_meant
from toolkit.rollback.situation import Releases, Situation
from toolkit.rollback.steps import Surroundings, recover_by_platform
from toolkit.rollback.steps.freeze_writes import FreezingWrites
from toolkit.rollback.steps.recover_by_platform import RecoveringByPlatform

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
WINDOW = {
    "earliest_physical_backup_date_unix": int((NOON - timedelta(days=7)).timestamp()),
    "latest_physical_backup_date_unix": int(NOON.timestamp()),
}


class Platform:
    """Answers for the API. `recover` is what a recovery does; it returns a status, or raises."""

    def __init__(self, rig: RestoreRig) -> None:
        self.asked: list[int] = []
        self.recover: Callable[[], int] = lambda: self.forget(rig)

    @staticmethod
    def forget(rig: RestoreRig) -> int:
        rig.query("DROP TABLE toolkit.recovery_mark")
        return 201

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.asked.append(1)
            return httpx.Response(self.recover())
        if request.url.path.endswith("/health"):
            return httpx.Response(200, json=[{"name": "db", "status": "ACTIVE_HEALTHY"}])
        return httpx.Response(200, json={"pitr_enabled": True, "physical_backup_data": WINDOW})


@pytest.fixture
def rig(churn_database: ServiceDatabase, tmp_path: Path) -> RestoreRig:
    return RestoreRig(churn_database, opened(tmp_path / "incident"))


@pytest.fixture
def platform(rig: RestoreRig) -> Platform:
    return Platform(rig)


@pytest.fixture
def around(rig: RestoreRig, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """The steps' surroundings, journaling as the runner does, with the plan of a recovery."""
    monkeypatch.setattr(recover_by_platform, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(recover_by_platform, "WITHIN_S", 0.3)
    client = SupabaseClient(SecretStr("sbp_t"), "abc", transport=httpx.MockTransport(platform))
    systems = replace(rig.systems, recovery=client)
    nobody = SimpleNamespace(id="dpl_8", schema_version=8)  # Vercel is not asked here
    situation = Situation("churn-saver", "sandbox", systems.database.identity(), False, Releases(nobody, ()))  # type: ignore[arg-type]
    wish = RestoreWish(damaged_at=NOON - timedelta(hours=1))
    plan = restore_plan(systems, rig.incident, situation, "platform", wish=wish)
    made = rig.around(systems=systems, plan=plan)
    return replace(
        made, tell=lambda kind, data: rig.incident.record(kind, {"plan": plan.id, **data}, actor="runner") and None
    )


def recovering(around: Surroundings) -> RecoveringByPlatform:
    assert around.plan.recovers is not None
    return RecoveringByPlatform(around.plan.recovers, around)


def test_it_is_asked_for_once_and_done_when_the_mark_is_forgotten(around: Surroundings, platform: Platform) -> None:
    step = recovering(around)
    assert around.plan.recovers is not None and around.plan.recovers.moment == NOON - timedelta(hours=1, seconds=1)
    step.require()
    assert not step.look().done and step.undo() is None
    assert "put project abc back to 2026-11-25 10:59:59 UTC" in step.act()
    assert step.look().done and len(platform.asked) == 1
    step.act()
    assert len(platform.asked) == 1, "what was asked for is waited for"
    freeze = next(each.action for each in around.plan.steps if each.id == "freeze-writes")
    assert FreezingWrites(freeze, around).look().done, "gone on with, it must not freeze what was given back"  # type: ignore[arg-type]


def test_a_refused_one_may_be_asked_for_again_and_a_lost_answer_may_not(
    around: Surroundings, platform: Platform
) -> None:
    step, recover = recovering(around), platform.recover
    platform.recover = lambda: 403
    with pytest.raises(PlatformError, match="403"):
        step.act()
    assert not step.partly() and not step.look().done

    def lost() -> int:
        raise httpx.ReadError("cut")

    platform.recover = lost
    for _ in range(2):
        with pytest.raises(RollbackError, match="has not recovered the project") as raised:
            step.act()
        assert "asked for once" in str(raised.value)
    assert len(platform.asked) == 2 and step.partly(), "one that was refused, one that was not heard"
    recover()  # it had begun all the same
    assert step.look().done


def test_it_is_never_done_without_the_services_name(around: Surroundings) -> None:
    assert not around.systems.target.production
    with pytest.raises(UsageError, match="This plan wants the service's name"):
        require_meant(around.plan, around.systems, None, execute=True)
    require_meant(around.plan, around.systems, "churn-saver", execute=True)


def test_a_target_without_a_project_says_what_is_missing(around: Surroundings, rig: RestoreRig) -> None:
    situation = Situation("churn-saver", "sandbox", None, False, Releases(None))
    with pytest.raises(RollbackError, match="names no project of it") as raised:
        restore_plan(rig.systems, rig.incident, situation, "platform:2026-11-25T11:00:00Z")
    assert "supabase_project_env" in str(raised.value)
    blind: Plan = restore_plan(around.systems, rig.incident, situation, "platform:2026-11-25T11:00:00Z")
    assert [step.id for step in blind.steps] == ["recover-by-platform"]
