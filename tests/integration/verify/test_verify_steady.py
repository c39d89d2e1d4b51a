"""Behind the scenes, over a window of time, and for a service that has less: what passes, fails and is unknown."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from one_service import FAIL, PASS, PLAYBOOK, UNKNOWN, by_name, expecting
from stub_target import PRODUCTION, StubTarget, healthy

from toolkit.adapters.systems import Systems
from toolkit.checks import Outcome, run_checks
from toolkit.clock import iso, utc_now, wait_until
from toolkit.playbook import Verification
from toolkit.verify import background
from toolkit.verify.actions import action_checks
from toolkit.verify.background import background_checks
from toolkit.verify.expectation import Expectation
from toolkit.verify.functional import functional_checks
from toolkit.verify.service import service_checks
from toolkit.verify.steady import SteadyWindow, steady_checks


@pytest.mark.parametrize(
    ("told", "ran_s_ago", "healthy_is", "runs_is"),
    [
        ({"enabled": True}, 1, PASS, PASS),
        ({}, None, PASS, UNKNOWN),
        ({"enabled": False}, 1, FAIL, PASS),
        ({"enabled": True}, 3600, PASS, FAIL),
        ({"enabled": True, "lastRunAt": None}, None, PASS, UNKNOWN),
    ],
)
def test_the_scheduler(
    systems: Systems,
    stub: StubTarget,
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, Any],
    ran_s_ago: int | None,
    healthy_is: Outcome,
    runs_is: Outcome,
) -> None:
    monkeypatch.setattr(background, "NEXT_RUN_WITHIN_S", 0.3)
    ran = {} if ran_s_ago is None else {"lastRunAt": iso(utc_now() - timedelta(seconds=ran_s_ago))}
    stub.answers["/api/scheduler/reminders"] = healthy(**told, **ran)
    found = by_name(run_checks(background_checks(systems)))
    outcomes = [found[name].outcome for name in ("the scheduler is healthy", "the scheduler runs")]
    assert outcomes == [healthy_is, runs_is], found


def test_a_scheduler_that_is_late_is_waited_for(systems: Systems, stub: StubTarget) -> None:
    path = "/api/scheduler/reminders"
    stub.answers[path] = healthy(enabled=True, lastRunAt=iso(utc_now() - timedelta(hours=1)))
    fresh = healthy(enabled=True, lastRunAt=iso(utc_now() + timedelta(seconds=1)))
    threading.Timer(0.6, lambda: stub.answers.update({path: fresh})).start()
    assert by_name(run_checks(background_checks(systems)))["the scheduler runs"].outcome is PASS


def steady(
    systems: Systems, stub: StubTarget, expectation: Expectation, *, good: int, failed: int
) -> dict[str, Outcome]:
    window = SteadyWindow(systems, 1.0)
    window.begin()
    wait_until(lambda: stub.followed or stub.platform_down, within=5, what="the log to be read")
    stub.log(good, ms=12.0)
    stub.log(failed, status=500)
    results = run_checks(steady_checks(systems, expectation, window))
    return {result.name: result.outcome for result in results}


@pytest.mark.parametrize(
    ("good", "failed", "rate", "latency"),
    [(60, 0, PASS, PASS), (60, 1, PASS, PASS), (50, 10, FAIL, PASS), (19, 0, UNKNOWN, UNKNOWN)],
)
def test_the_steady_state(
    systems: Systems, stub: StubTarget, good: int, failed: int, rate: Outcome, latency: Outcome
) -> None:
    found = steady(systems, stub, expecting(), good=good, failed=failed)
    assert list(found.values()) == [rate, latency]


def test_without_a_baseline_or_a_log_the_steady_state_is_unknown(systems: Systems, stub: StubTarget) -> None:
    nothing = Expectation(8, PRODUCTION, None, None)
    assert set(steady(systems, stub, nothing, good=60, failed=0).values()) == {UNKNOWN}
    stub.platform_down = True
    assert set(steady(systems, stub, expecting(), good=60, failed=0).values()) == {UNKNOWN}


def test_what_the_playbook_does_not_configure_is_not_checked(systems: Systems) -> None:
    bare = PLAYBOOK.model_copy(
        update={
            "verification": Verification(),
            "endpoints": PLAYBOOK.endpoints.model_copy(update={"pages": (), "data": (), "scheduler_last_run": ""}),
            "database": PLAYBOOK.database.model_copy(
                update={"queue_schema": None, "references": {}, "quiet_tables": {}}
            ),
        }
    )
    other = Systems(bare, systems.target, systems.database, systems.platform, systems.service)
    names = [check.name for check in service_checks(other, expecting())]
    assert len(names) == 2 * len(bare.endpoints.health_checks)
    assert functional_checks(other, SteadyWindow(other, 0.1)) == action_checks(other) == []
    assert [check.name for check in background_checks(other)] == [
        "sessions are few enough and none is blocked",
        "the scheduler is healthy",
    ]
