"""What an outsider sees of a service that does one thing wrong at a time."""

import psycopg
import pytest
from one_service import CASES, EXPORT, FAIL, KPIS, PASS, PLAYBOOK, UNKNOWN, bad, by_name, expecting
from stub_target import HTML, StubTarget, as_json, healthy

from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, Outcome, run_checks
from toolkit.drill.database import ServiceDatabase
from toolkit.verify.expectation import Expectation
from toolkit.verify.hosting import hosting_checks
from toolkit.verify.service import figure_checks, service_checks

# as many lines as rows, but one of them is short
RAGGED = "id,status\n" + "7,open\n" * 29 + "7\n"
MORE_CASES = """
    INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)
    SELECT 'biz', 'more_' || n, 'u', 'expired_card', now() FROM generate_series(1, %(most)s) AS n
"""


def seen(systems: Systems, expectation: Expectation | None = None) -> dict[str, CheckResult]:
    latencies = dict.fromkeys(PLAYBOOK.endpoints.health_checks, 1000.0)
    checks = service_checks(systems, expectation or expecting(latencies=latencies))
    hosting = hosting_checks(systems, expectation or expecting())
    return by_name(run_checks([*hosting, *checks, *figure_checks(systems)]))


def test_a_healthy_service_passes(systems: Systems) -> None:
    assert bad(seen(systems)) == {}


@pytest.mark.parametrize(
    ("path", "answer", "name"),
    [
        ("/api/health", as_json({"status": "unhealthy"}, 503), "/api/health is healthy"),
        ("/api/health", as_json({"status": "unhealthy"}), "/api/health is healthy"),
        ("/api/health", (200, "text/html", "<html>login</html>"), "/api/health is healthy"),
        ("/api/health/db", healthy(tablesCount=2), "/api/health/db is healthy"),
        ("/dashboard", (500, *HTML), "/dashboard loads"),
        ("/dashboard", (200, "text/html", "<html><body>half a p"), "/dashboard loads"),
        ("/settings", as_json({}), "/settings loads"),
        (KPIS, as_json({"cases": 90}), f"cases of {KPIS} agrees with recovery_cases"),
        (KPIS, as_json({"cases": None}), f"cases of {KPIS} agrees with recovery_cases"),
        (KPIS, as_json({"kpis": 3}), f"cases of {KPIS} agrees with recovery_cases"),
        (KPIS, (200, "application/json", "{not json"), f"{KPIS} can be read"),
        (CASES, as_json({"total": 0}), f"total of {CASES} agrees with recovery_cases"),
        (CASES, as_json({}, 500), f"{CASES} can be read"),
        (EXPORT, (200, "text/csv", "id,status\n"), f"the lines of {EXPORT} agrees with recovery_cases"),
        (EXPORT, (200, "text/csv", RAGGED), f"the lines of {EXPORT} agrees with recovery_cases"),
        (EXPORT, (200, "text/csv", ""), f"{EXPORT} can be read"),
    ],
)
def test_each_wrong_answer_fails_a_check_that_names_it(
    systems: Systems, stub: StubTarget, path: str, answer: tuple[int, str, str], name: str
) -> None:
    if "total" in name or "lines of" in name:  # three rows are within the slack of what traffic may change
        with systems.database.writing() as conn:
            conn.execute(MORE_CASES, {"most": 27})
    stub.answers[path] = answer
    results = seen(systems)
    assert results[name].outcome is FAIL, results[name].evidence


def test_a_service_that_hangs_fails_in_bounded_time(systems: Systems, stub: StubTarget) -> None:
    stub.hangs |= {"/api/health/db"}
    short = systems.service.config.model_copy(update={"timeout_s": 0.5})
    hasty = Systems(systems.playbook, systems.target, systems.database, systems.platform, type(systems.service)(short))
    with hasty.service:
        results = seen(hasty)
    assert "no whole answer" in bad(results)["/api/health/db is healthy"]
    assert sum(result.seconds for result in results.values()) < 6


def test_a_service_that_answers_nothing_is_not_waited_for_again_and_again(systems: Systems, stub: StubTarget) -> None:
    stub.hangs |= set(stub.answers)
    short = systems.service.config.model_copy(update={"timeout_s": 0.5})
    hasty = Systems(systems.playbook, systems.target, systems.database, systems.platform, type(systems.service)(short))
    with hasty.service:
        results = seen(hasty)
    assert {results[f"{path} is healthy"].outcome for path in PLAYBOOK.endpoints.health_checks} == {FAIL}
    assert results["/dashboard loads"].outcome is UNKNOWN and "was not asked again" in bad(results)["/dashboard loads"]
    assert sum(result.seconds for result in results.values()) < 4


def test_response_times_are_held_against_what_was_recorded(systems: Systems, stub: StubTarget) -> None:
    strict = systems.target.monitoring.model_copy(update={"fast_enough_ms": 0})
    target = systems.target.model_copy(update={"monitoring": strict})
    fussy = Systems(PLAYBOOK, target, systems.database, systems.platform, systems.service)
    name = "/api/health answers as fast as before"
    assert seen(fussy, expecting(latencies={"/api/health": 1000}))[name].outcome is PASS
    slower = seen(fussy, expecting(latencies={"/api/health": 0.001}))[name]
    assert slower.outcome is FAIL and "first byte" in slower.evidence
    assert seen(fussy, expecting())[name].outcome is UNKNOWN


def test_another_deployment_than_expected_fails(systems: Systems, stub: StubTarget) -> None:
    name = "production points at the expected deployment"
    stub.production = "dpl_9"
    assert seen(systems)[name].outcome is FAIL
    nobody_said = Expectation(8, None, None, None)
    assert seen(systems, nobody_said)[name].outcome is UNKNOWN
    stub.platform_down = True
    assert seen(systems)[name].outcome is UNKNOWN, "could not look"


def test_an_export_that_is_too_long_to_be_read_whole_is_judged_by_what_was_read(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    name = f"the lines of {EXPORT} agrees with recovery_cases"
    stub.answers[EXPORT] = (200, "text/csv", "id,note\n" + "".join(f"{n},{'x' * 500}\n" for n in range(3000)))
    assert seen(systems)[name].outcome is FAIL, "more lines than rows"
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute(MORE_CASES, {"most": 2997})
    found = seen(systems)[name]
    assert found.outcome is PASS and "the rest was not read" in found.evidence


@pytest.mark.parametrize(
    ("key", "targets", "recorded", "outcome"),
    [
        ("WHOP_WEBHOOK_SECRET", ["production"], [], FAIL),
        ("WHOP_WEBHOOK_SECRET", ["production"], ["WHOP_WEBHOOK_SECRET"], PASS),  # it was well with it
        ("WHOP_WEBHOOK_SECRET", ["production"], None, UNKNOWN),
        ("WHOP_WEBHOOK_SECRET", ["preview"], [], PASS),
    ],
)
def test_a_variable_that_was_changed_after_the_build_is_stale(
    systems: Systems, stub: StubTarget, key: str, targets: list[str], recorded: list[str] | None, outcome: Outcome
) -> None:
    stub.variables = [
        {"id": "env_1", "key": "OLDER", "type": "encrypted", "target": ["production"], "updatedAt": 1},
        {"id": "env_2", "key": key, "type": "encrypted", "target": targets, "updatedAt": 2},
    ]
    found = seen(systems, expecting(stale_variables=recorded))["production was built after its variables were set"]
    assert found.outcome is outcome, found.evidence
    assert (key in found.evidence) is (outcome in (FAIL, UNKNOWN)) and "OLDER" not in found.evidence
