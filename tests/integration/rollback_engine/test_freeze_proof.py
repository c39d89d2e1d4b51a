"""That nothing writes is proved, and the proof fails when something does."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.adapters.systems import Systems, connect
from toolkit.assess.standing import _frozen, standing
from toolkit.checks import CheckResult, Outcome
from toolkit.clock import utc_now
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up, seed
from toolkit.playbook import load_playbook
from toolkit.rollback.freeze import came_since, freeze_writes, frozen, is_proof, prove, scope_of
from toolkit.rollback.freeze.proof import ATTEMPT, CATALOG, WATCH
from toolkit.rollback.merge import hold_queue, release_queue

WATCH_S = 0.6
INSERT = """
INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, processed)
VALUES (gen_random_uuid()::text, 'payment_failed', 'm', 'biz_00', '{}', true)
"""


@pytest.fixture
def systems(churn_database: ServiceDatabase) -> Iterator[Systems]:
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=100, cases=20)
    secrets = ("VERCEL_TOKEN", "VERCEL_PROJECT_ID", "VERCEL_TEAM_ID", "WHOP_WEBHOOK_SECRET", "CRON_SECRET")
    urls = {"SERVICE_URL": "http://127.0.0.1:1", "VERCEL_API_URL": "http://127.0.0.1:1"}
    book = load_playbook(Path("playbook.toml"))
    environment = dict.fromkeys(secrets, "a-word") | urls | {"DATABASE_URL": churn_database.toolkit_url}
    made = connect(book, book.target("sandbox", environment | {"TOOLKIT_SANDBOX": "none-of-this-name"}))
    yield made
    made.platform.close()
    made.service.close()


def freeze(systems: Systems) -> None:
    freeze_writes(systems.database, scope_of(systems.playbook), incident="inc", plan="plan", by="ada")


def outcomes(results: list[CheckResult]) -> dict[str, str]:
    return {result.name: result.outcome.value for result in results}


def only_failing(results: list[CheckResult]) -> list[str]:
    return [result.name for result in results if result.outcome != "pass"]


def test_a_freeze_that_holds_is_proved(systems: Systems) -> None:
    freeze(systems)
    results = prove(systems, watch_s=WATCH_S)
    assert len(results) == 5
    assert only_failing(results) == [], [result.evidence for result in results]


def test_without_a_freeze_nothing_is_proved(systems: Systems) -> None:
    assert set(outcomes(prove(systems, watch_s=WATCH_S)).values()) == {"unknown"}


def test_a_privilege_that_came_back_is_found_by_catalog_and_attempt(
    systems: Systems, churn_database: ServiceDatabase
) -> None:
    freeze(systems)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("GRANT INSERT ON creator_settings TO churn_app")
    assert only_failing(prove(systems, watch_s=WATCH_S)) == [
        "no role of the application may write",
        "a write by the application is refused",
    ]


def test_a_column_is_enough_to_be_found(systems: Systems, churn_database: ServiceDatabase) -> None:
    freeze(systems)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("GRANT UPDATE (processed) ON events TO app_b8")
    try:
        assert only_failing(prove(systems, watch_s=WATCH_S)) == ["no role of the application may write"]
    finally:
        with psycopg.connect(churn_database.owner_url) as conn:
            conn.execute("REVOKE UPDATE (processed) ON events FROM app_b8")


def test_an_attempt_leaves_nothing(systems: Systems, churn_database: ServiceDatabase) -> None:
    freeze(systems)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("GRANT INSERT ON events, recovery_cases, creator_settings, pgboss.job TO churn_app")
    counted = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM recovery_cases)"
    with psycopg.connect(churn_database.owner_url) as conn:
        before = conn.execute(counted).fetchone()
        conn.rollback()
        prove(systems, watch_s=WATCH_S)
        assert conn.execute(counted).fetchone() == before


def test_a_row_from_the_future_is_no_row_since(systems: Systems, churn_database: ServiceDatabase) -> None:
    """A sender's clock was wrong, days ago; what is written in spite of the freeze is still seen."""
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("UPDATE events SET created_at = now() + interval '1 year' WHERE ctid = '(0,1)'")
        conn.execute(
            "UPDATE pgboss.job SET started_on = now() + interval '1 day' WHERE id = (SELECT id FROM pgboss.job LIMIT 1)"
        )
    freeze(systems)
    there = frozen(systems.database)
    assert there is not None
    assert only_failing(prove(systems, watch_s=WATCH_S)) == []
    assert came_since(systems, there) == {}
    assert "written since: no row, no job" in _frozen(systems).evidence
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute(INSERT)
    assert came_since(systems, there) == {"rows in events": 1}
    assert "written since: 1 rows in events" in _frozen(systems).evidence


