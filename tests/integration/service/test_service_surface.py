"""The rest of the service's surface on real PostgreSQL: scheduler, clean-up, dashboard, what a person may do."""

import csv
import io

import psycopg
import pytest
from live_service import CRON, MEMBER, Deploy, event

from toolkit.clock import wait_until
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed


def jobs(owner: psycopg.Connection) -> dict[str, int]:
    return dict(owner.execute("SELECT state::text, count(*) FROM pgboss.job GROUP BY 1").fetchall())


def nudges(owner: psycopg.Connection) -> list[tuple[str, int]]:
    """How often each case was nudged."""
    return owner.execute(
        """
        SELECT membership_id, count(*)
        FROM recovery_actions AS actions
        JOIN recovery_cases AS cases ON cases.id = actions.case_id
        WHERE type = 'nudge'
        GROUP BY 1
        ORDER BY 1
        """
    ).fetchall()


def make_due(owner: psycopg.Connection) -> None:
    """Let jobs that wait to be tried again be ready now."""
    owner.execute("UPDATE pgboss.job SET start_after = now() - interval '1 second' WHERE state = 'retry'")


def test_a_reminder_is_booked_worked_off_and_sent_once(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    for number in range(3):
        service.send(event(membership_id=f"mem_{number}"))
    service.send(event("payment_succeeded", membership_id="mem_2"))
    assert service.remind() == {"enabled": True, "booked": 2, "processed": 2, "failed": 0}
    assert service.remind()["booked"] == 0
    assert nudges(owner) == [("mem_0", 1), ("mem_1", 1)]
    assert jobs(owner) == {"completed": 2}
    owner.execute("UPDATE recovery_cases SET first_failure_at = now() - interval '49 hours', last_nudge_at = NULL")
    assert service.remind()["processed"] == 2
    assert nudges(owner) == [("mem_0", 2), ("mem_1", 2)]


def test_a_call_of_the_scheduler_is_bounded(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    owner.execute(
        """
        INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)
        SELECT 'biz_00', 'mem_' || n, 'user', 'card_declined', now() FROM generate_series(1, 250) AS n
        """
    )
    service = deploy(8)
    assert [service.remind()["processed"] for _ in range(4)] == [100, 100, 50, 0]


def test_reminders_that_the_schema_refuses_are_sent_once_it_is_healed(
    owner: psycopg.Connection, deploy: Deploy
) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    for reason in ("card_declined", "insufficient_funds", "expired_card", "authentication_required", "card_declined"):
        service.send(event(membership_id=f"mem_{reason}", failure_reason=reason))
    migrate_up(owner, 9)
    assert service.remind() == {"enabled": True, "booked": 4, "processed": 2, "failed": 2}
    line = wait_until(lambda: next((each for each in service.lines() if each["error"]), None), within=20, what="a line")
    assert (line["status"], line["level"], line["error"]["sqlstate"]) == (200, "error", "23514")
    assert jobs(owner) == {"completed": 2, "retry": 2}
    assert service.remind()["failed"] == 0, "what was refused waits before it is tried again"
    (down,) = MIGRATIONS.glob("009_*.down.sql")
    owner.execute(down.read_bytes())
    make_due(owner)
    assert service.remind()["processed"] == 2
    assert [times for _, times in nudges(owner)] == [1, 1, 1, 1]
    assert jobs(owner) == {"completed": 4}


def test_two_jobs_for_one_reminder_send_it_once(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    service.send(event(membership_id="mem_1"))
    owner.execute(
        """
        INSERT INTO pgboss.job (name, data, state, start_after, singleton_key, singleton_on)
        SELECT 'reminders', jsonb_build_object('caseId', id, 'attempt', 1), 'retry', now() + interval '1 hour',
               id || ':1', '2026-01-01'
        FROM recovery_cases
        """
    )
    assert service.remind()["processed"] == 1
    make_due(owner)
    assert service.remind()["processed"] == 1
    assert nudges(owner) == [("mem_1", 1)]


def test_a_job_whose_worker_died_is_taken_again(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    service.send(event())
    service.remind()
    owner.execute("UPDATE recovery_cases SET attempts = 0, last_nudge_at = NULL")
    owner.execute("UPDATE pgboss.job SET state = 'active', started_on = now() - interval '2 minutes'")
    service.remind()
    assert jobs(owner) == {"retry": 1}
    make_due(owner)
    assert service.remind()["processed"] == 1


def test_the_cron_needs_its_secret_and_the_switch(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service, idle = deploy(8), deploy(7, SCHEDULER_ENABLED="false")
    service.send(event())
    for path in ("/api/scheduler/reminders", "/api/cleanup/events"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer ünïcödé".encode()}):
            assert service.client.post(path, headers=headers).status_code == 401
        assert idle.client.post(path, headers=CRON).json()["enabled"] is False
    assert jobs(owner) == {}
    assert idle.client.get("/api/scheduler/reminders").json()["enabled"] is False


@pytest.mark.parametrize(("build", "schema"), [(8, 8), (12, 12)])
def test_the_clean_up_deletes_what_is_old_and_dealt_with(
    owner: psycopg.Connection, deploy: Deploy, build: int, schema: int
) -> None:
    migrate_up(owner, 8)
    owner.execute(
        """
        INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, processed, processed_at,
                            created_at)
        SELECT 'evt_' || days || processed, 'payment_failed', 'mem', 'biz_00', '{}', processed,
               CASE WHEN processed THEN now() END, now() - make_interval(days => days)
        FROM unnest('{1, 59, 61}'::integer[]) AS days, unnest('{true, false}'::boolean[]) AS processed
        """
    )
    migrate_up(owner, schema)
    service = deploy(build)
    assert service.client.post("/api/cleanup/events", headers=CRON).json() == {"enabled": True, "deleted": 1}
    assert owner.execute("SELECT whop_event_id FROM events WHERE whop_event_id LIKE 'evt_61%'").fetchall() == [
        ("evt_61false",)
    ]


@pytest.mark.parametrize(("build", "schema"), [(6, 8), (8, 8), (9, 9), (10, 10), (12, 12)])
def test_what_a_company_sees(owner: psycopg.Connection, deploy: Deploy, build: int, schema: int) -> None:
    migrate_up(owner, 8)
    seed(owner, seed=1, events=900, cases=300)
    migrate_up(owner, schema)
    client = deploy(build).client
    recent = owner.execute(
        """
        SELECT count(*), count(*) FILTER (WHERE status = 'recovered'), coalesce(sum(recovered_amount_cents), 0)
        FROM recovery_cases
        WHERE first_failure_at >= now() - interval '14 days'
        """
    ).fetchone()
    kpis = client.get("/api/dashboard/kpis").json()
    assert (kpis["cases"], kpis["recoveredCases"], kpis["recoveredAmountCents"]) == recent
    one = client.get("/api/dashboard/kpis", params={"company_id": "biz_03"}).json()
    assert 0 < one["cases"] < kpis["cases"]
    first = client.get("/api/dashboard/cases", params={"page_size": 200}).json()
    second = client.get("/api/dashboard/cases", params={"page_size": 200, "page": 2}).json()
    assert (first["total"], len(first["cases"]), len(second["cases"])) == (300, 200, 100)
    assert not {case["id"] for case in first["cases"]} & {case["id"] for case in second["cases"]}
    open_cases = client.get("/api/dashboard/cases", params={"status": "open", "company_id": "biz_03"}).json()["cases"]
    assert {(case["status"], case["companyId"]) for case in open_cases} == {("open", "biz_03")}
    exported = list(csv.DictReader(io.StringIO(client.get("/api/cases/export.csv").text)))
    assert len(exported) == 300
    assert f">{kpis['cases']}<" in client.get("/dashboard").text
    assert "biz_19" in client.get("/settings").text
    assert client.get("/", follow_redirects=True).url.path == "/dashboard"
    for path in ("/dashboard", "/settings", "/api/dashboard/cases", "/api/cases/export.csv"):
        assert "user_seed" not in client.get(path).text


@pytest.mark.parametrize("query", ["page=0", "page=x", "page_size=201", "status=lost", "company_id="])
def test_an_odd_question_is_refused(owner: psycopg.Connection, deploy: Deploy, query: str) -> None:
    migrate_up(owner, 8)
    assert deploy(8).client.get(f"/api/dashboard/cases?{query}").status_code == 400


@pytest.mark.parametrize(("build", "source"), [(6, "scheduler"), (7, "operator"), (8, "operator")])
def test_what_a_person_may_do(owner: psycopg.Connection, deploy: Deploy, build: int, source: str) -> None:
    migrate_up(owner, 8)
    service = deploy(build)
    for action, status in (("nudge", "open"), ("cancel", "cancelled"), ("terminate", "terminated")):
        sent = event()
        service.send(sent)
        row = owner.execute("SELECT id FROM recovery_cases WHERE membership_id = %s", [sent.membership_id]).fetchone()
        assert row is not None
        path = f"/api/cases/{row[0]}/{action}"
        assert service.client.post(f"{path}?company_id=biz_19").status_code == 404, "another company's case"
        assert service.client.post(path).json() == {"id": str(row[0]), "action": action, "status": status}
        assert service.client.post(path).status_code == (200 if action == "nudge" else 409)
        done = owner.execute("SELECT type, source FROM recovery_actions WHERE case_id = %s", row).fetchall()
        assert set(done) == {(action, source)}
    missing = "00000000-0000-0000-0000-000000000000"
    for path in (f"/api/cases/{missing}/cancel", "/api/cases/x/cancel", f"/api/cases/{missing}/forgive"):
        assert service.client.post(path).status_code == 404
    assert MEMBER not in service.log.read_text()
