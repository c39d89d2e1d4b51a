"""Freezing, releasing and ending sessions as steps of a plan: killed half-way, gone on with, undone, not done twice.

Also a program: `python test_freeze_steps.py INCIDENT WHERE` freezes and kills itself with SIGKILL at WHERE.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stand_in import StandIn

from toolkit.adapters.systems import Systems, connect
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.errors import RollbackError
from toolkit.incident import Incident
from toolkit.playbook import load_playbook
from toolkit.rollback.blocking import Patience
from toolkit.rollback.freeze import frozen, proof, stopping
from toolkit.rollback.lease import Lease
from toolkit.rollback.migrations import read_script
from toolkit.rollback.plan import Action, EndSessions, FreezeWrites, MigrateUp, Plan, ReleaseWrites, Stage, Step
from toolkit.rollback.steps.doing import Doing, Surroundings
from toolkit.rollback.steps.end_sessions import EndingSessions
from toolkit.rollback.steps.freeze_writes import FreezingWrites, ReleasingWrites
from toolkit.rollback.steps.migrate_up import MigratingUp

ROOT = Path(__file__).parents[3]
INSERT = """
INSERT INTO events (whop_event_id, type, membership_id, company_id, payload, processed)
VALUES (gen_random_uuid()::text, 'payment_failed', 'm', 'biz_00', '{}', true)
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@dataclass
class Scene:
    """A target with the service's schema, and one plan about it."""

    service: ServiceDatabase
    systems: Systems
    incident: Incident
    environment: dict[str, str]
    told: dict[str, Any] = field(default_factory=dict)

    def around(self, **more: Any) -> Surroundings:
        return around(self.systems, self.incident, lambda kind, data: self.told.update({kind: data}), **more)

    def freezing(self, **more: Any) -> FreezingWrites:
        return FreezingWrites(FreezeWrites(), self.around(**more))

    def releasing(self, stage: Stage) -> ReleasingWrites:
        return ReleasingWrites(ReleaseWrites(stage), self.around())

    def application(self) -> psycopg.Connection[Any]:
        conn = psycopg.connect(self.service.url("app_b8"))
        conn.execute("SELECT set_config('app.company_id', '*', false)")
        conn.commit()
        return conn

    def may_write(self) -> bool:
        with self.application() as conn:
            try:
                conn.execute(INSERT)
            except psycopg.errors.InsufficientPrivilege:
                return False
            finally:
                conn.rollback()
        return True

    def acls(self) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.service.admin_url) as conn:
            return conn.execute(
                """
                SELECT oid::regclass::text, ARRAY(SELECT unnest(relacl)::text ORDER BY 1)
                FROM pg_class
                WHERE relnamespace IN ('public'::regnamespace, 'pgboss'::regnamespace) AND relacl IS NOT NULL
                ORDER BY 1
                """
            ).fetchall()


def plan(target: str) -> Plan:
    actions: list[Action] = [FreezeWrites(), *(ReleaseWrites(each) for each in ("webhooks", "everything"))]
    steps = tuple(Step(f"step-{n}", each, "", "", "", "", "") for n, each in enumerate(actions))
    return Plan("emergency", "churn-saver", target, None, "", steps)


def around(systems: Systems, incident: Incident, tell: Callable[..., None], **more: Any) -> Surroundings:
    patience = Patience(lock_within_ms=200, give_up_after_s=1.0, first_pause_s=0.05)
    return Surroundings(plan(systems.target.name), systems, incident, patience, tell, **more)


def systems_of(environment: dict[str, str]) -> Systems:
    book = load_playbook(ROOT / "playbook.toml")
    return connect(book, book.target("sandbox", environment))


@pytest.fixture
def scene(churn_database: ServiceDatabase, platform: StandIn, tmp_path: Path) -> Iterator[Scene]:
    with psycopg.connect(churn_database.owner_url) as conn:
        migrate_up(conn, 8)
        seed(conn, seed=1, events=50, cases=10)
    environment = {
        "DATABASE_URL": churn_database.toolkit_url,
        "SERVICE_URL": platform.production_url,
        "VERCEL_API_URL": platform.api_url,
        "VERCEL_TOKEN": platform.token,
        "VERCEL_PROJECT_ID": platform.project_id,
        "VERCEL_TEAM_ID": platform.team_id,
        "WHOP_WEBHOOK_SECRET": "webhook-secret-word",
        "CRON_SECRET": "cron-secret-word",
        "TOOLKIT_SANDBOX": "none-of-this-name",
    }
    folder = tmp_path / "incident"
    folder.mkdir()
    made = Scene(churn_database, systems_of(environment), Incident(folder), environment)
    yield made
    made.systems.platform.close()
    made.systems.service.close()


