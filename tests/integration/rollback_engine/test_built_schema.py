"""The live schema is held against the one that the migrations make, and drift is told object by object."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.checks import CheckResult, Outcome, overall
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.rollback.built_schema import live_against_built
from toolkit.rollback.scratch import Scratch, scratch_server


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with scratch_server() as server:
        yield server


@pytest.fixture
def live(churn_database: ServiceDatabase) -> ServiceDatabase:
    """The service's database at version 8, with rows."""
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=20, cases=10)
    return churn_database


def systems_of(
    live: ServiceDatabase, migrations: Path = MIGRATIONS, schemas: tuple[str, ...] = ("public", "pgboss")
) -> Any:
    """As much of the systems as the comparison uses."""
    return SimpleNamespace(
        database=Database(SecretStr(live.toolkit_url), target="test"),
        target=SimpleNamespace(migrations=migrations, name="test"),
        playbook=SimpleNamespace(database=SimpleNamespace(schemas=schemas, state_table="schema_migrations")),
    )


def run(live: ServiceDatabase, statement: str) -> None:
    with psycopg.connect(live.admin_url, autocommit=True) as conn:
        conn.execute(statement)


def told(results: list[CheckResult], outcome: Outcome) -> str:
    return "\n".join(f"{each.name}: {each.evidence}" for each in results if each.outcome is outcome)


def test_the_schema_that_the_migrations_made_passes(live: ServiceDatabase, scratch: Scratch) -> None:
    results = live_against_built(systems_of(live), scratch, 8)
    assert overall(results) is Outcome.PASS, told(results, Outcome.FAIL) + told(results, Outcome.UNKNOWN)
    assert len(results) == 8


def test_another_version_is_drift(live: ServiceDatabase, scratch: Scratch) -> None:
    assert "column public.recovery_actions.source" in told(
        live_against_built(systems_of(live), scratch, 6), Outcome.FAIL
    )
    assert "failure_category" in told(live_against_built(systems_of(live), scratch, 9), Outcome.FAIL)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE events ADD COLUMN left_behind int", "column public.events.left_behind is new (integer)"),
        (
            "DROP INDEX recovery_cases_company_id_status_idx",
            "index public.recovery_cases_company_id_status_idx is gone",
        ),
        ("ALTER TABLE events ALTER COLUMN type DROP NOT NULL", "column public.events.type changed"),
        ("REVOKE INSERT ON events FROM churn_app", "grant INSERT on table public.events to churn_app is gone"),
        ("ALTER TABLE recovery_cases OWNER TO toolkit", "owner table public.recovery_cases changed: churn_owner"),
        ("ALTER TABLE events DISABLE ROW LEVEL SECURITY", "row-level security public.events changed"),
        ("CREATE FUNCTION leftover() RETURNS int LANGUAGE sql RETURN 1", "function public.leftover() is new"),
        ("ALTER TYPE action_source ADD VALUE 'robot'", "enum public.action_source changed"),
        ("CREATE TABLE pgboss.extra (id int)", "table pgboss.extra is new"),
    ],
)
def test_drift_is_told_by_its_object(live: ServiceDatabase, scratch: Scratch, statement: str, expected: str) -> None:
    run(live, statement)
    assert expected in told(live_against_built(systems_of(live), scratch, 8), Outcome.FAIL)


def test_what_the_migrations_do_not_make_is_no_drift(live: ServiceDatabase, scratch: Scratch) -> None:
    run(live, "CREATE SCHEMA platform; CREATE TABLE platform.users (id int)")
    run(live, "ALTER DEFAULT PRIVILEGES FOR ROLE churn_owner IN SCHEMA public GRANT SELECT ON TABLES TO toolkit")
    systems = systems_of(live, schemas=("public", "pgboss", "platform"))
    results = live_against_built(systems, scratch, 8)
    found = told(results, Outcome.FAIL)
    assert "platform" not in found
    assert "the migrations make nothing in platform" in told(results, Outcome.PASS)
    assert "default privilege" not in found
    # the default came after the tables here, before them there: their grants differ, and that is told
    assert "grant SELECT on table public.events to toolkit is gone" in found


def test_kinds_can_be_left_out_while_they_differ_on_purpose(live: ServiceDatabase, scratch: Scratch) -> None:
    run(live, "REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM churn_app")
    assert overall(live_against_built(systems_of(live), scratch, 8)) is Outcome.FAIL
    results = live_against_built(systems_of(live), scratch, 8, leave_out=("grant",))
    assert overall(results) is Outcome.PASS
    assert "not compared: grant" in told(results, Outcome.PASS)


def test_a_scratch_server_of_another_major_version_tells_nothing(live: ServiceDatabase, scratch: Scratch) -> None:
    other = replace(scratch, major=15)
    results = live_against_built(systems_of(live), other, 8)
    assert {each.outcome for each in results} == {Outcome.UNKNOWN}
    assert "PostgreSQL 18" in results[0].evidence and "15" in results[0].evidence


def test_what_could_not_be_built_is_unknown(live: ServiceDatabase, scratch: Scratch, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    first = folder / "001_events.up.sql"
    first.write_text(f"CREATE EXTENSION of_no_such_name;\n{first.read_text()}")
    results = live_against_built(systems_of(live, folder), scratch, 8)
    assert {each.outcome for each in results} == {Outcome.UNKNOWN}
    assert "migration 1, line 1 (CREATE EXTENSION)" in results[0].evidence
