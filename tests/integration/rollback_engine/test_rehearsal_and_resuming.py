"""A plan is tried on a copy first, gone on with from elsewhere, or given up, and leaves nobody locked out."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import psycopg
import pytest
import rollback_rig
from rollback_rig import ROOT, UNREHEARSED, Rig, deployments_of
from stand_in import StandIn

from toolkit.adapters.systems import Systems
from toolkit.checks import Outcome, overall
from toolkit.cli import main
from toolkit.drill.database import ServiceDatabase, create_deployment_role, deployment_role
from toolkit.drill.schema import MIGRATIONS, migrate_up
from toolkit.errors import RollbackError, UsageError
from toolkit.incident import Incident
from toolkit.playbook import Severity
from toolkit.rollback import aftermath, carry_out, rollback_plan
from toolkit.rollback.backup import make_backup
from toolkit.rollback.damage import Damage
from toolkit.rollback.freeze import frozen
from toolkit.rollback.kept_plan import end_plan, keep_plan, unfinished_plans
from toolkit.rollback.lease import Lease, holder_of
from toolkit.rollback.migrations import Script, read_folder
from toolkit.rollback.own_verify import VERIFIED
from toolkit.rollback.plan import FreezeWrites, Plan, RestoreBeside, Step, SwapIn
from toolkit.rollback.rehearsal import rehearse, rehearse_if_needed
from toolkit.rollback.restore.source_reading import read_source
from toolkit.rollback.resuming import abort, incident_begun, plan_begun
from toolkit.server import PostgresServer


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def deployments(platform: StandIn, cluster: PostgresServer, role_passwords: dict[str, str]) -> dict[int, str]:
    """Each with its role, as the platform makes one where it has a database."""
    made = deployments_of(platform)
    for build, deployment in made.items():
        create_deployment_role(cluster.url(), deployment_role(build, deployment))
    return made


@pytest.fixture
def rig(
    platform: StandIn, deployments: dict[int, str], churn_database: ServiceDatabase, tmp_path: Path
) -> Iterator[Rig]:
    """Schema 9 with its build live, backed up, in an incident."""
    made = Rig(churn_database, platform, Incident(tmp_path / "incident"), deployments)
    made.incident.folder.mkdir()
    made.incident.open(Severity.P0, ["it breaks"], actor="monitor")
    made.set_up(9, 9)
    made.back_up()
    yield made
    made.close()


def freeze_step() -> Step:
    return Step("freeze-writes", FreezeWrites(), "freeze", "why", "expected", "verify", "undo")


def with_freeze(plan: Plan) -> Plan:
    """The same plan behind a freeze that nothing of it lifts."""
    return replace(plan, steps=(freeze_step(), *plan.steps))


def killed_in_the_down(rig: Rig) -> None:
    """A run of another process, dead before its down, with the lease in its hand."""
    words = (str(rig.incident.folder), str(rig.migrations), "after,step.begun,run-down-9")
    dead = forked.run(rollback_rig.__file__, *words, environment=rig.environment())
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert holder_of(rig.systems.database) is not None


def restore_of(rig: Rig, source: Path, damage: Damage) -> Plan:
    """By schemas, from a backup of ours."""
    sha256 = read_source(source).sha256
    beside, swap = RestoreBeside(str(source), sha256, "schemas"), SwapIn(str(source), "schemas", (damage,))
    words = ("what", "why", "expected", "verify", "undo")
    steps = (Step("restore-beside", beside, *words), Step("swap-in", swap, *words))
    return Plan("restore", "churn-saver", "sandbox", rig.systems.database.identity(), "a restore", steps)


class TestRehearsing:
    def test_it_runs_on_a_copy_and_leaves_the_target_as_it_is(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        made = rehearse(plan, rig.systems, rig.incident, actor="tester")
        assert made.outcome is Outcome.PASS, made.verdict
        down = next(each for each in made.steps if each.step == "run-down-9")
        assert any("AccessExclusiveLock on public.recovery_cases" in lock for lock in down.locks)
        assert rig.state_table() == [(9, False)] and rig.live() == rig.deployments[9]
        told = rig.entries("rehearsal.made")[-1].data
        assert told["plan"] == plan.id and told["outcome"] == "pass"
        step = next(each for each in told["steps"] if each["step"] == "run-down-9")
        assert 0 < step["held_s"] <= step["seconds"]
        assert any("failure_category" in each["what"] and each["rows"] > 0 for each in step["salvaged"])
        done = carry_out(plan, rig.systems, rig.incident, actor="tester", execute=True)
        assert [each.outcome for each in done.steps] == ["done", "done"]

    def test_a_plan_that_fails_there_is_not_carried_out(self, rig: Rig, tmp_path: Path) -> None:
        rig.migrations = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, rig.migrations)
        (rig.migrations / "009_classify_failures.down.sql").write_text("ALTER TABLE nowhere DROP COLUMN x;")
        plan = rig.plan(migration_target=8)
        made = rehearse(plan, rig.systems, rig.incident, actor="tester")
        assert made.outcome is Outcome.FAIL and "nowhere" in made.verdict
        with pytest.raises(RollbackError, match="failed on the copy"):
            carry_out(plan, rig.systems, rig.incident, actor="tester", execute=True, no_rehearsal="I insist")
        assert rig.state_table() == [(9, False)]

    def test_a_down_that_leaves_something_behind_is_found_before_it_runs(self, rig: Rig, tmp_path: Path) -> None:
        rig.migrations = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, rig.migrations)
        down = rig.migrations / "009_classify_failures.down.sql"
        down.write_text(down.read_text().replace("DROP TYPE failure_category;", ""))
        made = rehearse(rig.plan(migration_target=8), rig.systems, rig.incident, actor="tester")
        assert made.outcome is Outcome.FAIL and "failure_category" in made.verdict

    def test_a_restore_tells_what_it_brought_back_and_carried_over(self, rig: Rig) -> None:
        good, late = rig.incident.folder / "good", rig.incident.folder / "late"
        make_backup(rig.systems, good, incident=rig.incident, actor="tester")
        [(xid,), *_] = rig.query("UPDATE creator_settings SET incentive_days = 99 RETURNING xmin::text")
        rig.query("UPDATE events SET payload = '{}' WHERE id = (SELECT id FROM events ORDER BY id LIMIT 1)")
        make_backup(rig.systems, late, incident=rig.incident, actor="tester")
        written = Damage("creator_settings", ("incentive_days",), None, (xid,), written=(("incentive_days", "99"),))
        made = rehearse(restore_of(rig, good, written), rig.systems, rig.incident, actor="tester")
        found = {each.name: each for each in made.results if each.area == "rehearsal"}
        assert made.outcome is Outcome.PASS, made.verdict
        assert "fingerprints of the source" in found["what was restored is what was backed up"].evidence
        carried = found["what was acknowledged since is carried over"].evidence
        assert carried == "0 rows inserted, 1 changed, 0 deleted", "the event's row, and none that was damaged"
        assert found["the rows are those that the merge left"].outcome is Outcome.PASS
        swap = next(each for each in made.steps if each.step == "swap-in")
        assert swap.held_s is not None and any(lock.startswith("AccessExclusiveLock") for lock in swap.locks)
        blind = replace(written, written=())
        unsure = rehearse(restore_of(rig, good, blind), rig.systems, rig.incident, actor="tester")
        assert unsure.outcome is Outcome.UNKNOWN
        assert "production's transactions" in {e.name: e for e in unsure.results}["the damage can be told"].evidence
        assert rig.query("SELECT DISTINCT incentive_days FROM creator_settings") == [(99,)]

    def test_a_budget_leaves_the_choice_to_the_operator(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        with pytest.raises(RollbackError, match="1 s are allowed") as raised:
            rehearse(plan, rig.systems, rig.incident, actor="tester", budget_s=1)
        assert "--no-rehearsal REASON" in str(raised.value)

    def test_without_a_rehearsal_a_reason_is_wanted_and_journaled(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        with pytest.raises(RollbackError, match="was not tried on a copy"):
            carry_out(plan, rig.systems, rig.incident, actor="tester", execute=True)
        assert not rig.entries("step.begun")
        carry_out(plan, rig.systems, rig.incident, actor="tester", execute=True, no_rehearsal="no time")
        assert [entry.data["why"] for entry in rig.entries("rehearsal.skipped")] == ["no time"]

    def test_the_application_alone_has_nothing_to_rehearse(self, rig: Rig) -> None:
        rig.go_live(8)
        plan = rig.plan(deployment=rig.deployments[7])
        assert "nothing to rehearse" in rehearse_if_needed(plan, rig.systems, rig.incident, actor="t").verdict


class TestAftermath:
    def test_the_live_schema_is_held_against_the_one_that_the_migrations_make(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = rig.plan(migration_target=8)
        dry = carry_out(plan, rig.systems, rig.incident, actor="a")
        assert overall(aftermath(rig.systems, rig.incident, dry, actor="a")) is Outcome.UNKNOWN
        done = carry_out(plan, rig.systems, rig.incident, actor="a", execute=True, no_rehearsal=UNREHEARSED)
        assert overall(aftermath(rig.systems, rig.incident, done, actor="a")) is Outcome.PASS
        script = Script("verify/8.sql", b"SELECT gone FROM events")
        folder = read_folder(rig.systems.target.migrations)
        with_one = replace(folder, migrations={8: replace(folder.migrations[8], verify=script)})
        with monkeypatch.context() as patched:
            patched.setattr("toolkit.rollback.own_verify.read_folder", lambda _: with_one)
            (wrong,) = [r for r in aftermath(rig.systems, rig.incident, done, actor="a") if r.outcome is Outcome.FAIL]
        assert wrong.name == VERIFIED and "gone" in wrong.evidence
        rig.query("ALTER TABLE events ADD COLUMN left_behind int")
        drifted = aftermath(rig.systems, rig.incident, done, actor="a")
        assert overall(drifted) is Outcome.FAIL and any("left_behind" in each.evidence for each in drifted)
        assert [entry.data["outcome"] for entry in rig.entries("database.checked")] == ["pass", "fail", "fail"]


class TestSalvage:
    def test_what_a_down_took_is_listed_and_put_back_by_command(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, value in rig.environment().items():
            monkeypatch.setenv(name, value)

        def toolkit(*words: str) -> Any:
            with suppress(SystemExit):
                main(["salvage", *words, "--target", "sandbox", "--json"])
            return json.loads(capsys.readouterr().out)

        asked = "SELECT id, failure_category::text FROM recovery_cases ORDER BY id"
        before = rig.query(asked)
        carry_out(
            rig.plan(migration_target=8), rig.systems, rig.incident, actor="a", execute=True, no_rehearsal=UNREHEARSED
        )
        kept = toolkit("list", "--of", rig.incident.id)["salvaged"]
        assert kept and all(each["put_back_at"] is None for each in kept)
        with psycopg.connect(rig.database.owner_url) as conn:
            migrate_up(conn, 9)
        rig.query("UPDATE recovery_cases SET failure_category = 'fraud_suspected' WHERE failure_category IS NOT NULL")
        assert toolkit("put-back", rig.incident.id)["executed"] is False and rig.query(asked) != before
        doing = ("--incident", str(rig.incident.folder), "--execute")
        done = toolkit("put-back", rig.incident.id, *doing)
        assert done.get("executed") is True, done
        assert rig.query(asked) == before and rig.entries("salvage.put_back")
        assert all(each["put_back_at"] for each in toolkit("list")["salvaged"] if each["put_back"])


def with_log(rig: Rig, asked: Mapping[int, str]) -> Systems:
    """The same systems, with a log of what deployments asked, by their build."""
    log, lines = rig.incident.folder / "statements.jsonl", []
    for build, text in asked.items():
        id_ = rig.deployments[build]
        said = {"deployment": id_, "role": deployment_role(build, id_), "transaction": str(build)}
        lines += [said | {"sql": "SET LOCAL app.company_id = '*'"}, said | {"sql": text}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    log.chmod(0o600)
    return replace(rig.systems, target=rig.systems.target.model_copy(update={"statement_log": log}))


NEEDS_9, TRIED = "UPDATE recovery_cases SET failure_category = NULL", "UPDATE recovery_cases SET attempts = attempts"


class TestCodeAndSchema:
    """Requests are tried where there are rows, in the plan and at the end of its rehearsal."""

    def test_a_backup_gives_the_pair_rows_to_be_tried_on(self, rig: Rig, tmp_path: Path) -> None:
        systems = with_log(rig, {9: NEEDS_9, 8: TRIED})
        heard: dict[str, list[float]] = {}
        plan = rollback_plan(
            systems,
            rig.incident,
            migration_target=8,
            advance=lambda what, done, _of: heard.setdefault(what, []).append(done),
        )
        assert heard["trying deployments on both schemas"] == [0, 1, 2, 3] and heard["restoring"][-1] > 0
        assert heard["building the schema of 8"] == [float(at) for at in range(8)]
        assert any(isinstance(step.action, FreezeWrites) for step in plan.steps), "on schema 9 rows meet a check"
        assert not any(f"{rig.deployments[8]} works on schema 8" in each for each in plan.warnings), plan.warnings
        made = rehearse(plan, systems, rig.incident, actor="tester")
        found = {each.name: each for each in made.results}["the deployment that will run works on it"]
        assert found.outcome is Outcome.PASS, found.evidence
        elsewhere = Incident(tmp_path / "without-a-backup")
        elsewhere.folder.mkdir()
        unsure = rollback_plan(systems, elsewhere, migration_target=8)
        assert any(f"{rig.deployments[8]} works on schema 8" in each for each in unsure.warnings)
        assert any("copies without rows: This incident has no backup yet" in each for each in unsure.warnings)

    def test_code_that_does_not_work_on_the_copy_fails_the_rehearsal(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        systems = with_log(rig, {8: NEEDS_9})
        made = rehearse(plan, systems, rig.incident, actor="tester")
        assert made.outcome is Outcome.FAIL and "failure_category" in made.verdict


class TestGoingOnAndGivingUp:
    def test_a_killed_run_is_gone_on_with_from_the_target_under_its_own_incident(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        killed_in_the_down(rig)
        words = ["rollback", "--resume", "--target", "sandbox", "--playbook", str(ROOT / "playbook.toml"), "--execute"]
        done = subprocess.run(
            [sys.executable, "-m", "toolkit", *words],
            env=dict(os.environ) | rig.environment(),
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, 3), done.stderr.decode()
        assert rig.state_table() == [(8, False)] and unfinished_plans(rig.systems.database) == []
        assert rig.entries("plan.done") and not (tmp_path / "reports").exists()

    def test_another_machine_goes_on_under_the_same_incident_and_says_where_its_journal_lies(
        self, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed_in_the_down(rig)
        monkeypatch.setattr(socket, "gethostname", lambda: "the-other-laptop")
        there = incident_begun(rig.systems, tmp_path / "incidents", actor="b", execute=True)
        assert there.id == rig.incident.id and there.folder.parent == tmp_path / "incidents"
        first = there.journal.entries()[0]
        assert (first.kind, first.data["folder"]) == ("journal.elsewhere", str(rig.incident.folder))
        ended = abort(plan_begun(rig.systems, there), rig.systems, there, actor="b")
        assert {each.step: each.outcome for each in ended.steps}["point-production"] == "undone"
        assert ended.whole and rig.live() == rig.deployments[9]

    def test_another_incident_cannot_take_a_begun_plan_for_its_own(self, rig: Rig, tmp_path: Path) -> None:
        plan = rig.plan(migration_target=8)
        keep_plan(rig.systems.database, plan, rig.incident.id, folder=rig.incident.folder)
        stranger = Incident(tmp_path / "another")
        stranger.folder.mkdir()
        with pytest.raises(RollbackError, match="not incident another's"):
            plan_begun(rig.systems, stranger)
        with pytest.raises(RollbackError, match="not incident another's"):
            carry_out(plan, rig.systems, stranger, actor="b", execute=True, resumed=True)
        other = replace(plan, summary="another", steps=plan.steps[-1:])
        with pytest.raises(RollbackError, match="Another rollback was begun here"):
            carry_out(other, rig.systems, stranger, actor="b", execute=True, no_rehearsal=UNREHEARSED)
        assert holder_of(rig.systems.database) is None
        done = carry_out(plan, rig.systems, rig.incident, actor="a", execute=True, resumed=True)
        assert [each.outcome for each in done.steps] == ["done", "done"]

    def test_a_second_operator_who_is_refused_leaves_the_first_ones_plan(self, rig: Rig) -> None:
        plan, database = rig.plan(migration_target=8), rig.systems.database
        keep_plan(database, plan, rig.incident.id, folder=rig.incident.folder)
        other = replace(plan, summary="another", steps=plan.steps[-1:])
        Lease.acquire(database, incident=rig.incident.id, plan=plan.id, holder="the first one")
        with pytest.raises(RollbackError, match="the first one"):
            carry_out(other, rig.systems, rig.incident, actor="b", execute=True, no_rehearsal=UNREHEARSED)
        assert [each.plan.id for each in unfinished_plans(database)] == [plan.id]

    def test_nothing_begun_is_said(self, rig: Rig) -> None:
        with pytest.raises(RollbackError, match="No rollback was begun here"):
            plan_begun(rig.systems, rig.incident)
        plan = rig.plan(migration_target=8)
        keep_plan(rig.systems.database, plan, "x")
        with pytest.raises(RollbackError, match="not incident incident's"):
            plan_begun(rig.systems, rig.incident)
        end_plan(rig.systems.database, plan, "done")
        with pytest.raises(RollbackError, match="No rollback was begun here"):
            plan_begun(rig.systems, rig.incident)

    def test_giving_up_lifts_the_freeze_and_undoes_what_it_can(self, rig: Rig, tmp_path: Path) -> None:
        rig.migrations = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, rig.migrations)
        (rig.migrations / "009_classify_failures.down.sql").write_text("ALTER TABLE nowhere DROP COLUMN x;")
        plan = with_freeze(rig.plan(migration_target=8))
        with pytest.raises(RollbackError, match="nowhere"):
            carry_out(plan, rig.systems, rig.incident, actor="a", execute=True, no_rehearsal=UNREHEARSED)
        assert frozen(rig.systems.database) is not None and rig.live() == rig.deployments[8]
        ended = abort(plan_begun(rig.systems, rig.incident), rig.systems, rig.incident, actor="a")
        assert ended.whole
        assert {each.step: each.outcome for each in ended.steps} == {
            "run-down-9": "was not done",
            "point-production": "undone",
            "freeze-writes": "undone",
        }
        assert frozen(rig.systems.database) is None and rig.live() == rig.deployments[9]
        assert rig.state_table() == [(9, False)] and unfinished_plans(rig.systems.database) == []

    def test_what_was_never_done_is_not_called_left(self, rig: Rig) -> None:
        plan = with_freeze(rig.plan(migration_target=8))
        keep_plan(rig.systems.database, plan, rig.incident.id, folder=rig.incident.folder)
        ended = abort(plan_begun(rig.systems, rig.incident), rig.systems, rig.incident, actor="a")
        assert {each.outcome for each in ended.steps} == {"was not done"} and ended.whole

    def test_what_cannot_be_undone_is_left_and_said(self, rig: Rig) -> None:
        plan = with_freeze(rig.plan(migration_target=8))
        carry_out(plan, rig.systems, rig.incident, actor="a", execute=True, no_rehearsal=UNREHEARSED)
        ended = abort(plan, rig.systems, rig.incident, actor="a")
        outcomes = {each.step: each.outcome for each in ended.steps}
        assert outcomes == {
            "run-down-9": "left as it is",
            "point-production": "left as it is",
            "freeze-writes": "undone",
        }
        assert frozen(rig.systems.database) is None and not ended.whole
        assert (rig.state_table(), rig.live()) == ([(8, False)], rig.deployments[8]), "code and schema still fit"
        assert unfinished_plans(rig.systems.database) == [], "it can be planned anew"

    def test_production_wants_its_name_for_giving_up_too(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        production = replace(rig.systems, target=rig.systems.target.model_copy(update={"production": True}))
        with pytest.raises(UsageError, match="Production wants"):
            abort(plan, production, rig.incident, actor="a")