def carry_out(doing: Doing) -> str:
    """As the runner does it: look, act where it is not done, and see that it is."""
    assert not doing.look().done
    said = doing.act()
    assert doing.look().done, doing.look().evidence
    return said


def test_frozen_and_released_step_by_step(scene: Scene) -> None:
    before = scene.acls()
    carry_out(scene.freezing())
    assert scene.told["writes.frozen"]["privileges"] > 10
    assert {outcome for outcome, _ in scene.told["writes.proved"].values()} == {"pass"}
    assert not scene.may_write()
    carry_out(scene.releasing("webhooks"))
    assert scene.may_write()
    assert scene.told["writes.released"]["verified"] == "pass"
    carry_out(scene.releasing("reminders"))
    carry_out(scene.releasing("everything"))
    assert (scene.acls(), frozen(scene.systems.database)) == (before, None)


def test_a_finished_plan_that_is_looked_at_again_is_done(scene: Scene) -> None:
    carry_out(scene.freezing())
    carry_out(scene.releasing("everything"))
    assert scene.freezing().look().done
    assert all(scene.releasing(stage).look().done for stage in ("webhooks", "reminders", "everything"))


def test_undone_it_is_lifted_and_not_done_any_more(scene: Scene) -> None:
    before, freezing = scene.acls(), scene.freezing()
    carry_out(freezing)
    carry_out(scene.releasing("webhooks"))
    assert freezing.partly()
    assert "given back" in str(freezing.undo())
    assert (scene.acls(), freezing.look().done, freezing.partly()) == (before, False, False)
    assert freezing.undo() is None


def test_a_grant_since_makes_it_undone_until_it_is_frozen_again(scene: Scene) -> None:
    carry_out(scene.freezing())
    with psycopg.connect(scene.service.owner_url) as conn:
        conn.execute("GRANT INSERT ON events TO churn_app")
    assert "1 write privileges were granted since" in scene.freezing().look().evidence
    carry_out(scene.freezing())
    assert not scene.may_write()


def test_what_a_migration_grants_while_frozen_waits_for_the_release(scene: Scene) -> None:
    """Version 11 brings a table and lets the application write to it."""
    history = "INSERT INTO creator_settings_history (company_id, before) VALUES ('biz_00', '{}')"
    with psycopg.connect(scene.service.owner_url) as conn:
        migrate_up(conn, 10)
    (file,) = MIGRATIONS.glob("011_*.up.sql")
    action = MigrateUp(11, file.name, read_script(file).sha256)
    step = Step("migrate-up-11", action, "", "", "", "", "")
    made = scene.around()
    made = replace(made, plan=replace(made.plan, server=scene.systems.database.identity(), steps=(step,)))
    carry_out(scene.freezing())
    MigratingUp(action, made).act()
    assert scene.freezing().look().done
    with scene.application() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(history)
    carry_out(scene.releasing("everything"))
    with scene.application() as conn:
        conn.execute(history)


