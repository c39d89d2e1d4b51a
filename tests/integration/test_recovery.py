"""Did the rollback help? Asked of the version, the deployment, the health endpoints and the requests that fail now."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from stub_target import PRODUCTION, StubTarget, as_json

from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, Outcome
from toolkit.clock import utc_now, wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.incident import Incident, State
from toolkit.playbook import Severity, load_playbook
from toolkit.rollback import RunResult, recovery
from toolkit.rollback.plan import Plan, PointProduction, RunDown, Step

ROOT = Path(__file__).parents[2]
TEXT = ("what", "why", "expected", "verify", "undo")


def result(*, executed: bool = True, deployment: str = PRODUCTION) -> RunResult:
    steps = (
        Step("point-production", PointProduction(deployment, "dpl_9"), *TEXT),
        Step("run-down-9", RunDown(9, 8, "009.down.sql", "0"), *TEXT),
    )
    plan = Plan("migration", "churn-saver", "sandbox", None, "9 to 8", steps)
    return RunResult(plan, executed, (), utc_now(), 1.0)


@pytest.fixture
def stub() -> Iterator[StubTarget]:
    target = StubTarget()
    yield target
    target.stop()


@pytest.fixture
def systems(stub: StubTarget, churn_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systems]:
    monkeypatch.setattr("toolkit.rollback.recovered.HEALTHY_WITHIN_S", 0.3)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
        conn.execute("INSERT INTO schema_migrations VALUES (8, false)")
    made = stub.systems(load_playbook(ROOT / "playbook.toml"), churn_database, window_s=1, min_requests=20)
    yield made
    made.platform.close()
    made.service.close()


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    tmp_path.joinpath("incident").mkdir()
    made = Incident(tmp_path / "incident")
    made.open(Severity.P0, ["it breaks"], actor="monitor")
    return made


@pytest.fixture
def traffic(stub: StubTarget) -> Iterator[dict[int, int]]:
    """Requests by status, printed once somebody follows the log, until the test ends. Change it as they should be."""
    wanted, ended = {200: 30}, threading.Event()

    def send() -> None:
        wait_until(lambda: stub.followed or ended.is_set(), within=30, what="the log to be followed", every=0.01)
        while not ended.wait(0.05):
            for status, count in list(wanted.items()):
                stub.log(count, status=status)

    thread = threading.Thread(target=send)
    thread.start()
    yield wanted
    ended.set()
    thread.join()


def outcomes(results: list[CheckResult]) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in results}


PASSED = dict.fromkeys(("the state table", "the deployment", "health", "the error rate"), Outcome.PASS)


def test_where_all_passes_the_incident_is_mitigated(
    systems: Systems, incident: Incident, traffic: dict[int, int]
) -> None:
    results = recovery(systems, incident, result(), actor="tester")
    assert outcomes(results) == PASSED
    assert incident.state is State.MITIGATED
    assert incident.latest("recovery.checked").data["outcome"] == "pass"
    assert "requests failed" in incident.latest("incident.mitigated").data["why"]


def test_it_waits_until_fewer_fail(systems: Systems, incident: Incident, traffic: dict[int, int]) -> None:
    traffic[500] = 30
    timer = threading.Timer(0.5, traffic.pop, (500,))
    timer.start()
    assert outcomes(recovery(systems, incident, result(), actor="tester")) == PASSED
    timer.join()


def test_requests_that_go_on_failing(systems: Systems, incident: Incident, traffic: dict[int, int]) -> None:
    traffic[500] = 10
    results = recovery(systems, incident, result(), actor="tester")
    assert outcomes(results) == PASSED | {"the error rate": Outcome.FAIL}
    assert "25." in results[-1].evidence and "limit 10%" in results[-1].evidence
    assert incident.state is State.OPEN


def test_too_few_requests_prove_nothing(systems: Systems, incident: Incident, stub: StubTarget) -> None:
    results = recovery(systems, incident, result(), actor="tester")
    assert outcomes(results)["the error rate"] is Outcome.UNKNOWN
    assert "20 requests are needed" in results[-1].evidence
    assert incident.state is State.OPEN


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("the state table", "UPDATE schema_migrations SET version = 9"),
        ("the state table", "UPDATE schema_migrations SET dirty = true"),
    ],
)
def test_a_version_that_is_another(
    systems: Systems,
    incident: Incident,
    traffic: dict[int, int],
    churn_database: ServiceDatabase,
    name: str,
    broken: str,
) -> None:
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute(broken)
    assert outcomes(recovery(systems, incident, result(), actor="tester")) == PASSED | {name: Outcome.FAIL}
    assert incident.state is State.OPEN


def test_a_deployment_that_is_another(systems: Systems, incident: Incident, traffic: dict[int, int]) -> None:
    found = outcomes(recovery(systems, incident, result(deployment="dpl_7"), actor="tester"))
    assert found == PASSED | {"the deployment": Outcome.FAIL}


def test_a_service_that_is_unwell(
    systems: Systems, incident: Incident, stub: StubTarget, traffic: dict[int, int]
) -> None:
    stub.answers["/api/health/db"] = as_json({"status": "unhealthy"}, 503)
    results = recovery(systems, incident, result(), actor="tester")
    assert outcomes(results) == PASSED | {"health": Outcome.FAIL}
    assert "/api/health/db 503 unhealthy" in results[2].evidence


def test_a_dry_run_proves_nothing(systems: Systems, incident: Incident) -> None:
    results = recovery(systems, incident, result(executed=False), actor="tester")
    assert set(outcomes(results).values()) == {Outcome.UNKNOWN}
    assert incident.state is State.OPEN and incident.latest("recovery.checked") is None
