"""Pointing production elsewhere, at the stand-in: done, seen, refused, undone, and left alone in a rehearsal."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from stand_in import StandIn

from toolkit.adapters.service import Health, ServiceClient, ServiceConfig
from toolkit.adapters.systems import Systems
from toolkit.errors import RollbackError, UnverifiedError
from toolkit.playbook import load_playbook
from toolkit.rollback.blocking import Patience
from toolkit.rollback.plan import PointProduction, Step
from toolkit.rollback.resuming import _undo
from toolkit.rollback.steps import Surroundings, point_production
from toolkit.rollback.steps.point_production import REHEARSED, PointingProduction


class Platform:
    """A stand-in with its past deployments, and steps on it."""

    def __init__(self, standing: StandIn) -> None:
        self.standing = standing
        self.dpl = {build: standing.past(build) for build in (6, 7, 8)}
        service = ServiceConfig(base_url=standing.production_url, webhook_secret=SecretStr("x"), timeout_s=5)
        self.systems = Systems(
            load_playbook(),
            SimpleNamespace(name="sandbox", service_url=standing.production_url),  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            standing.client(),
            ServiceClient(service),
        )

    def step(self, build: int, **more: Any) -> PointingProduction:
        action = PointProduction(self.dpl[build], self.dpl[8])
        plan = SimpleNamespace(id="0123", steps=(SimpleNamespace(action=action), *more.pop("after", ())))
        around = Surroundings(plan, self.systems, SimpleNamespace(id="inc"), Patience(), lambda *_: None, **more)  # type: ignore[arg-type]
        return PointingProduction(action, around)

    def live(self) -> str:
        return self.systems.platform.production(self.systems.production_host).id

    def close(self) -> None:
        self.systems.platform.close()
        self.systems.service.close()
        self.standing.stop()


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(StandIn.start(tmp_path))
    yield made
    made.close()


def test_it_is_done_when_that_deployment_answers_and_says_all_that_came_with_it(platform: Platform) -> None:
    step = platform.step(7)
    step.require()
    assert not step.look().done
    outcome = step.act()
    assert platform.live() == platform.dpl[7]
    assert step.look().done and f"/api/health answers 200 from {platform.dpl[7]}" in step.look().evidence
    for said in ("Automatic assignment is off", "cron jobs", "--abort", f"vercel promote {platform.dpl[8]}"):
        assert said in outcome
    assert "already" in step.act()


def test_undoing_promotes_what_was_live_before(platform: Platform) -> None:
    step = platform.step(7)
    assert "nothing to undo" in str(step.undo())
    step.act()
    assert "Automatic assignment is on" in str(step.undo())
    assert platform.live() == platform.dpl[8] and not step.look().done
    assert platform.systems.platform.project().automatic_assignment is not False


def test_where_production_points_is_not_enough(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform says that it is switched, and something else goes on answering."""
    monkeypatch.setattr(point_production, "ANSWER_WITHIN_S", 0.6)
    old = Health("/api/health", 200, "healthy", 1.0, None, platform.dpl[8], None)
    monkeypatch.setattr(platform.systems.service, "probe", lambda _path: old)
    step = platform.step(7)
    with pytest.raises(UnverifiedError, match=f"answers 200 from {platform.dpl[8]}") as raised:
        step.act()
    assert f"vercel promote {platform.dpl[8]}" in str(raised.value.next)
    assert not step.look().done


@pytest.mark.parametrize(("follows", "done"), [(False, False), (True, True)])
def test_an_unhealthy_answer_is_taken_only_while_the_database_is_still_to_follow(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, follows: bool, done: bool
) -> None:
    from toolkit.rollback.plan import RunDown

    after = (SimpleNamespace(action=RunDown(9, 8, "009.down.sql", "0")),) if follows else ()
    platform.step(7).act()
    ill = Health("/api/health", 503, "unhealthy", 1.0, None, platform.dpl[7], None)
    monkeypatch.setattr(platform.systems.service, "probe", lambda _path: ill)
    assert platform.step(7, after=after).look().done is done


def test_what_is_live_and_unwell_can_be_taken_back(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not done, and yet switched: giving up must not leave it live."""
    assert not platform.step(7).partly()
    platform.step(7).act()
    ill = Health("/api/health", 503, "unhealthy", 1.0, None, platform.dpl[7], None)
    monkeypatch.setattr(platform.systems.service, "probe", lambda _path: ill)
    step = platform.step(7)
    assert (step.look().done, step.partly()) == (False, True)
    undone = _undo(Step("point-production", step.action, *["it"] * 5), step.around)
    assert (undone.outcome, platform.live()) == ("undone", platform.dpl[8])


def test_a_rehearsal_leaves_the_platform_alone(platform: Platform) -> None:
    step = platform.step(7, rehearsal=True)
    step.require()
    assert not step.look().done
    assert step.act() == REHEARSED and step.look().done
    assert step.undo() is None
    assert platform.live() == platform.dpl[8]


def test_somebody_elses_deployment_is_not_overruled(platform: Platform) -> None:
    newer = platform.standing.deploy(9)
    step = platform.step(7)
    with pytest.raises(RollbackError, match=f"points at {newer}, neither"):
        step.require()
    assert newer in step.state()


def test_the_limits_of_the_platforms_plan_are_explained(tmp_path: Path) -> None:
    hobby = Platform(StandIn.start(tmp_path, plan="hobby"))
    try:
        with pytest.raises(RollbackError, match="on Hobby only the production deployment immediately before") as raised:
            hobby.step(6).act()
        assert "--app-rollback=previous" in str(raised.value.next)
        assert hobby.live() == hobby.dpl[8]
        hobby.step(7).act()
        assert hobby.live() == hobby.dpl[7]
    finally:
        hobby.close()
