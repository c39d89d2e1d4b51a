"""Whoever asks how a rollback stands hears which step runs, how far it is and how long it may take."""

import socket
from pathlib import Path

import pytest

from toolkit.clock import utc_now
from toolkit.incident import Incident
from toolkit.progress import Progressing
from toolkit.rollback.begun import INTERRUPTED, MADE, STEP_BEGUN, STEP_DONE
from toolkit.rollback.kept_plan import KeptPlan
from toolkit.rollback.plan import MigrateUp, Plan, Step
from toolkit.rollback.rehearsed import REHEARSED
from toolkit.rollback.under_way import seen_from_here, under_way


def step(name: str) -> Step:
    return Step(id=name, action=MigrateUp(1, "up.sql", "0" * 64), what=name, why="", expected="", verify="", undo="")


PLAN = Plan("migration", "churn-saver", "sandbox", None, "a plan", (step("first"), step("second"), step("third")))


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    incident = Incident(tmp_path)
    incident.record(MADE, {"plan": PLAN.id, "execute": True}, actor="runner")
    return incident


def test_a_running_step_tells_its_share_what_is_left_and_what_comes_after(
    incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert under_way(incident, PLAN) is None
    steps = [{"step": name, "seconds": 4.0} for name in ("first", "second", "third")]
    incident.record(REHEARSED, {"plan": PLAN.id, "outcome": "pass", "steps": steps}, actor="runner")
    incident.record(STEP_BEGUN, {"plan": PLAN.id, "step": "second"}, actor="runner")
    shown, now = list[float](), iter([100.0, 112.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now, 112.0))
    advance = Progressing(
        lambda _what, done, _of: shown.append(done),
        lambda kind, data: incident.record(kind, {"plan": PLAN.id, "step": "second", **data}, actor="runner") and None,
    )
    advance("loading", 0, 100)
    advance("loading", 40, 100)
    assert shown == [0, 40]
    running = under_way(incident, PLAN)
    assert running is not None
    assert (running.step, running.share, running.left_s, running.later_s) == ("second", 0.4, 18.0, 4.0)
    assert "loading, 40% done, about 18 s left; the steps after it took 4 s on the copy" in str(running)


@pytest.mark.parametrize("end", [STEP_DONE, INTERRUPTED])
def test_nothing_runs_once_it_ended(incident: Incident, end: str) -> None:
    incident.record(STEP_BEGUN, {"plan": PLAN.id, "step": "first"}, actor="runner")
    assert str(under_way(incident, PLAN)).startswith("step first runs since")
    incident.record(end, {"plan": PLAN.id, "step": "first"}, actor="runner")
    assert under_way(incident, PLAN) is None


def test_a_journal_on_another_machine_tells_nothing(incident: Incident) -> None:
    incident.record(STEP_BEGUN, {"plan": PLAN.id, "step": "first"}, actor="runner")
    here = KeptPlan(PLAN, incident.id, socket.gethostname(), str(incident.folder), utc_now(), None)
    assert seen_from_here(here) is not None
    assert seen_from_here(KeptPlan(PLAN, incident.id, "elsewhere", str(incident.folder), utc_now(), None)) is None
    assert seen_from_here(KeptPlan(PLAN, incident.id, here.host, "/nowhere", utc_now(), None)) is None
