"""Around a plan: a platform that is down, a schema that is taken along, an emergency that freezes before all else."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import papermill
import pytest
from pydantic import SecretStr
from rollback_rig import ROOT, Rig, deployments_of
from stand_in import StandIn

from toolkit.adapters.systems import Systems
from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.drill.database import ServiceDatabase
from toolkit.errors import RollbackError
from toolkit.incident import Incident
from toolkit.playbook import Severity
from toolkit.rollback import carry_out, planning, rollback_plan
from toolkit.rollback.freeze import frozen
from toolkit.rollback.kept_plan import unfinished_plans
from toolkit.rollback.pair import Pairing
from toolkit.rollback.runner import Manner


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
    made.systems.database.record_stable(8, made.deployments[8], {"rows": {"creator_settings": 10}})
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


def test_a_full_emergency_stops_writes_before_it_backs_up_and_rehearses(rig: Rig) -> None:
    """What fails on the copy is not carried out; gone on with, it looks once more before writes are given back."""
    plan = rollback_plan(rig.systems, rig.incident, full_emergency=True)
    seen: list[bool] = []

    def rehearse_now() -> None:
        seen.append(frozen(rig.systems.database) is not None)
        assert rig.state_table() == [(9, False)]
        raise RollbackError("it fails on the copy")

    with pytest.raises(RollbackError, match="it fails on the copy") as raised:
        carry_out(plan, rig.systems, rig.incident, actor="t", execute=True, manner=Manner(rehearse=rehearse_now))
    assert seen == [True] and "writes are frozen since" in str(raised.value) and "--abort" in str(raised.value)
    assert (rig.state_table(), rig.live()) == ([(9, False)], rig.deployments[9])

    rig.query("CREATE TABLE kept AS SELECT * FROM creator_settings; DELETE FROM creator_settings")
    going_on = {"actor": "t", "execute": True, "no_rehearsal": "it was looked at by hand"}
    with pytest.raises(RollbackError, match="Writes are not given back yet: creator_settings was not emptied"):
        carry_out(plan, rig.systems, rig.incident, **going_on)
    assert rig.state_table() == [(8, False)] and frozen(rig.systems.database) is not None
    rig.query("INSERT INTO creator_settings SELECT * FROM kept; DROP TABLE kept")
    done = carry_out(plan, rig.systems, rig.incident, **going_on)
    assert [each.step for each in done.steps][-4:-3] == ["verify-frozen"]
    assert frozen(rig.systems.database) is None


def test_a_named_backup_is_restored_in_an_emergency_though_the_schema_has_not_moved(rig: Rig) -> None:
    rig.systems.database.record_stable(9, rig.deployments[9], {})
    rig.back_up()
    with pytest.raises(RollbackError, match="has anything to go back to"):
        rig.plan(full_emergency=True)
    named = rig.plan(full_emergency=True, backup_restore=str(rig.incident.folder / "backup"))
    assert [step.id for step in named.steps][:4] == ["freeze-writes", "back-up", "restore-beside", "swap-in"]


def test_the_notebook_goes_on_with_what_was_begun_on_another_machine(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full emergency died before its backup, its folder is gone: the notebook makes backup and rehearsal itself."""
    plan = rollback_plan(rig.systems, rig.incident, full_emergency=True)
    with monkeypatch.context() as dying:
        dying.setattr("toolkit.rollback.steps.back_up.make_backup", _dies)
        with pytest.raises(RollbackError):
            carry_out(plan, rig.systems, rig.incident, actor="t", execute=True, manner=Manner(rehearse=lambda: None))
    assert frozen(rig.systems.database) is not None
    rig.incident.folder.rename(tmp_path / "lost")
    book = (ROOT / "playbook.toml").read_text().replace('"toolkit/drill/schema', f'"{ROOT}/toolkit/drill/schema')
    for waits, waits_not in (("window_s = 6", "window_s = 0.5"), ('"/api/health", "/api/health/db", ', "")):
        book = book.replace(waits, waits_not)
    book = book.replace('health_checks = ["/api/health/webhooks"]', "health_checks = []")
    (tmp_path / "playbook.toml").write_text(book)
    for name, value in rig.environment().items():
        monkeypatch.setenv(name, value)
    asked = {"target": "sandbox", "playbook": str(tmp_path / "playbook.toml"), "execute": "resume"}
    notebook = ROOT / "notebooks" / "03_rollback.ipynb"
    papermill.execute_notebook(notebook, tmp_path / "out.ipynb", asked, progress_bar=False)
    here = Incident.at(tmp_path / "reports" / "incidents" / rig.incident.id)
    kinds = [entry.kind for entry in here.journal.entries()]
    assert "rehearsal.made" in kinds and kinds.index("backup.made") < kinds.index("rehearsal.made")
    assert rig.state_table() == [(8, False)] and frozen(rig.systems.database) is None
    assert unfinished_plans(rig.systems.database) == []


def _dies(*_: object, **__: object) -> None:
    raise RollbackError("the machine is lost")


def test_the_notebook_gives_up_what_was_begun(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full emergency that stopped at its rehearsal, writes frozen."""
    plan = rollback_plan(rig.systems, rig.incident, full_emergency=True)

    def rehearse_now() -> None:
        raise RollbackError("it fails on the copy")

    with pytest.raises(RollbackError):
        carry_out(plan, rig.systems, rig.incident, actor="t", execute=True, manner=Manner(rehearse=rehearse_now))
    for name, value in rig.environment().items():
        monkeypatch.setenv(name, value)
    asked = {"incident": str(rig.incident.folder), "target": "sandbox", "playbook": str(ROOT / "playbook.toml")}
    wanted = {"full_emergency": True}
    book = ROOT / "notebooks" / "03_rollback.ipynb"
    for execute in (False, "give up"):
        papermill.execute_notebook(
            book, tmp_path / "out.ipynb", asked | wanted | {"execute": execute}, progress_bar=False
        )
        assert (frozen(rig.systems.database) is None) is (execute == "give up")
    assert rig.state_table() == [(9, False)] and unfinished_plans(rig.systems.database) == []
