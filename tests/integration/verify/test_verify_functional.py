"""The webhook over a real socket: refused, taken, recorded once, and nothing of it left, whatever comes in between."""

import threading
from typing import Any

import psycopg
import pytest
from one_service import FAIL, PASS, PLAYBOOK, PROCESSED, REFUSED, TAKEN, bad, by_name
from stub_target import StubTarget, as_json

from toolkit.adapters.systems import Systems
from toolkit.checks import CheckResult, run_checks
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.verify import traces
from toolkit.verify.functional import functional_checks
from toolkit.verify.steady import SteadyWindow


def worked(systems: Systems) -> dict[str, CheckResult]:
    window = SteadyWindow(systems, 0.3)
    checks = functional_checks(systems, window)
    return by_name(run_checks([window.during(check) for check in checks]))


def rows_left(served_database: ServiceDatabase) -> int:
    with psycopg.connect(served_database.admin_url) as conn:
        query = """
            SELECT (SELECT count(*) FROM events)
                 + (SELECT count(*) FROM recovery_cases WHERE membership_id LIKE 'mem_verify%')
                 + (SELECT count(*) FROM recovery_actions)
                 + (SELECT count(*) FROM pgboss.job)
        """
        return conn.execute(query).fetchone()[0]


def test_the_webhook_works_and_nothing_is_left(systems: Systems, served_database: ServiceDatabase) -> None:
    results = worked(systems)
    assert bad(results) == {} and rows_left(served_database) == 0
    assert "6 of 6 kinds of events, each sent twice; 11 rows removed, 0 left" in results[TAKEN].evidence
    with psycopg.connect(served_database.owner_url) as conn:
        assert conn.execute("SELECT count(*) FROM recovery_cases").fetchone() == (3,), "no other row is touched"


