"""The service while its writes are frozen: nothing acknowledged, senders told to come again, reading as ever."""

from pathlib import Path

import psycopg
import pytest
from live_service import CRON, Deploy, LiveService, event
from pydantic import SecretStr

from toolkit.adapters.postgres import Database
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up
from toolkit.drill.service.maintenance import is_frozen
from toolkit.playbook import load_playbook
from toolkit.rollback.freeze import freeze_writes, release_writes, scope_of

MAINTENANCE = (503, {"error": "maintenance"})
WRITING = ("/api/scheduler/reminders", "/api/cleanup/events")


@pytest.fixture
def database(churn_database: ServiceDatabase) -> Database:
    return Database(SecretStr(churn_database.toolkit_url), target="sandbox")


def freeze(database: Database) -> None:
    scope = scope_of(load_playbook(Path("playbook.toml")))
    freeze_writes(database, scope, incident="inc", plan="plan", by="ada")


def said_by(service: LiveService, path: str) -> tuple[int, bool]:
    answer = service.client.get(path)
    return answer.status_code, answer.json()["maintenance"]


def called(service: LiveService) -> list[int]:
    return [service.client.post(path, headers=CRON).status_code for path in WRITING]


def test_a_refused_write_is_never_acknowledged_and_comes_again(
    owner: psycopg.Connection, deploy: Deploy, database: Database
) -> None:
    migrate_up(owner, 8)
    service, webhook = deploy(8), event()
    assert said_by(service, "/api/health/db") == (200, False)
    freeze(database)
    answer = service.send(webhook)
    assert (answer.status_code, answer.json()) == MAINTENANCE
    assert int(answer.headers["retry-after"]) > 0
    assert owner.execute("SELECT count(*) FROM events").fetchone() == (0,)
    line = wait_until(lambda: next((each for each in service.lines() if each["error"]), None), within=10, what="a line")
    assert (line["status"], line["error"]["sqlstate"]) == (503, "42501")
    release_writes(database, "webhooks")
    assert service.send(webhook).status_code == 200
    assert owner.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_each_stage_lets_its_own_part_work_again(owner: psycopg.Connection, deploy: Deploy, database: Database) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    freeze(database)
    assert (service.send(event()).status_code, called(service)) == (503, [503, 503])
    release_writes(database, "webhooks")
    for type in ("payment_failed", "payment_succeeded", "membership_activated"):
        assert service.send(event(type)).status_code == 200
    assert called(service) == [503, 503]
    release_writes(database, "reminders")
    assert called(service) == [200, 503]
    release_writes(database, "everything")
    assert called(service) == [200, 200]


def test_it_reads_while_it_is_frozen_and_its_health_says_so(
    owner: psycopg.Connection, deploy: Deploy, database: Database
) -> None:
    migrate_up(owner, 8)
    service = deploy(8)
    freeze(database)
    for path in ("/api/health/db", "/api/health/webhooks", "/api/scheduler/reminders", "/api/health?detailed=true"):
        assert said_by(service, path) == (200, True), path
    for path in ("/dashboard", "/settings", "/api/dashboard/kpis", "/api/cases/export.csv"):
        assert service.client.get(path).status_code == 200, path
    release_writes(database, "everything")
    assert said_by(service, "/api/health?detailed=true") == (200, False)


def test_the_flag_of_the_environment_does_the_same(owner: psycopg.Connection, deploy: Deploy) -> None:
    migrate_up(owner, 8)
    service = deploy(8, MAINTENANCE_MODE="true")
    answer = service.send(event())
    assert (answer.status_code, answer.json()) == MAINTENANCE
    assert called(service) == [503, 503]
    assert said_by(service, "/api/health") == (200, True)
    assert service.client.get("/dashboard").status_code == 200
    assert owner.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_a_row_that_a_policy_refuses_is_no_maintenance(
    owner: psycopg.Connection, churn_database: ServiceDatabase, database: Database
) -> None:
    migrate_up(owner, 8)
    row = "INSERT INTO recovery_cases (company_id, membership_id, user_id, failure_reason, first_failure_at)"
    errors = []
    for _ in range(2):
        with psycopg.connect(churn_database.url("app_b8")) as conn:
            conn.execute("SELECT set_config('app.company_id', 'biz_00', true)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege) as raised:
                conn.execute(f"{row} VALUES ('biz_01', 'm', 'u', 'r', now())")
            errors.append(raised.value)
        freeze(database)
    policy, frozen = errors
    assert (is_frozen(policy, "POST"), is_frozen(frozen, "POST"), is_frozen(frozen, "GET")) == (False, True, False)
