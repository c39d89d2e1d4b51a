"""Assessment against a database of which a part is gone: what one question cannot tell, the others still do."""

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
def systems(churn_database: ServiceDatabase, tmp_path: Path) -> Iterator[Systems]:
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
    stub = StubTarget()
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
    stub.stop()


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
    monkeypatch.setattr("toolkit.assess.look", lambda systems: look(systems, sample_s=0.1))


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
