"""One monitor for many incidents: it writes nothing while all is well, opens, joins, lets go, and says whom to call."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stub_target import StubTarget, as_json
from watched import FAST, PLAYBOOK, Watched

from toolkit.detect.logbook import Logbook
from toolkit.detect.look import look_once
from toolkit.detect.seen import Signal
from toolkit.drill.database import ServiceDatabase
from toolkit.incident import Incident, State
from toolkit.playbook import Severity

SICK = as_json({"status": "unhealthy"}, 503)


@pytest.fixture
def following(stub: StubTarget, database: ServiceDatabase, tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(stub, database, tmp_path / "unused", Logbook.following(tmp_path / "incidents", "svc"))
    yield watched
    watched.end()


def folders(watched: Watched) -> list[Path]:
    return sorted((watched.incident.folder.parent / "incidents").glob("*"))


def test_while_all_is_well_it_writes_nothing_and_then_tells_of_before(following: Watched, stub: StubTarget) -> None:
    following.for_polls(5)
    assert folders(following) == []
    stub.answers["/api/health/webhooks"] = SICK
    following.until(lambda: following.monitor.log.incident, "the incident")
    (folder,) = folders(following)
    assert folder.name.endswith("Z-svc")
    entries = Incident(folder).journal.entries()
    kinds = [entry.kind for entry in entries]
    assert kinds[0] == "monitor.started" and kinds.index("signal.raised") < kinds.index("incident.opened")
    before = entries[1 : kinds.index("incident.opened")]
    assert len(before) >= 2 and all(entry.data["seen_at"] <= entry.at.isoformat() for entry in before)
    assert entries[0].data["minute_s"] == 1


def test_it_joins_what_somebody_declared_and_does_not_lower_what_they_said(
    following: Watched, stub: StubTarget, tmp_path: Path
) -> None:
    declared = Incident(tmp_path / "incidents" / "20261124T030000Z-svc")
    declared.folder.mkdir(parents=True)
    declared.open(Severity.P2, ["users see nothing"], actor="support")
    following.until(lambda: declared.latest("escalation.due"), "somebody to be called")
    assert declared.latest("escalation.due").data["roles"] == ["DevOps Lead", "Engineering Lead"]
    stub.answers["/api/health/webhooks"] = SICK
    following.until(lambda: declared.severity is Severity.P1, "it to be raised")
    declared.change_severity(Severity.P0, ["amounts are wrong"], actor="support")
    following.for_polls(8)
    assert declared.severity is Severity.P0 and folders(following) == [declared.folder]
    stub.answers["/api/health/webhooks"] = as_json({"status": "healthy"})
    following.until(lambda: declared.latest("monitor.recovered"), "the recovery")
    assert declared.severity is Severity.P0


def test_the_next_incident_gets_a_folder_of_its_own(
    following: Watched, stub: StubTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(("first", "second"))
    monkeypatch.setattr("toolkit.detect.logbook.new_folder", lambda parent, _service, _now: parent / next(names))
    stub.answers["/api/health/webhooks"] = SICK
    following.until(lambda: following.monitor.log.state, "the incident")
    first = following.monitor.log.incident
    first.advance(State.RESOLVED, "the test says so", actor="test")
    following.for_polls(4)
    assert following.monitor.log.incident is first, "what lingers is no other incident"
    stub.answers["/api/health/webhooks"] = as_json({"status": "healthy"})
    following.until(lambda: following.monitor.log.incident is None, "it to be let go")
    stub.answers["/api/health/webhooks"] = SICK
    following.until(lambda: following.monitor.log.state, "the next incident")
    assert [folder.name for folder in folders(following)] == ["first", "second"]
    assert first.journal.entries()[-1].kind == "monitor.recovered"


def test_what_goes_wrong_anew_after_the_resolution_is_another_incident(
    following: Watched, stub: StubTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(("first", "second"))
    monkeypatch.setattr("toolkit.detect.logbook.new_folder", lambda parent, _service, _now: parent / next(names))
    stub.answers["/api/health/webhooks"] = SICK
    following.until(lambda: following.monitor.log.state, "the incident")
    first = following.monitor.log.incident
    first.advance(State.RESOLVED, "the test says so", actor="test")
    stub.log(40, status=500)
    following.until(lambda: following.monitor.log.incident is not first and following.monitor.log.state, "another")
    kinds = [entry.kind for entry in following.monitor.log.incident.journal.entries()]
    assert kinds.index("signal.raised") < kinds.index("incident.opened"), "what raised it stands in its own journal"


def test_nobody_is_called_any_more_once_somebody_has_it(following: Watched, stub: StubTarget) -> None:
    stub.answers["/api/health/webhooks"] = SICK
    following.until(lambda: following.monitor.log.state, "the incident")
    incident = following.monitor.log.incident
    following.until(lambda: incident.latest("escalation.due"), "somebody to be called")
    incident.advance(State.ACKNOWLEDGED, "DevOps has it", actor="DevOps Lead")
    following.for_polls(40)  # two seconds: the second level would be due after fifteen, a worse one after five
    assert [e.data["level"] for e in incident.journal.entries() if e.kind == "escalation.due"] == [1]


def test_when_the_first_have_not_answered_the_declaration_is_drafted_once(
    stub: StubTarget, database: ServiceDatabase, tmp_path: Path
) -> None:
    log = Logbook.following(tmp_path / "incidents", "svc")
    watched = Watched(stub, database, tmp_path / "unused", log, minute_s=0.1, silence_minutes=9000)
    try:
        stub.answers["/api/health/webhooks"] = SICK  # P1: the second level after 15 minutes, the third after 30
        watched.until(lambda: any(e.data.get("level") == 3 for e in log.entries()), "all to be called")
        kinds = [entry.kind for entry in log.entries()]
        calls = [number for number, kind in enumerate(kinds) if kind == "escalation.due"]
        assert kinds.count("update.drafted") == 1 and calls[1] < kinds.index("update.drafted") < calls[2]
        assert "response.overdue" in kinds and "update.sent" not in kinds
    finally:
        watched.end()


def test_a_look_says_what_is_breached_and_what_was_not_seen(stub: StubTarget, database: ServiceDatabase) -> None:
    stub.answers["/api/health/webhooks"] = SICK
    seen = look_once(stub.systems(PLAYBOOK, database, **FAST), 2)
    assert set(seen.breached) == {Signal.HEALTH}
    assert seen.found is not None and seen.found.severity is Severity.P1
    assert Signal.MIGRATION_FAILURE in seen.unknown and Signal.DATABASE not in seen.unknown


def test_the_command_looks_once_and_says_so_in_json(
    stub: StubTarget, database: ServiceDatabase, tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", "toolkit", "monitor", "--once", "--seconds", "3", "--json", "--target", "sandbox"]
    argv += ["--playbook", str(PLAYBOOK.folder / "playbook.toml")]
    env = dict(os.environ) | stub.environment(database)
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout)
    assert done.returncode == 3, "nothing is breached, and not all could be seen"
    assert told["severity"] is None and told["signals"]["health"]["evidence"] == "all healthy"
    assert not (tmp_path / "reports").exists()