def test_a_wrong_signature_that_is_taken_fails(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    stub.receive.checks_signature = False
    assert worked(systems)[REFUSED].outcome is FAIL


def test_a_wrong_signature_that_is_refused_but_recorded_fails_and_is_removed(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    receive = stub.receive
    receive.checks_signature = False
    stub.receive = lambda body, headers: (401, *receive(body, headers)[1:])
    found = worked(systems)[REFUSED]
    assert found.outcome is FAIL and found.evidence.startswith("/api/webhooks/whop: 401, 1 recorded; 2 rows removed")
    assert rows_left(served_database) == 0


def test_one_kind_that_fails_is_named_and_all_is_removed(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    stub.receive.refuses = {"insufficient_funds"}
    found = worked(systems)[TAKEN]
    assert found.outcome is FAIL and rows_left(served_database) == 0
    assert "payment_failed (insufficient_funds) was answered with 500 and 500" in found.evidence


def test_an_event_that_is_recorded_twice_fails(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute("ALTER TABLE events DROP CONSTRAINT events_whop_event_id_key")
    found = worked(systems)[TAKEN]
    assert found.outcome is FAIL and "was sent 2 times and is there 2 times" in found.evidence
    assert rows_left(served_database) == 0


def test_an_event_that_is_acknowledged_and_not_recorded_fails(systems: Systems, stub: StubTarget) -> None:
    stub.receive.rows = 0
    found = worked(systems)[TAKEN]
    assert found.outcome is FAIL and "is there 0 times" in found.evidence


def test_what_comes_of_an_event_is_removed_with_it(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    """A scheduler that comes by in between books a job for the case and records a nudge."""

    def remind(conn: psycopg.Connection, event: dict[str, Any]) -> None:
        member = event["data"]["membership_id"]
        conn.execute(
            """
            INSERT INTO pgboss.job (name, data)
            SELECT 'reminders', jsonb_build_object('caseId', id) FROM recovery_cases WHERE membership_id = %(member)s
            """,
            {"member": member},
        )
        conn.execute(
            """
            INSERT INTO recovery_actions (case_id, type)
            SELECT id, 'nudge' FROM recovery_cases WHERE membership_id = %(member)s
            """,
            {"member": member},
        )

    stub.receive.after = remind
    assert worked(systems)[TAKEN].outcome is PASS and rows_left(served_database) == 0


def test_it_is_removed_when_the_service_dies_half_way(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    seen = []

    def record_then_die(body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        seen.append(body)
        receive(body, headers)
        if len(seen) > 3:
            stub.hangs.add(PLAYBOOK.endpoints.webhook)
            raise OSError("the line is cut")
        return as_json({"received": True})

    receive, stub.receive = stub.receive, record_then_die
    stub._server.handle_error = lambda *_: None
    found = worked(
        Systems(
            systems.playbook,
            systems.target,
            systems.database,
            systems.platform,
            type(systems.service)(systems.service.config.model_copy(update={"timeout_s": 0.3})),
        )
    )[TAKEN]
    assert found.outcome is FAIL and rows_left(served_database) == 0


def test_a_row_that_is_locked_for_a_while_is_removed_in_the_end(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        with psycopg.connect(served_database.owner_url) as conn:
            conn.execute("SELECT FROM recovery_cases WHERE membership_id LIKE 'mem_verify%' FOR UPDATE")
            locked.set()
            release.wait(3)

    def after(conn: psycopg.Connection, _event: dict[str, Any]) -> None:
        conn.commit()
        if not locked.is_set():
            holder.start()
            locked.wait(5)
            threading.Timer(1.2, release.set).start()

    holder = threading.Thread(target=hold)
    stub.receive.after = after
    found = worked(systems)[TAKEN]
    holder.join(10)
    assert found.outcome is PASS, found.evidence
    assert rows_left(served_database) == 0


def test_what_cannot_be_removed_fails_and_is_named(
    systems: Systems, served_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "TRY_AGAIN_WITHIN_S", 0.5)
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute(
            """
            CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'events are kept'; END $$;
            CREATE TRIGGER keep BEFORE DELETE ON events EXECUTE FUNCTION keep();
            """
        )
    found = worked(systems)[TAKEN]
    assert found.outcome is FAIL and "NOT REMOVED" in found.evidence and "events are kept" in found.evidence
    assert "delete what begins with evt_verify_" in found.evidence


def test_what_a_killed_verification_left_is_removed_by_the_next(
    systems: Systems, served_database: ServiceDatabase
) -> None:
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute(
            """
            INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, created_at)
            VALUES ('evt_verify_0a', 't', 'mem_verify_0a', 'c', '{}', now() - interval '11 minutes'),
                   ('evt_verifying', 't', 'm', 'c', '{}', now() - interval '11 minutes');
            INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)
            VALUES ('c', 'mem_verify_0a', 'u', 'expired_card', now());
            """
        )
    assert worked(systems)[TAKEN].outcome is PASS
    with psycopg.connect(served_database.owner_url) as conn:
        assert conn.execute("SELECT whop_event_id FROM events").fetchall() == [("evt_verifying",)]


def test_processing_is_judged_by_the_rows_that_appear(
    systems: Systems, stub: StubTarget, served_database: ServiceDatabase
) -> None:
    """Ten webhooks are answered in the window: with new rows that is fine, without any it is not."""

    def busy() -> CheckResult:
        window = SteadyWindow(systems, 1.5)
        window.begin()
        wait_until(lambda: stub.followed, within=5, what="the log to be read")
        stub.log(10)
        return by_name(run_checks(functional_checks(systems, window)))[PROCESSED]

    silent = busy()
    assert silent.outcome is FAIL and "0 new rows in events" in silent.evidence
    with psycopg.connect(served_database.owner_url) as conn:
        conn.execute(
            "INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, created_at)"
            " VALUES ('evt_1', 't', 'm', 'c', '{}', now() + interval '1 second')"
        )
    assert busy().outcome is PASS
