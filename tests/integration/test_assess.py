"""Assessment against a database of which a part is gone: what one question cannot tell, the others still do."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from stub_target import PRODUCTION, StubTarget

from toolkit.adapters.postgres import Connection, Database
from toolkit.adapters.readings import Flow
from toolkit.adapters.systems import Systems
from toolkit.adapters.value_shares import value_shares
from toolkit.assess import Assessment, assess, views
from toolkit.assess.reasoning import Cause, Confidence
from toolkit.checks import CheckResult, Outcome
from toolkit.cli import main
from toolkit.clock import iso, wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.incident import Incident
from toolkit.playbook import Severity, load_playbook

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")
REASON, STATUS = "recovery_cases.failure_reason", "recovery_cases.status"
RENAME = "ALTER TABLE recovery_cases RENAME COLUMN failure_reason TO reason;"
MISSED = {"count": 40, "status": 500, "path": "/api/webhooks/whop", "sqlstate": "42703"}
MISSED |= {"message": "column r.failure_reason does not exist"}


@pytest.fixture
def stub() -> Iterator[StubTarget]:
    stub = StubTarget()
    yield stub
    stub.stop()


@pytest.fixture
def systems(stub: StubTarget, churn_database: ServiceDatabase, tmp_path: Path) -> Iterator[Systems]:
    """Version 8 was verified; then a migration 9 renamed a column that is watched."""
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=100, cases=100)
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in MIGRATIONS.glob("*.sql"):
        if file.name < "009":
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "009_shorter_name.up.sql").write_text(RENAME)
    (folder / "009_shorter_name.down.sql").write_text("ALTER TABLE recovery_cases RENAME reason TO failure_reason;")
    systems = stub.systems(PLAYBOOK, churn_database)
    systems = replace(systems, target=systems.target.model_copy(update={"migrations": folder}))
    with systems.database.reading() as conn:
        shares = {column: value_shares(conn, column) for column in (REASON, STATUS)}
    systems.database.prepare()
    systems.database.record_stable(8, PRODUCTION, {"shares": shares})
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute(RENAME)
        conn.execute("UPDATE schema_migrations SET version = 9")
    yield systems
    systems.platform.close()
    systems.service.close()


@pytest.fixture
def incident(tmp_path: Path) -> Incident:
    folder = tmp_path / "incident"
    folder.mkdir()
    incident = Incident(folder)
    incident.open(Severity.P1, ["requests fail"], actor="tester")
    incident.record("monitor.observed", {"errors": [MISSED]}, actor="monitor")
    return incident


@pytest.fixture(autouse=True)
def _brief_look(monkeypatch: pytest.MonkeyPatch) -> None:
    look = views.look
    monkeypatch.setattr("toolkit.assess.look", lambda systems: look(systems, sample_s=0.6))


def checks(assessment: Assessment) -> dict[str, CheckResult]:
    return {result.name: result for result in assessment.status}


def test_a_renamed_column_accuses_its_migration_and_hides_nothing_else(systems: Systems, incident: Incident) -> None:
    made = assess(systems, incident, actor="tester")
    seen = checks(made)
    assert seen["database answers"].outcome is Outcome.PASS
    assert seen[f"values of {REASON}"].outcome is Outcome.UNKNOWN
    assert "does not exist" in seen[f"values of {REASON}"].evidence
    assert seen[f"values of {STATUS}"].outcome is seen["sessions and locks"].outcome is Outcome.PASS
    assert seen["migrations"].evidence == "version 9, last verified 8"
    best = made.hypotheses[0]
    assert (best.cause, best.subject, best.confidence) == (Cause.MIGRATION, "9", Confidence.STRONG), best
    assert (made.recommendation.kind, made.recommendation.migration_target) == ("migration", 8)


def test_renamed_tables_leave_the_rest_to_tell(
    systems: Systems, incident: Incident, churn_database: ServiceDatabase
) -> None:
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("ALTER TABLE events RENAME TO incoming")
        conn.execute("ALTER TABLE recovery_cases RENAME TO cases")
    made = assess(systems, incident, actor="tester")
    seen = checks(made)
    assert seen["database answers"].outcome is seen["sessions and locks"].outcome is Outcome.PASS
    assert seen["events come in"].outcome is seen[f"values of {STATUS}"].outcome is Outcome.UNKNOWN
    assert 'relation "public.events" does not exist' in seen["events come in"].evidence
    assert made.facts.gone == (STATUS, REASON)
    assert made.recommendation.kind == "migration"


def test_a_line_that_breaks_over_a_question_is_no_dead_database(
    systems: Systems, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(conn: Connection, *_: object) -> Flow:
        conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError("it survived")

    monkeypatch.setattr("toolkit.assess.views.event_flow", break_off)
    made = assess(systems, incident, actor="tester")
    seen = checks(made)
    assert seen["database answers"].outcome is Outcome.PASS and made.facts.version == 9
    assert seen["events come in"].outcome is seen["job queue"].outcome is Outcome.UNKNOWN


def test_a_database_that_is_not_reached_does_not_work(systems: Systems, incident: Incident) -> None:
    nowhere = Database(SecretStr("postgresql://nobody@127.0.0.1:1/none"), target="sandbox")
    made = assess(replace(systems, database=nowhere), incident, actor="tester")
    seen = checks(made)
    assert seen["database answers"].outcome is Outcome.FAIL
    assert seen["migrations"].outcome is seen[f"values of {STATUS}"].outcome is Outcome.UNKNOWN
    assert made.hypotheses[0].cause is Cause.DATABASE


def failing(stub: StubTarget) -> threading.Thread:
    """Requests that fail as soon as somebody reads the log anew."""
    stub.break_off()
    wait_until(lambda: not stub.followed, within=10, what="nobody to read the log", every=0.01)

    def fail() -> None:
        wait_until(lambda: stub.followed, within=10, what="somebody to read the log", every=0.01)
        stub.log(20, status=500, error={name: MISSED[name] for name in ("sqlstate", "message")})

    thread = threading.Thread(target=fail)
    thread.start()
    return thread


def test_the_playbook_says_how_severe_a_migration_failure_is(
    stub: StubTarget, systems: Systems, incident: Incident
) -> None:
    """Not the code: here it is moved from P0 to P2. The reasons say what was seen."""
    severity = dict(PLAYBOOK.severity)
    moved = next(words for words in severity[Severity.P0].definitions if "migration failure" in words.lower())
    fewer = [words for words in severity[Severity.P0].definitions if words != moved]
    severity[Severity.P0] = severity[Severity.P0].model_copy(update={"definitions": fewer})
    milder = severity[Severity.P2].model_copy(update={"definitions": [moved]})
    severity[Severity.P2] = milder
    mild = replace(systems, playbook=PLAYBOOK.model_copy(update={"severity": severity}))
    thread = failing(stub)
    made = assess(mild, incident, actor="tester")
    thread.join()
    assert made.facts.error_rate == 1.0
    assert incident.severity is Severity.P1, "P2 is less than it was"
    thread = failing(stub)
    assess(systems, incident, actor="tester")
    thread.join()
    assert incident.severity is Severity.P0
    assert incident.reasons == [f"{moved}: migration 9 broke it by strong evidence, and 100% of the requests fail"]


def test_the_scope_says_on_which_deployment_and_since_when(
    stub: StubTarget, systems: Systems, incident: Incident
) -> None:
    thread = failing(stub)
    row = assess(systems, incident, actor="tester").scope_rows()[0]
    thread.join()
    seen = incident.latest("monitor.observed")
    assert seen is not None
    assert (row["deployment"], row["failing since"]) == (PRODUCTION, f"{iso(seen.at)[:19]}Z or before")


def test_silence_is_judged_by_what_the_playbook_allows(
    stub: StubTarget, incident: Incident, churn_database: ServiceDatabase, systems: Systems
) -> None:
    """Two minutes without an event are nothing where fifteen are allowed, and all where thirty seconds are."""
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("TRUNCATE events CASCADE")
        conn.execute(
            """
            INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, created_at)
            SELECT 'evt_' || n, 'payment_failed', 'mem', 'biz', '{}', now() - n * interval '1 s' - interval '2 min'
            FROM generate_series(0, 59) AS n
            """
        )
    expected = {30.0: Outcome.FAIL, 900.0: Outcome.PASS}
    for silence_s, outcome in expected.items():
        monitoring = systems.target.monitoring.model_copy(update={"silence_minutes": silence_s})
        target = systems.target.model_copy(update={"monitoring": monitoring})
        made = assess(replace(systems, target=target), incident, actor="tester")
        assert checks(made)["events come in"].outcome is outcome
    with psycopg.connect(churn_database.owner_url) as conn:
        conn.execute("DELETE FROM events WHERE whop_event_id <> 'evt_0'")
    assert checks(assess(systems, incident, actor="tester"))["events come in"].outcome is Outcome.UNKNOWN


def test_errors_locks_changes_and_options_are_told_from_the_real_thing(
    stub: StubTarget, systems: Systems, incident: Incident, churn_database: ServiceDatabase
) -> None:
    """One session holds a table that another waits for, while requests fail."""
    held, waiting = (psycopg.connect(churn_database.owner_url, application_name=name) for name in ("holder", "waiter"))
    with held, waiting:
        held.execute("LOCK TABLE creator_settings")
        blocked = threading.Thread(target=lambda: waiting.execute("SELECT 'secret' FROM creator_settings"))
        blocked.start()
        failures = failing(stub)
        made = assess(systems, incident, actor="tester")
        failures.join()
        held.rollback()
        blocked.join()
    (error,) = made.error_rows()
    assert (error["SQLSTATE"], error["deployment"], error["names"]) == (
        "42703: no such object, or no right to it",
        PRODUCTION,
        "failure_reason",
    )
    (lock,) = made.lock_rows()
    assert "waiter" in str(lock["waiting"]) and "secret" not in str(lock) and "holder" in str(lock["in the way"])
    assert lock["for"] == "AccessShareLock on creator_settings"
    changed = [str(row["what"]).split(":")[0] for row in made.change_rows()]
    assert changed.index("migration 9 shorter_name") < changed.index("verified")
    assert "▶ the failures were first seen" in changed
    assert made.options[0].kind == "migration" and made.options[0].target == "version 8"
    entry = incident.latest("assessment.made")
    assert entry is not None and entry.data["options"][0]["recommended"] is True


def test_the_command_tells_and_journals_the_same(
    stub: StubTarget,
    systems: Systems,
    incident: Incident,
    churn_database: ServiceDatabase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in stub.environment(churn_database).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MIGRATIONS_FOLDER", str(systems.target.migrations))
    monkeypatch.delenv("VERCEL_TOKEN")
    folder = str(incident.folder)
    with pytest.raises(SystemExit) as ended:
        main(["assess", "--target", "sandbox", "--incident", folder, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 3 and told["recommendation"]["migration_target"] == 8
    unseen = {each["name"]: each for each in told["checks"]}["production deployment"]
    assert unseen["outcome"] == "unknown" and "VERCEL_TOKEN is not set" in unseen["evidence"]
    with pytest.raises(SystemExit) as ended:
        main(["decide", "migration", "--reason", "it names the column", "--by", "lead", "--incident", folder])
    assert ended.value.code == 0 and "Next: emergency-rollback --last-stable" in capsys.readouterr().out
    entry = incident.latest("decision.made")
    assert entry is not None and (entry.data["why"], entry.data["follows"]) == ("it names the column", True)