def test_while_somebody_goes_on_writing_it_is_not_done(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the owner, whom no privilege stops: a row comes before the proof looks."""
    freezing = scene.freezing()

    def write(_what: str, *_how_far: object) -> None:
        with psycopg.connect(scene.service.owner_url) as conn:
            conn.execute(INSERT)

    with pytest.raises(RollbackError, match=r"no row came, changed or went: no, .* younger rows in events") as raised:
        scene.freezing(advance=write).act()
    assert "writes are frozen since" in str(raised.value)
    assert "not seen yet" in freezing.look().evidence
    with psycopg.connect(scene.service.owner_url) as conn:
        conn.execute("DELETE FROM events WHERE membership_id = 'm'")
    carry_out(freezing)


def test_nothing_is_released_that_this_plan_has_not_frozen(scene: Scene) -> None:
    with pytest.raises(RollbackError, match="has frozen nothing"):
        scene.releasing("webhooks").act()


def test_without_the_lease_nothing_is_frozen(scene: Scene) -> None:
    before, database = scene.acls(), scene.systems.database
    old = Lease.acquire(database, incident="incident", plan="plan", holder="ada")
    old.release()
    with pytest.raises(RollbackError, match="no longer holds the right to act"):
        scene.freezing(fence=old).act()
    assert (scene.acls(), frozen(database)) == (before, None)
    lease = Lease.acquire(database, incident="incident", plan="plan", holder="ada")
    carry_out(scene.freezing(fence=lease))


@pytest.mark.parametrize(
    "where", ["before the commit", "after the commit", "before it is settled", "before it is proved"]
)
def test_killed_anywhere_it_goes_on(scene: Scene, where: str) -> None:
    before = scene.acls()
    with scene.application() as conn:
        conn.execute(INSERT)
        killed = subprocess.run(
            [sys.executable, __file__, str(scene.incident.folder), where],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **scene.environment},
            check=False,
            cwd=ROOT,
        )
        assert killed.returncode == -signal.SIGKILL
        there = frozen(scene.systems.database)
        if where == "before the commit":
            assert (there, scene.acls()) == (None, before)
        else:
            settled = there is not None and there.settled_at is not None
            assert (settled, scene.may_write()) == (where == "before it is proved", False)
        carry_out(scene.freezing())
        with pytest.raises(psycopg.OperationalError):
            conn.commit()
    assert not scene.may_write()
    carry_out(scene.releasing("everything"))
    assert scene.acls() == before


def test_somebody_in_the_way_is_named_and_ended_only_when_asked(scene: Scene) -> None:
    before = scene.acls()
    with psycopg.connect(scene.service.owner_url, application_name="half-a-migration") as conn:
        conn.execute("ALTER TABLE events ADD COLUMN half text")
        with pytest.raises(RollbackError, match="half-a-migration") as raised:
            scene.freezing().act()
        assert f"pg_terminate_backend({conn.info.backend_pid})" in str(raised.value)
        assert (scene.acls(), frozen(scene.systems.database)) == (before, None)
        carry_out(scene.freezing(end_blockers=True))
        with pytest.raises(psycopg.OperationalError):
            conn.commit()


def test_every_other_session_is_ended_and_what_to_rotate_is_named(scene: Scene) -> None:
    ending = EndingSessions(EndSessions("a token was seen in a log"), scene.around())
    ours = psycopg.connect(scene.service.toolkit_url, application_name=scene.systems.database.application_name)
    others = [scene.application(), psycopg.connect(scene.service.owner_url)]
    try:
        said = carry_out(ending)
        for conn in others:
            with pytest.raises(psycopg.OperationalError):
                conn.execute("SELECT 1")
        assert ours.execute("SELECT 1").fetchone() == (1,)
    finally:
        for conn in (ours, *others):
            conn.close()
    for name in ("role app_b8", "role churn_owner", "variable WHOP_WEBHOOK_SECRET", "variable VERCEL_TOKEN"):
        assert name in said
    assert "secret-word" not in said
    assert scene.told["sessions.ended"]["sessions"] == 2
    scene.application().close()
    assert ending.look().done  # those who come later are not ended again


def test_a_superusers_session_is_told(scene: Scene) -> None:
    """Only a superuser could end it, and a managed service has some of its own: the others are ended, it goes on."""
    with psycopg.connect(scene.service.admin_url) as conn, scene.application() as other:
        ending = EndingSessions(EndSessions("a breach"), scene.around())
        said = carry_out(ending)
        assert f"only a superuser may end, so look at whose they are: pid {conn.info.backend_pid} (postgres" in said
        assert [f"pid {conn.info.backend_pid} " in each for each in scene.told["sessions.ended"]["kept"]] == [True]
        assert conn.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")


def _die(*_arguments: Any, **_more: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, where = sys.argv[1:]
    patched = {
        "before the commit": (stopping, "holes"),
        "after the commit": (stopping, "end_writers"),
        "before it is settled": (stopping.record, "mark_settled"),
        "before it is proved": (proof, "mark_proved"),
    }[where]
    setattr(*patched, _die)
    systems, incident = systems_of(dict(os.environ)), Incident(Path(folder))
    FreezingWrites(FreezeWrites(), around(systems, incident, lambda *_: None)).act()


if __name__ == "__main__":
    main()
