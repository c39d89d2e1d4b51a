"""The monitor on a real PostgreSQL and a target that fails as it is told: for what it opens an incident, and not."""

import psycopg
import pytest
from stub_target import StubTarget, as_json
from watched import FAST, Watched

from toolkit.clock import wait_until
from toolkit.detect import observe, probing
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up
from toolkit.incident import State
from toolkit.playbook import Severity

VIOLATION = {"type": "CheckViolation", "sqlstate": "23514", "constraint": "known", "relation": "cases", "column": None}


def test_a_high_error_rate_opens_the_incident_and_its_end_is_told(watch, stub: StubTarget) -> None:
    watched = watch()
    stub.log(70)
    stub.log(30, status=500, error=VIOLATION | {"message": "violates known"})
    watched.until(lambda: watched.incident.state, "the incident")
    assert watched.incident.severity is Severity.P1
    assert watched.reasons().startswith("Error rate >10%: 30 of 100 requests failed in ")
    entries = {entry.kind: entry for entry in watched.incident.journal.entries()}
    assert entries["incident.opened"].actor == "monitor"
    seen = entries["monitor.observed"].data
    assert seen["errors"][0] | {"sqlstate": "23514", "constraint": "known", "count": 30} == seen["errors"][0]
    assert watched.kinds().index("signal.raised") < watched.kinds().index("incident.opened")

    def quiet() -> bool:
        stub.log(20)
        return "monitor.recovered" in watched.kinds()

    watched.until(quiet, "the recovery to be told")
    assert watched.kinds().count("incident.opened") == 1
    assert "signal.cleared" in watched.kinds()


def test_one_failed_request_opens_nothing(watch, stub: StubTarget) -> None:
    watched = watch()
    stub.log(1, status=500)
    watched.for_polls(8)
    stub.log(60)
    watched.until(lambda: watched.incident.latest("monitor.observed").data["requests"], "the requests to be seen")
    watched.for_polls(8)
    assert watched.incident.state is None and watched.raised() == []


def test_one_failed_health_check_opens_nothing(watch, stub: StubTarget) -> None:
    watched = watch()
    good = stub.answers["/api/health/db"]
    stub.answers["/api/health/db"] = as_json({"status": "unhealthy"}, 503)
    asked = stub.asked.count("/api/health/db")
    wait_until(lambda: stub.asked.count("/api/health/db") > asked, within=5, what="one bad answer", every=0.001)
    stub.answers["/api/health/db"] = good
    watched.for_polls(8)
    assert watched.incident.state is None


def test_quiet_traffic_that_fails_is_not_judged_by_its_rate(watch, stub: StubTarget) -> None:
    watched = watch()
    stub.log(9, status=500)
    watched.for_polls(8)
    assert "error_rate" not in watched.raised()


def test_an_unverified_migration_that_breaks_requests_is_p0(
    watch, stub: StubTarget, database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "NORMAL_EVERY_S", 0.2)
    watched = watch()
    watched.systems.database.prepare()
    watched.systems.database.record_stable(8, "dpl_8", {"steady_state": {"p95_ms": 5.0}})
    with psycopg.connect(database.owner_url) as conn:
        migrate_up(conn, 9)

    def severe() -> bool:
        stub.log(8)
        stub.log(2, status=500, error=VIOLATION)
        return watched.incident.severity is Severity.P0

    watched.until(severe, "P0")
    assert "Database migration failure affecting production: version 9 is live" in watched.reasons()
    assert "23514 (known)" in watched.reasons()


def test_slow_answers_are_held_against_the_first_quiet_windows(watch, stub: StubTarget) -> None:
    watched = watch(window_s=1)

    def normal() -> object:
        stub.log(10, ms=300.0)
        return watched.incident.latest("monitor.observed").data["normal_p95_ms"]

    watched.until(normal, "what is normal to be known")
    watched.until(lambda: stub.log(10, ms=600.0) or "performance" in watched.raised(), "the slowness to be noticed")
    assert "Performance degradation >50%" in watched.reasons()


def test_a_failing_health_endpoint_is_a_partial_degradation(watch, stub: StubTarget) -> None:
    watched = watch()
    stub.answers["/api/health/webhooks"] = as_json({"status": "unhealthy"}, 503)
    watched.until(lambda: watched.incident.state, "the incident")
    assert watched.incident.severity is Severity.P1
    assert "Partial service degradation: /api/health/webhooks: 503" in watched.reasons()


