"""The whole of verification on the real thing: PostgreSQL, service, platform and traffic, from baseline to verdict."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from one_service import PLAYBOOK

from toolkit.adapters.systems import Systems, connect
from toolkit.checks import Outcome, run_checks
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.errors import UnverifiedError
from toolkit.incident import Incident, State
from toolkit.playbook import Severity
from toolkit.verify import Baseline, Expectation, measure_baseline, verdict, verification, verify
from toolkit.verify.database import database_checks

BASELINE_S, WINDOW_S = 4.0, 3.0


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    options = SandboxOptions(evidence=tmp_path_factory.mktemp("verify") / "evidence", events=4000, cases=800)
    with Sandbox.start(f"test-{os.getpid()}-verify", options, attached=True) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def live(sandbox: Sandbox) -> Iterator[Systems]:
    systems = connect(PLAYBOOK, PLAYBOOK.target("sandbox", sandbox.state.environment()))
    systems.database.prepare()
    yield systems
    systems.platform.close()
    systems.service.close()


@pytest.fixture(scope="module")
def baseline(live: Systems) -> Baseline:
    """Measured under traffic, through JSON, and recorded on the target."""
    measured = json.loads(json.dumps(measure_baseline(live, BASELINE_S)))
    live.database.record_stable(measured["migration_version"], measured["deployment"], measured)
    return Baseline.model_validate(measured)


@pytest.fixture
def incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Incident:
    monkeypatch.setattr(verdict, "STEADY_WINDOW_S", WINDOW_S)
    incident = Incident(tmp_path)
    incident.open(Severity.P1, ["a test"], actor="test")
    return incident


def test_a_baseline_holds_what_is_normal(baseline: Baseline) -> None:
    steady = baseline.steady_state
    assert steady is not None and steady.requests > 40 and steady.error_rate == 0 and steady.p95_ms > 0
    assert baseline.migration_version == 8 and baseline.rows["events"] >= 4000
    assert baseline.events is not None and baseline.events.rows > 0
    assert len(baseline.quiet["creator_settings"].hashes) == 20
    assert set(baseline.latencies) == set(PLAYBOOK.endpoints.health_checks)


def test_a_service_that_is_well_passes_every_check(live: Systems, baseline: Baseline) -> None:
    rows = baseline.rows
    expectation = Expectation(8, baseline.deployment, live.database.stable_points()[0], rows, steady_window_s=WINDOW_S)
    results = run_checks(verification(live, expectation=expectation))
    assert [f"{r.name}: {r.evidence}" for r in results if r.outcome is not Outcome.PASS] == []
    assert len(results) > 40
    assert len({result.name for result in results}) == len(results), "names tell checks apart"


def test_a_verified_incident_is_resolved_and_recorded_as_stable(
    live: Systems, baseline: Baseline, incident: Incident
) -> None:
    incident.record("backup.made", {"tables": dict(baseline.rows)}, actor="test")
    made = verify(live, incident, actor="test")
    assert made.outcome is Outcome.PASS and incident.state is State.OPEN
    assert [row["figure"] for row in made.steady_state_rows()][:2] == ["requests", "requests per second"]
    before = len(live.database.stable_points())
    made.conclude()
    assert incident.state is State.RESOLVED and len(live.database.stable_points()) == before + 1
    kinds = [entry.kind for entry in incident.journal.entries()]
    assert kinds[-3:] == ["steady_state.measured", "stable.recorded", "incident.resolved"]
    assert incident.latest("verification.made").data["outcome"] == "pass"


def test_what_is_unknown_resolves_nothing(live: Systems, baseline: Baseline, incident: Incident) -> None:
    """After a rollback, without a backup's counts, nobody can say whether a row is missing."""
    down = {"kind": "run-down", "version": 9, "to_version": 8}
    incident.record("plan.made", {"steps": [{"action": down}], "execute": True}, actor="test")
    made = verify(live, incident, actor="test")
    assert made.outcome is Outcome.UNKNOWN
    with pytest.raises(UnverifiedError, match=r"3 of .* checks did not pass: events has no row less than the backup"):
        made.conclude()
    assert incident.state is State.OPEN and incident.latest("stable.recorded") is None


