"""The appendix's questions on a real server, each with something unusual in it; and an incident's status."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from stub_target import StubTarget

from toolkit.adapters.systems import Systems
from toolkit.assess.diagnosis import Diagnosis, diagnose, on_database
from toolkit.assess.incident_status import incident_status
from toolkit.cli import main
from toolkit.clock import utc_now, wait_until
from toolkit.communicate.cadence import REAL
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import migrate_up
from toolkit.incident import Incident, State
from toolkit.on_call import Role, take_role
from toolkit.playbook import Severity, load_playbook

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")


@pytest.fixture
def stub() -> Iterator[StubTarget]:
    stub = StubTarget()
    yield stub
    stub.stop()


@pytest.fixture
def systems(stub: StubTarget, churn_database: ServiceDatabase) -> Iterator[Systems]:
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
    systems = stub.systems(PLAYBOOK, churn_database)
    yield systems
    systems.platform.close()
    systems.service.close()


def asked(systems: Systems) -> dict[str, Diagnosis]:
    return {each.name: each for each in diagnose(systems)}


def test_what_is_unusual_is_told_and_no_value_is_shown(
    stub: StubTarget, systems: Systems, churn_database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_database, "LONG_S", 0.0)
    monkeypatch.setattr(on_database, "IDLE_S", 0.0)
    stub.answers["/api/health/db"] = (503, "application/json", "{}")
    with psycopg.connect(churn_database.admin_url, autocommit=True) as admin:
        admin.execute("CREATE INDEX left_behind ON events (type)")
        admin.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'left_behind'::regclass")
    holder = psycopg.connect(churn_database.owner_url, application_name="holder")
    waiter = psycopg.connect(churn_database.owner_url, application_name="waiter")
    with holder, waiter, psycopg.connect(churn_database.admin_url, autocommit=True) as admin:
        holder.execute("LOCK TABLE creator_settings")
        blocked = threading.Thread(target=lambda: waiter.execute("SELECT 'a secret' FROM creator_settings"))
        blocked.start()
        waits = "SELECT FROM pg_stat_activity WHERE application_name = 'waiter' AND wait_event_type = 'Lock'"
        wait_until(lambda: admin.execute(waits).fetchone() is not None, within=10, what="the lock to be waited for")
        found = asked(systems)
        holder.rollback()
        blocked.join()
    assert not [each for each in found.values() if each.trouble], found
    told = {name: " ".join(each.unusual) for name, each in found.items()}
    assert "idle in a transaction" in told["connections"] and "runs for" in told["long queries"]
    assert "AccessShareLock on creator_settings" in told["locks"]
    assert "left_behind on events is not valid" in told["indexes that are not valid"]
    assert told["health"] == "/api/health/db is not healthy"
    assert {row["table"] for row in found["tables"].rows} >= {"public.events", "public.recovery_cases"}
    assert "a secret" not in str(found) and "holder" in str(found["locks"].rows)


def test_a_side_that_is_silent_leaves_the_others(stub: StubTarget, systems: Systems) -> None:
    stub.hangs |= {"/v6/deployments", "/api/health/db"}
    found = {each.name: each for each in diagnose(systems, within_s=1.5)}
    assert found["deployments"].trouble == found["health"].trouble == "no answer within 1.5 s"
    assert found["connections"].rows and not found["tables"].trouble


def test_an_incident_tells_its_clock_what_is_due_and_what_was_done(tmp_path: Path) -> None:
    incident = Incident(tmp_path)
    incident.open(Severity.P1, ["requests fail"], actor="monitor")
    opened = incident.moment(State.OPEN)
    assert opened is not None
    late = incident_status(incident, PLAYBOOK, opened + timedelta(minutes=20), REAL)
    assert (late.severity, late.phase, late.running_s) == ("P1", "open", 1200.0)
    assert late.next_update == opened + timedelta(minutes=30)
    assert any("nobody has acknowledged" in each for each in late.attention)
    take_role(incident, Role.LEAD, "Ada", actor="Ada")
    incident.advance(State.ACKNOWLEDGED, "mine", actor="Ada")
    incident.record("step.begun", {"step": "run-down-9"}, actor="Ada")
    incident.record("step.failed", {"step": "run-down-9", "error": "a lock"}, actor="Ada")
    now = incident_status(incident, PLAYBOOK, opened + timedelta(minutes=45), REAL)
    assert now.roles == {"incident lead": "Ada"} and not now.attention and now.missed_updates == 1
    assert any("blocks" in each and "pre.backup" in each for each in now.open_items), now.open_items
    assert now.open_items[-1].endswith("more: toolkit checklist list")
    over = incident.advance(State.MITIGATED, "back", actor="Ada") and incident.advance(
        State.RESOLVED, "ok", actor="Ada"
    )
    afterwards = incident_status(incident, PLAYBOOK, utc_now() + timedelta(hours=72), REAL)
    assert over and any("post" in each for each in afterwards.open_items) and afterwards.phase == "resolved"
    assert now.steps[-1].endswith("run-down-9 failed: a lock")
    assert {row["what"] for row in now.rows(utc_now())} >= {"running for", "next update", "last steps", "decision"}


def test_the_commands_answer_as_json(
    stub: StubTarget,
    systems: Systems,
    churn_database: ServiceDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in stub.environment(churn_database).items():
        monkeypatch.setenv(name, value)
    Incident(tmp_path).open(Severity.P2, ["it is slow"], actor="tester")

    def told(*words: str) -> dict[str, object]:
        with pytest.raises(SystemExit):
            main([*words, "--target", "sandbox", "--json"])
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    assert dict(told("status", "--incident", str(tmp_path))["incident"])["severity"] == "P2"  # type: ignore[call-overload]
    assert len(list(told("diagnose")["questions"])) == 11  # type: ignore[call-overload]
    stub.break_off()
    wait_until(lambda: not stub.followed, within=10, what="the status to read no log any more")
    followed = threading.Thread(target=_fail_twice, args=(stub,))
    followed.start()
    requests = told("logs", "--seconds", "20")["requests"]
    followed.join()
    assert len(list(requests)) == 2  # type: ignore[call-overload]


def _fail_twice(stub: StubTarget) -> None:
    """As soon as somebody reads the log; then the log ends."""
    wait_until(lambda: stub.followed, within=20, what="somebody to read the log", every=0.01)
    stub.log(2, status=500)
    stub.break_off()
