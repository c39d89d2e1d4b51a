"""Planning with a platform that is down, and where an application rollback takes the schema along."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from rollback_rig import Rig, deployments_of
from stand_in import StandIn

from toolkit.adapters.systems import Systems
from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import RollbackError
from toolkit.incident import Incident
from toolkit.playbook import Severity
from toolkit.rollback import planning, rollback_plan
from toolkit.rollback.pair import Pairing


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture
def rig(platform: StandIn, churn_database: ServiceDatabase, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(churn_database, platform, Incident(tmp_path / "incident"), deployments_of(platform))
    made.incident.folder.mkdir()
    made.incident.open(Severity.P0, ["it breaks"], actor="monitor")
    made.set_up(9, 9)
    made.systems.database.record_stable(8, "dpl_8", {})
    yield made
    made.close()


@pytest.fixture
def blind(rig: Rig) -> Iterator[Systems]:
    """The same systems, with the platform's API closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    closed = VercelClient(
        VercelConfig(api_url=f"http://127.0.0.1:{port}", token=SecretStr("t"), project_id="p", timeout_s=1)
    )
    yield replace(rig.systems, platform=closed)
    closed.close()


def test_a_closed_platform_keeps_no_migration_from_being_taken_back(rig: Rig, blind: Systems) -> None:
    plan = rollback_plan(blind, rig.incident, migration_target="last-stable")
    assert [step.id for step in plan.steps] == ["run-down-9"]
    assert any("Which deployment is live" in each for each in plan.warnings)
    emergency = rollback_plan(blind, rig.incident, full_emergency=True)
    assert "run-down-9" in [step.id for step in emergency.steps]
    assert any("Which deployment is live" in each for each in emergency.warnings)
    with pytest.raises(RollbackError, match="Where production points is unknown"):
        rollback_plan(blind, rig.incident, deployment="previous")


def test_an_application_rollback_that_takes_the_schema_along_tells_what_is_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Pairing("application-first", rig.deployments[7], True)
    monkeypatch.setattr(planning, "find_pairing", lambda *_, **__: both)
    plan = rollback_plan(rig.systems, rig.incident, deployment="previous")
    assert [step.id for step in plan.steps] == ["point-production", "run-down-9"]
    assert plan.destroys and "rows" in plan.destroys[0]
    assert plan.destroys == rollback_plan(rig.systems, rig.incident, migration_target=8).destroys