def test_a_service_that_accepts_and_never_answers_is_an_outage(
    watch, stub: StubTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PROBE_WITHIN_S", 3.0)
    watched = watch()
    stub.hangs |= {"/api/health", "/api/health/db", "/api/health/webhooks", "/dashboard", "/settings"}
    watched.until(lambda: watched.incident.severity is Severity.P0, "P0")
    assert "Complete service outage" in watched.reasons() and "no answer (ReadTimeout)" in watched.reasons()
    assert watched.longest_poll_s < 2.5, "no poll waits for it"


def test_a_service_that_is_gone_and_comes_back(watch, stub: StubTarget) -> None:
    watched = watch()
    before = dict(stub.answers)
    stub.answers.clear()
    watched.until(lambda: watched.incident.state, "the incident")
    stub.answers.update(before)
    watched.until(lambda: "monitor.recovered" in watched.kinds(), "the recovery to be told")


def test_a_platform_that_is_down_neither_stops_it_nor_opens_anything(watch, stub: StubTarget) -> None:
    watched = watch()
    stub.platform_down = True
    watched.until(lambda: "500" in watched.monitor.observer.platform_word, "the platform's trouble to be seen")
    watched.for_polls(5)
    assert watched.incident.state is None
    stub.platform_down = False
    watched.until(lambda: watched.monitor.observer.platform_word == "ok", "the platform to be seen again")


def test_it_follows_production_to_another_deployment(watch, stub: StubTarget) -> None:
    watched = watch()
    stub.production = "dpl_9"
    watched.until(lambda: stub.followed, "the new deployment's log to be read")
    stub.log(40, status=500)
    watched.until(lambda: "error_rate" in watched.raised(), "its errors to be noticed")
    assert watched.incident.latest("monitor.observed").data["deployment"] == "dpl_9"


def test_a_log_that_breaks_off_is_opened_again(watch, stub: StubTarget) -> None:
    watched = watch()
    before = stub.asked_for_logs
    stub.break_off()
    watched.until(lambda: stub.followed and stub.asked_for_logs > before, "the log to be read again")
    stub.log(40, status=500)
    watched.until(lambda: "error_rate" in watched.raised(), "the errors to be noticed")


def test_silence_after_a_steady_flow_is_p0_and_found_in_the_data(
    watch, stub: StubTarget, database: ServiceDatabase
) -> None:
    """The health endpoints stay green."""
    watched = watch(silence_minutes=2)
    watched.for_polls(5)
    assert watched.incident.state is None, "an empty table is no silence"
    flow = """
        INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, created_at)
        SELECT 'e' || n, 't', 'm', 'c', '{}', now() - n * interval '50 ms'
        FROM generate_series(0, 79) AS n
    """
    with psycopg.connect(database.owner_url) as conn:
        conn.execute(flow)
    watched.until(lambda: watched.incident.state, "the silence to be noticed")
    assert watched.incident.severity is Severity.P0 and watched.raised() == ["webhook_silence"]
    assert "No webhook processing for >15 minutes" in watched.reasons() and "allowed here: 2 s" in watched.reasons()


def test_a_dirty_state_table_is_noticed(watch, database: ServiceDatabase) -> None:
    watched = watch()
    with psycopg.connect(database.owner_url) as conn:
        conn.execute("UPDATE schema_migrations SET dirty = true")
    watched.until(lambda: watched.incident.state, "the incident")
    assert "Migration validation failures: migration 8 is marked dirty" in watched.reasons()


def test_after_the_resolution_it_changes_no_severity(watch, stub: StubTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PAGES_EVERY_S", 0.2)
    watched = watch()
    stub.answers["/api/health/webhooks"] = as_json({"status": "unhealthy"}, 503)
    watched.until(lambda: watched.incident.state, "the incident")
    watched.incident.advance(State.RESOLVED, "the test says so", actor="test")
    stub.answers.clear()
    watched.until(lambda: "feature" in watched.raised(), "more trouble")
    watched.for_polls(3)
    assert watched.incident.severity is Severity.P1 and "incident.severity" not in watched.kinds()


def test_a_second_monitor_does_not_open_it_again(watch, stub: StubTarget, database: ServiceDatabase) -> None:
    first = watch()
    stub.answers["/api/health/webhooks"] = as_json({"status": "unhealthy"}, 503)
    first.until(lambda: first.incident.state, "the incident")
    second = Watched(stub, database, first.incident.folder, **FAST)
    second.until(lambda: len(second.raised()) == 2, "the second one to notice as well")
    second.end()
    assert first.kinds().count("incident.opened") == 1


def test_a_journal_that_is_held_by_another_process_delays_and_loses_nothing(
    watch, stub: StubTarget, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = watch()
    journal = watched.incident.journal
    monkeypatch.setattr(journal._lock, "timeout", 0.05)
    with type(journal._lock)(journal.path.with_suffix(".lock"), timeout=1, is_singleton=False):
        stub.answers["/api/health/webhooks"] = as_json({"status": "unhealthy"}, 503)
        watched.for_polls(6)
    assert "is held by another process" in capsys.readouterr().err
    watched.until(lambda: watched.incident.state, "the incident")
    assert watched.raised() == ["health"]