def test_a_table_that_the_backup_lacks_is_held_against_what_was_stable(
    live: Systems, baseline: Baseline, incident: Incident
) -> None:
    """A migration had dropped it when the backup was made; the restore brought it back."""
    down = {"kind": "run-down", "version": 9, "to_version": 8}
    incident.record("plan.made", {"steps": [{"action": down}], "execute": True}, actor="test")
    tables = {name: rows for name, rows in baseline.rows.items() if name != "creator_settings"}
    incident.record("backup.made", {"tables": tables}, actor="test")
    expected = verdict.expect(live, incident)
    name = "creator_settings has no row less than the backup"

    def outcome(rows: int) -> Outcome:
        counted = {**baseline.rows, "creator_settings": rows}
        kept = replace(expected.stable, baseline=dict(expected.stable.baseline) | {"rows": counted})
        checks = database_checks(live, replace(expected, stable=kept))
        return next(each for each in run_checks(checks) if each.name == name).outcome

    assert outcome(baseline.rows["creator_settings"]) is Outcome.PASS
    assert outcome(baseline.rows["creator_settings"] + 1) is Outcome.FAIL


def test_a_fix_that_was_decided_for_is_the_deployment_to_expect(live: Systems, incident: Incident) -> None:
    point = {"kind": "point-production", "deployment": "dpl_before"}
    incident.record("plan.made", {"steps": [{"action": point}], "execute": True}, actor="test")
    assert verdict.expect(live, incident).deployment == "dpl_before"
    incident.record("decision.made", {"kind": "fix-forward", "to": "dpl_fix", "why": "", "by": "test"}, actor="test")
    assert verdict.expect(live, incident).deployment == "dpl_fix"
    incident.record("plan.made", {"steps": [{"action": point}], "execute": True}, actor="test")
    assert verdict.expect(live, incident).deployment == "dpl_before", "what was carried out since counts"


def test_what_failed_is_named(live: Systems, baseline: Baseline, incident: Incident, sandbox: Sandbox) -> None:
    incident.record("backup.made", {"tables": dict(baseline.rows)}, actor="test")
    with psycopg.connect(sandbox.state.admin_url) as conn:
        conn.execute("ALTER TABLE events DISABLE ROW LEVEL SECURITY")
    try:
        made = verify(live, incident, actor="test")
        with pytest.raises(UnverifiedError, match="enabled became disabled"):
            made.conclude()
    finally:
        with psycopg.connect(sandbox.state.admin_url) as conn:
            conn.execute("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
    assert made.outcome is Outcome.FAIL and incident.state is State.OPEN


def test_the_plan_that_was_carried_out_says_what_to_expect(
    live: Systems, baseline: Baseline, incident: Incident
) -> None:
    steps = [
        {"id": "point-production", "action": {"kind": "point-production", "deployment": "dpl_of_7"}},
        {"id": "run-down-8", "action": {"kind": "run-down", "version": 8, "to_version": 7}},
    ]
    incident.record("plan.made", {"steps": steps, "execute": True}, actor="test")
    incident.record("plan.made", {"steps": [], "execute": False}, actor="test")
    expected = verdict.expect(live, incident)
    assert (expected.migration_version, expected.deployment) == (7, "dpl_of_7")
    assert expected.signature is None, "there is no signature of version 7"
    without = replace(expected, migration_version=8)
    assert without.signature is not None


def test_the_command_verifies_and_records(
    live: Systems, baseline: Baseline, sandbox: Sandbox, incident: Incident, toolkit_command: list[str]
) -> None:
    incident.record("backup.made", {"tables": dict(baseline.rows)}, actor="test")
    environment = dict(os.environ) | sandbox.state.environment()
    words = ["verify", "--target", "sandbox", "--incident", str(incident.folder), "--json"]

    def verified(exits: int) -> dict[str, Any]:
        done = subprocess.run([*toolkit_command, *words], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == exits, done.stderr
        return json.loads(done.stdout)

    with psycopg.connect(sandbox.state.admin_url) as conn:
        conn.execute("ALTER TABLE events DISABLE ROW LEVEL SECURITY")
    try:
        told = verified(exits=3)
    finally:
        with psycopg.connect(sandbox.state.admin_url) as conn:
            conn.execute("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
    assert told["outcome"] == "fail" and "enabled became disabled" in told["error"] and incident.state is State.OPEN
    told = verified(exits=0)
    assert told["tally"]["pass"] == len(told["checks"]) and incident.state is State.RESOLVED