def test_a_held_queue_shows_in_the_status(systems: Systems, churn_database: ServiceDatabase) -> None:
    def queue() -> tuple[str, str]:
        rows = {row["what"]: row for row in standing(systems).rows()}
        shown = rows["the queue hands out its jobs"]
        return shown["outcome"], shown["evidence"]

    assert queue() == ("pass", "nothing holds the jobs of pgboss")
    with systems.database.writing() as conn:
        held = hold_queue(conn, "pgboss")
    outcome, evidence = queue()
    assert outcome == "fail" and f"held by a restore's swap, {held} of them waiting" in evidence
    with systems.database.writing() as conn:
        release_queue(conn, "pgboss")
    assert queue()[0] == "pass"


def test_what_nobody_could_see_is_no_proof() -> None:
    def seen(**outcomes: Outcome) -> list[CheckResult]:
        told = {CATALOG: outcomes["catalog"], ATTEMPT: outcomes["attempt"], WATCH: outcomes["watch"]}
        return [CheckResult(name, "freeze", outcome, "", utc_now(), 0.0) for name, outcome in told.items()]

    held, dark, wrong = Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL
    assert is_proof(seen(catalog=held, attempt=dark, watch=held))  # we are no member of the application's role
    assert is_proof(seen(catalog=held, attempt=held, watch=dark))  # an exempt role goes on writing
    assert not is_proof(seen(catalog=dark, attempt=dark, watch=dark))
    assert not is_proof(seen(catalog=dark, attempt=dark, watch=held))
    assert not is_proof(seen(catalog=held, attempt=held, watch=wrong))


def test_who_cannot_act_as_the_application_says_so(systems: Systems, churn_database: ServiceDatabase) -> None:
    freeze(systems)
    role = f"prover_{churn_database.name}"
    with psycopg.connect(churn_database.admin_url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'word' IN ROLE churn_owner, pg_monitor")
        conn.execute(f"GRANT USAGE ON SCHEMA toolkit TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA toolkit TO {role}")
    try:
        url = churn_database.server.url(role, "word", churn_database.name)
        limited = Systems(
            systems.playbook,
            systems.target,
            Database(SecretStr(url), target="sandbox"),
            systems.platform,
            systems.service,
        )
        found = outcomes(prove(limited, watch_s=WATCH_S))
        assert found["a write by the application is refused"] == "unknown"
    finally:
        with psycopg.connect(churn_database.admin_url, autocommit=True) as conn:
            conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_writer_that_no_privilege_stops_is_seen(
    systems: Systems, churn_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner goes on writing: neither the catalog nor the attempt can tell, watching does."""
    monkeypatch.setattr("toolkit.rollback.freeze.proof.WATCH_WITHIN_S", 2.0)
    freeze(systems)
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.05):
            with psycopg.connect(churn_database.owner_url) as conn:  # statistics are reported when a session ends
                conn.execute(INSERT)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert only_failing(prove(systems, watch_s=WATCH_S)) == ["no row came, changed or went"]
    finally:
        ended.set()
        writer.join()


def test_a_row_and_a_job_younger_than_the_freeze_are_seen(systems: Systems, churn_database: ServiceDatabase) -> None:
    freeze(systems)
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute(INSERT)
        conn.execute("UPDATE pgboss.job SET started_on = now() WHERE id = (SELECT id FROM pgboss.job LIMIT 1)")
    assert only_failing(prove(systems, watch_s=WATCH_S)) == ["no row came, changed or went", "no job was started"]
