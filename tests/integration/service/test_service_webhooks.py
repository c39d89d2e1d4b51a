"""The service's webhooks on real PostgreSQL: recorded once, acted upon once, or not acknowledged and not there."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from live_service import MEMBER, SECRET, Deploy, event, waiting

from toolkit.adapters.webhook import WEBHOOK_PATH, sign, webhook_headers
from toolkit.clock import utc_now, wait_until
from toolkit.drill.schema import FAILURE_REASONS, MIGRATIONS, migrate_up
from toolkit.drill.service.request_log import Failure

FORGOTTEN = {"insufficient_funds", "authentication_required"}


def cases_of(owner: psycopg.Connection, membership: str) -> list[tuple[Any, ...]]:
    return owner.execute(
        """
        SELECT status, failure_reason, recovered_amount_cents
        FROM recovery_cases
        WHERE membership_id = %s
        ORDER BY first_failure_at
        """,
        [membership],
    ).fetchall()


def count(owner: psycopg.Connection, whop_event_id: str) -> int:
    row = owner.execute("SELECT count(*) FROM events WHERE whop_event_id = %s", [whop_event_id]).fetchone()
    return row[0] if row else 0


# What fails: build, schema, the reasons that fail, and the error that the log names.
EVERY_REASON = set(FAILURE_REASONS)
OUTCOMES = [
    (6, 8, set(), None),
    (7, 8, set(), None),
    (8, 8, set(), None),
    (9, 8, EVERY_REASON, "42703 42704"),
    (8, 9, FORGOTTEN, "23514"),
    (9, 9, FORGOTTEN, "23514"),
]


@pytest.mark.parametrize(("build", "schema", "failing", "sqlstates"), OUTCOMES)
def test_what_fails_when_code_and_schema_do_not_fit(
    owner: psycopg.Connection, deploy: Deploy, build: int, schema: int, failing: set[str], sqlstates: str | None
) -> None:
    migrate_up(owner, schema)
    service = deploy(build)
    failures = {reason: event(failure_reason=reason) for reason in FAILURE_REASONS}
    answers = {reason: service.send(sent).status_code for reason, sent in failures.items()}
    assert answers == {reason: 500 if reason in failing else 200 for reason in FAILURE_REASONS}
    for reason, sent in failures.items():
        there = reason not in failing
        assert count(owner, sent.id) == there, "an event that was not acknowledged left a row"
        assert cases_of(owner, sent.membership_id) == ([("open", reason, None)] if there else [])
    for type in ("payment_succeeded", "membership_activated", "membership_deactivated"):
        assert service.send(event(type)).status_code == 200
    errors = [line["error"] for line in service.lines() if line["status"] == 500]
    assert len(errors) == len(failing)
    assert all(error["sqlstate"] in (sqlstates or "").split() for error in errors)


def test_only_both_rollbacks_together_heal(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 9)
    old, new = deploy(8), deploy(9)
    failed = event(failure_reason="insufficient_funds")
    assert [service.send(failed).status_code for service in (new, old, new)] == [500, 500, 500]
    (down,) = MIGRATIONS.glob("009_*.down.sql")
    owner.execute(down.read_bytes())
    assert [service.send(failed).status_code for service in (new, old)] == [500, 200]
    assert old.send(failed).json() == {"received": True, "duplicate": True}
    assert count(owner, failed.id) == 1
    assert cases_of(owner, failed.membership_id) == [("open", "insufficient_funds", None)]


def test_a_log_line_tells_the_error_and_not_the_row(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 9)
    service = deploy(9)
    failed = event(failure_reason="insufficient_funds")
    service.send(failed)
    line = service.line_of(failed)
    assert line["at"].endswith("Z") and line["ms"] > 0
    assert {name: line[name] for name in line if name not in ("at", "ms", "error")} == {
        "level": "error",
        "message": line["error"]["message"],
        "deployment": "dpl_9",
        "build": 9,
        "method": "POST",
        "path": WEBHOOK_PATH,
        "status": 500,
        "request_id": f"req-{failed.id}",
        "event_type": "payment_failed",
    }
    assert {name: line["error"][name] for name in ("type", "sqlstate", "constraint", "relation")} == {
        "type": "CheckViolation",
        "sqlstate": "23514",
        "constraint": "recovery_cases_failure_category_known",
        "relation": "recovery_cases",
    }
    written = service.log.read_text()
    for private in (MEMBER, failed.membership_id, SECRET.get_secret_value(), "Failing row"):
        assert private not in written


def test_an_error_that_quotes_a_row_is_told_without_it(owner: psycopg.Connection) -> None:
    migrate_up(owner, 8)
    quoting = [
        psycopg.sql.SQL("SELECT {}::uuid").format(MEMBER),
        psycopg.sql.SQL(
            """
            INSERT INTO recovery_cases (company_id, membership_id, user_id, status, failure_reason, first_failure_at)
            VALUES ('biz_00', 'mem', {}, 'lost', 'card_declined', now())
            """
        ).format(MEMBER),
    ]
    for statement in quoting:
        with pytest.raises(psycopg.Error) as refused:
            owner.execute(statement)
        assert MEMBER in str(refused.value)
        told = Failure.of(refused.value)
        assert told.sqlstate and MEMBER not in str(told)


def test_failures_merge_a_payment_closes_and_a_repeat_does_nothing(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    same = {"membership_id": "mem_same"}
    first, second = event(**same), event(**same, failure_reason="expired_card")
    paid = event("payment_succeeded", **same, amount=2500)
    for sent in (first, second):
        assert service.send(sent).json() == {"received": True, "duplicate": False}
    assert cases_of(owner, "mem_same") == [("open", "expired_card", None)]
    assert service.send(paid).status_code == 200
    for sent in (paid, first, paid):
        assert service.send(sent).json() == {"received": True, "duplicate": True}
    assert cases_of(owner, "mem_same") == [("recovered", "expired_card", 2500)]
    service.send(event(**same))
    service.send(event("payment_succeeded", **same, amount=100))
    assert cases_of(owner, "mem_same") == [("recovered", "card_declined", 2600)], "reopened, then booked on top"


def test_an_old_failure_opens_a_case_of_its_own(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    for days in (20, 10, 1):
        service.send(event(membership_id="mem_long", created_at=utc_now() - timedelta(days=days)))
    assert len(cases_of(owner, "mem_long")) == 2
    service.send(event("payment_succeeded", membership_id="mem_long", amount=700))
    closed = cases_of(owner, "mem_long")
    assert [(status, amount) for status, _, amount in closed] == [("recovered", 0), ("recovered", 700)]


def test_failures_within_fourteen_days_are_one_case_in_whatever_order_they_come(
    owner: psycopg.Connection, deploy: Deploy
) -> None:
    migrate_up(owner, 8)
    service, now = deploy(8), utc_now()
    older_of_two, exactly, a_little_more = [(25, 1, 24), (25, 1, 26)], [(1, 15), (15, 1)], [(1, 15.001), (15.001, 1)]
    for days in (*older_of_two, *exactly, *a_little_more):
        for ago in days:
            service.send(event(membership_id=f"mem_{days}", created_at=now - timedelta(days=ago)))
    opened = {days: len(cases_of(owner, f"mem_{days}")) for days in (*older_of_two, *exactly, *a_little_more)}
    assert opened == dict.fromkeys(older_of_two, 2) | dict.fromkeys(exactly, 1) | dict.fromkeys(a_little_more, 2)


def test_twins_that_arrive_together_are_one(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    twin = event(membership_id="mem_twin")
    siblings = [twin] * 8 + [event(membership_id="mem_twin") for _ in range(8)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(service.send, siblings))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["duplicate"] for answer in answers) == 7
    assert count(owner, twin.id) == 1
    assert len(cases_of(owner, "mem_twin")) == 1


def test_two_failures_at_once_open_one_case(owner: psycopg.Connection, deploy: Deploy) -> None:
    """The table lets itself be read and not written until both have had the time to look for a case."""
    migrate_up(owner, 8)
    service = deploy(8)
    with ThreadPoolExecutor(2) as threads:
        with owner.transaction():
            owner.execute("LOCK TABLE recovery_cases IN SHARE MODE")
            answers = [threads.submit(service.send, event(membership_id="mem_race")) for _ in range(2)]
            wait_until(lambda: len(waiting(owner)) == 2, within=5, what="both webhooks to wait")
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert len(cases_of(owner, "mem_race")) == 1


def test_what_is_not_whops_is_refused_and_leaves_nothing(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    sent = event()
    bare = sign(SECRET, sent.body()).removeprefix("sha256=")
    old = str(int(utc_now().timestamp()) - 301)
    refusals = [
        ({"x-whop-signature": "test"}, 401),
        ({"x-whop-signature": f"sha256={bare[::-1]}"}, 401),
        ({"x-whop-timestamp": old}, 401),
        ({"x-whop-event": "payment_succeeded"}, 400),
    ]
    for headers, status in refusals:
        assert service.send(sent, **headers).status_code == status, headers
    assert service.client.post(WEBHOOK_PATH, content=sent.body()).status_code == 401
    malformed = b'{"test": "post-rollback-test"}'
    signed = webhook_headers("payment_failed", malformed, SECRET, "req", utc_now())
    assert service.client.post(WEBHOOK_PATH, content=malformed, headers=signed).status_code == 400
    assert owner.execute("SELECT count(*) FROM events").fetchone() == (0,)
    for form in (bare, f"v1,{bare}"):
        assert service.send(sent, **{"x-whop-signature": form}).status_code == 200


def test_switched_off_it_acknowledges_nothing(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8, PROCESSING_ENABLED="false")
    answer = service.send(event())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert service.send(event(), **{"x-whop-signature": "test"}).status_code == 401
    assert owner.execute("SELECT count(*) FROM events").fetchone() == (0,)
