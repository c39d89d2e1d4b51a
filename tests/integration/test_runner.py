"""The runner on a real database and a platform over real sockets: what it does, once, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import psycopg
import pytest
import rollback_rig
from rollback_rig import UNREHEARSED, Rig, deployments_of, on_production
from stand_in import StandIn

from toolkit.checklist import load_checklists, untick
from toolkit.clock import wait_until
from toolkit.drill.database import ServiceDatabase
from toolkit.drill.schema import MIGRATIONS
from toolkit.errors import (
    BackupError,
    DatabaseError,
    PlatformError,
    RollbackError,
    ToolkitError,
    UsageError,
    WrongServerError,
)
from toolkit.incident import Incident
from toolkit.playbook import Severity
from toolkit.rollback import carry_out
from toolkit.rollback.blocking import Patience
from toolkit.rollback.lease import Lease, holder_of
from toolkit.rollback.migrations import read_script
from toolkit.rollback.plan import Plan
from toolkit.rollback.runner import Manner
from toolkit.rollback.steps.run_down import RunningDown
from toolkit.verify.fingerprints import SchemaSignature, difference, schema_signature

IMPATIENT = Patience(lock_within_ms=200, give_up_after_s=0.5, first_pause_s=0.05)
EFFECTS = ("step.begun", "step.done", "plan.done")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    running.serving()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def deployments(platform: StandIn) -> dict[int, str]:
    return deployments_of(platform)


@pytest.fixture
def rig(
    platform: StandIn, deployments: dict[int, str], churn_database: ServiceDatabase, tmp_path: Path
) -> Iterator[Rig]:
    """Schema 9 with a deployment of build 9 live, both of which the plan for 8 takes back; backed up."""
    made = Rig(churn_database, platform, Incident(tmp_path / "incident"), deployments)
    made.incident.folder.mkdir()
    made.incident.open(Severity.P0, ["it breaks"], actor="monitor")
    made.set_up(9, 9)
    made.back_up()
    yield made
    made.close()


def signature(rig: Rig) -> SchemaSignature:
    with psycopg.connect(rig.database.admin_url) as conn:
        return schema_signature(conn, ["public", "pgboss"])


def run(rig: Rig, plan: Plan, **more: Any) -> list[str]:
    wish = {"execute": True, "no_rehearsal": UNREHEARSED} | more
    done = carry_out(plan, rig.systems, rig.incident, actor="tester", **wish)
    return [each.outcome for each in done.steps]


def refused(rig: Rig, plan: Plan, kind: type[ToolkitError], what: str, **more: Any) -> ToolkitError:
    """It is refused, and nothing was changed and nothing begun."""
    before, live = rig.state_table(), rig.live()
    with pytest.raises(kind, match=what) as raised:
        run(rig, plan, **more)
    assert (rig.state_table(), rig.live()) == (before, live)
    return raised.value


class TestCarryingOut:
    def test_a_dry_run_has_no_effect_and_tells_the_command(self, rig: Rig) -> None:
        live, schema = rig.live(), signature(rig)
        plan = rig.plan(migration_target=8)
        result = carry_out(plan, rig.systems, rig.incident, actor="tester")
        assert [each.outcome for each in result.steps] == ["would be done", "would be done"]
        assert (result.executed, rig.live(), rig.state_table()) == (False, live, [(9, False)])
        assert difference(schema, signature(rig)) == []
        assert not rig.entries(*EFFECTS)
        assert [entry.data["execute"] for entry in rig.entries("plan.made")] == [False]
        assert "-p execute True" in result.command and "-p migration_target 8" in result.command
        assert "dry run" in result.rows()[-1]["outcome"]

    def test_the_application_goes_first_and_the_schema_is_as_it_was(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        assert run(rig, plan) == ["done", "done"]
        assert rig.state_table() == [(8, False)]
        assert rig.live() == rig.deployments[8]
        kinds = [(entry.kind, entry.data.get("step")) for entry in rig.entries(*EFFECTS)]
        assert kinds == [
            ("step.begun", "point-production"),
            ("step.done", "point-production"),
            ("step.begun", "run-down-9"),
            ("step.done", "run-down-9"),
            ("plan.done", None),
        ]
        kept = rig.systems.database.kept_head(rig.incident.id)
        assert kept == rig.incident.journal.head()

    def test_the_schema_afterwards_is_that_of_the_target_version(self, rig: Rig) -> None:
        rig.query("CREATE TABLE unrelated (id int)")
        broken = signature(rig)
        run(rig, rig.plan(migration_target=8))
        gone = difference(broken, signature(rig))
        assert gone and all("failure" in line or "classify" in line for line in gone)

    def test_several_migrations_one_after_the_other(self, rig: Rig) -> None:
        outcomes = run(rig, rig.plan(migration_target=6, deployment=rig.deployments[6]))
        assert outcomes == ["done"] * 4
        assert rig.state_table() == [(6, False)]
        assert rig.live() == rig.deployments[6]

    def test_what_is_done_is_not_done_again(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        run(rig, plan)
        entries = len(rig.incident.journal.entries())
        asked = rig.platform.project()["lastAliasRequest"]
        again = rig.plan(migration_target=8)
        assert again.id == plan.id
        assert run(rig, again) == ["done before", "done before"]
        assert len(rig.incident.journal.entries()) == entries
        assert rig.platform.project()["lastAliasRequest"] == asked

    def test_an_application_rollback_leaves_the_database_alone(self, rig: Rig) -> None:
        plan = rig.plan(deployment=rig.deployments[8])
        assert plan.kind == "application"
        assert run(rig, plan) == ["done"]
        assert (rig.live(), rig.state_table()) == (rig.deployments[8], [(9, False)])

    def test_an_application_rollback_works_while_the_database_is_down(self, rig: Rig) -> None:
        systems = rig.systems
        plan = rig.plan(deployment=rig.deployments[7])
        environment = rig.environment() | {"DATABASE_URL": "postgresql://nobody:of-no-use-at-all@127.0.0.1:9/none"}
        down = rollback_rig.systems_of(environment, rig.migrations)
        result = carry_out(plan, down, rig.incident, actor="tester", execute=True, no_rehearsal=UNREHEARSED)
        assert [each.outcome for each in result.steps] == ["done"]
        assert systems.platform.production(systems.production_host).id == rig.deployments[7]
        assert rig.entries("journal.head_not_kept")

    def test_what_a_down_destroys_is_counted_on_the_live_database(self, rig: Rig) -> None:
        counted = rig.query("SELECT count(failure_category) FROM recovery_cases")[0][0]
        assert counted > 10
        plan = rig.plan(migration_target=8)
        assert plan.destroys[0] == (
            f"Migration 9 drops the column recovery_cases.failure_category ({counted:,} rows, with a value)."
        )

    def test_last_stable_is_what_was_recorded(self, rig: Rig) -> None:
        with pytest.raises(RollbackError, match="none was ever recorded"):
            rig.plan(migration_target="last-stable")
        rig.systems.database.record_stable(7, "dpl_7", {})
        assert rig.plan(migration_target="last-stable").ends_at.to_version == 7


class TestBeingKilled:
    """SIGKILL, then the same command again: each step's effect happens once, and the end is the plan's."""

    @pytest.mark.parametrize(
        ("stop_at", "done_before"),
        [
            ("after,plan.made,", []),
            ("after,step.begun,point-production", []),
            ("before,step.done,point-production", ["point-production"]),
            ("after,step.done,point-production", ["point-production"]),
            ("after,step.begun,run-down-9", ["point-production"]),
            ("before,step.done,run-down-9", ["point-production", "run-down-9"]),
            ("before,plan.done,", ["point-production", "run-down-9"]),
        ],
    )
    def test_run_again_it_is_done_once(self, rig: Rig, stop_at: str, done_before: list[str]) -> None:
        assert self._drive(rig, stop_at).returncode == -signal.SIGKILL
        asked = rig.platform.project()["lastAliasRequest"]
        again = self._drive(rig, "")
        assert again.returncode == 0, again.stderr
        outcomes = dict(json.loads(again.stdout))
        assert [step for step, outcome in outcomes.items() if outcome == "done before"] == done_before
        assert (rig.state_table(), rig.live()) == ([(8, False)], rig.deployments[8])
        if done_before:
            assert rig.platform.project()["lastAliasRequest"] == asked, "production was switched twice"
        assert len({entry.data["plan"] for entry in rig.entries("plan.made")}) == 1
        assert len(rig.entries("plan.done")) == 1

    def test_in_the_middle_of_a_down_nothing_of_it_stays(self, rig: Rig, tmp_path: Path) -> None:
        rig.migrations = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, rig.migrations)
        down = rig.migrations / "009_classify_failures.down.sql"
        quick = down.read_text()
        down.write_text(quick + "SELECT pg_sleep(60);")
        process = self._start(rig)
        slept = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        wait_until(lambda: rig.query(slept), within=60, what="the down to run")
        process.kill()
        process.communicate()
        rig.query(slept.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
        wait_until(lambda: not rig.query(slept), within=10, what="the server to notice")
        assert rig.state_table() == [(9, False)]
        assert rig.query("SELECT count(failure_category) > 0 FROM recovery_cases") == [(True,)]
        down.write_text(quick)  # another file: the plan that was begun is left alone, a new one is made
        again = self._drive(rig, "")
        assert again.returncode == 0, again.stderr
        assert rig.state_table() == [(8, False)]

    def test_ctrl_c_is_journaled_with_the_state(self, rig: Rig) -> None:
        with rig.session("SELECT count(*) FROM recovery_cases"):
            process = self._start(rig)
            wait_until(lambda: rig.entries("step.blocked"), within=20, what="the down to be blocked")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=15)
        assert process.returncode != 0
        told = rig.entries("plan.interrupted")[0].data
        assert told["step"] == "run-down-9" and "version 9, clean" in told["state"]
        assert rig.state_table() == [(9, False)]

    def _start(self, rig: Rig) -> "subprocess.Popen[str]":
        argv = [sys.executable, rollback_rig.__file__, str(rig.incident.folder), str(rig.migrations), ""]
        environment = dict(os.environ) | rig.environment()
        return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _drive(self, rig: Rig, stop_at: str) -> "subprocess.CompletedProcess[str]":
        words = (str(rig.incident.folder), str(rig.migrations), stop_at)
        return forked.run(rollback_rig.__file__, *words, environment=rig.environment())


class TestLocks:
    def test_the_blocker_is_named_and_waited_for(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        with ThreadPoolExecutor(1) as pool:
            with rig.session("SELECT count(*) FROM recovery_cases /* jane */ WHERE user_id = 'jane'") as blocking:
                pid = blocking.info.backend_pid
                running = pool.submit(run, rig, plan)
                wait_until(lambda: rig.entries("step.blocked"), within=20, what="the down to be blocked")
                with psycopg.connect(rig.database.owner_url) as reader:
                    reader.execute("SET statement_timeout = '3s'")
                    reader.execute("SELECT count(*) FROM recovery_cases")  # the queue moves between two tries
            assert running.result(20) == ["done", "done"]
        told = rig.entries("step.blocked")[0].data
        assert (told["step"], told["attempt"]) == ("run-down-9", 1)
        assert [(each["pid"], each["application"]) for each in told["blockers"]] == [(pid, "nightly-report")]
        assert told["blockers"][0]["state"] == "idle in transaction" and told["blockers"][0]["transaction_s"] > 0
        assert told["blockers"][0]["query"] == "SELECT count(*) FROM recovery_cases WHERE user_id = $1"
        assert "jane" not in (rig.incident.folder / "journal.jsonl").read_text()
        assert "at try" in rig.entries("step.done")[-1].data["outcome"]

    def test_patience_has_an_end_that_says_the_state(self, rig: Rig) -> None:
        rig.go_live(8)
        plan = rig.plan(migration_target=8)
        with rig.session("SELECT count(*) FROM recovery_cases") as blocking:
            error = refused(rig, plan, RollbackError, "did not get its locks", manner=Manner(IMPATIENT))
            assert f"pid {blocking.info.backend_pid} (nightly-report, idle in transaction" in str(error)
            assert "latest: SELECT count(*) FROM recovery_cases)" in str(error)
        assert "version 9, clean" in error.state and "pg_terminate_backend" in error.next
        assert rig.entries("step.failed")[0].data["state"] == error.state
        assert run(rig, plan) == ["done"]
        assert rig.entries("step.begun")[-1].data["attempt"] == 2


class TestRefusing:
    def test_another_server(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        other = replace(plan, server=replace(plan.server, system_identifier="7000000000000000000"))
        refused(rig, other, WrongServerError, "not churn")
        assert not rig.entries(*EFFECTS)

    def test_a_server_other_than_the_one_that_was_assessed(self, rig: Rig) -> None:
        assessed = {"server": {"system_identifier": "7000000000000000000", "database": "churn"}, "recommendation": {}}
        rig.incident.record("assessment.made", assessed, actor="tester")
        with pytest.raises(WrongServerError, match="not the one that was assessed"):
            rig.plan(migration_target=8)

    def test_another_target_than_the_plan_s(self, rig: Rig) -> None:
        refused(rig, replace(rig.plan(migration_target=8), target="production"), UsageError, "not for churn-saver on")

    @pytest.mark.parametrize("confirm", [None, "", "yes", "Churn-Saver"])
    def test_production_without_the_service_s_name(self, rig: Rig, confirm: str | None) -> None:
        plan, systems = rig.plan(migration_target=8), on_production(rig.systems)
        with pytest.raises(UsageError, match="wants the service's name"):
            carry_out(
                plan, systems, rig.incident, actor="tester", execute=True, confirm=confirm, no_rehearsal=UNREHEARSED
            )
        assert rig.state_table() == [(9, False)] and not rig.entries(*EFFECTS)

    def test_a_blocking_item_of_the_checklist_and_a_reason_to_go_on_without_it(self, rig: Rig) -> None:
        untick(rig.incident, load_checklists(rig.systems.playbook), "pre.stakeholders", by="tester")
        plan = rig.plan(migration_target=8)
        error = refused(rig, plan, RollbackError, r"A blocking item is open in the checklist: pre\.stakeholders")
        assert error.next and "toolkit checklist tick pre.stakeholders" in error.next
        assert not rig.entries(*EFFECTS) and holder_of(rig.systems.database) is None
        run(rig, plan, manner=Manner(override="the phones are down"))
        assert rig.state_table() == [(8, False)]
        (said,) = rig.entries("checklist.overridden")
        assert (said.data["item"], said.data["reason"], said.data["by"]) == (
            "pre.stakeholders",
            "the phones are down",
            "tester",
        )
        assert said.seq < rig.entries("step.begun")[0].seq

    def test_production_with_it(self, rig: Rig) -> None:
        plan, systems = rig.plan(migration_target=8), on_production(rig.systems)
        shown = carry_out(plan, systems, rig.incident, actor="tester")
        assert "-p confirm churn-saver" in shown.command
        wish = {"execute": True, "confirm": "churn-saver", "no_rehearsal": UNREHEARSED}
        done = carry_out(plan, systems, rig.incident, actor="tester", **wish)
        assert done.executed and rig.state_table() == [(8, False)]

    def test_no_backup(self, rig: Rig) -> None:
        shutil.rmtree(rig.incident.folder / "backup")
        refused(rig, rig.plan(migration_target=8), BackupError, "no backup of ours")
        rig.incident = Incident(rig.incident.folder.with_name("another"))
        rig.incident.folder.mkdir()
        refused(rig, rig.plan(migration_target=8), BackupError, "has no backup yet")

    def test_a_backup_that_was_changed(self, rig: Rig) -> None:
        manifest = rig.incident.folder / "backup" / "manifest.json"
        manifest.write_text(manifest.read_text().replace("tester", "nobody"))
        refused(rig, rig.plan(migration_target=8), BackupError, "not what it was")

    def test_a_dirty_state_when_planning_and_when_it_became_dirty_since(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        rig.query("UPDATE schema_migrations SET dirty = true")
        mending = rig.plan(migration_target=8)
        assert [step.id for step in mending.steps] == ["mend-9"]
        assert "fully applied" in mending.summary
        rig.go_live(8)
        refused(rig, plan, RollbackError, "version 9, dirty")

    def test_a_version_that_moved_since(self, rig: Rig) -> None:
        rig.go_live(8)
        plan = rig.plan(migration_target=8)
        rig.query("UPDATE schema_migrations SET version = 11")
        error = refused(rig, plan, RollbackError, "says version 11, clean")
        assert "plan again" in error.next

    def test_an_operator_whose_lease_was_taken_over_does_not_touch_the_platform_either(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep = Lease.keep

        def lose_and_keep(ours: Lease) -> Any:
            Lease.acquire(
                ours.database, incident="x", plan="y", holder="another", take_over=True, reason="they seem asleep"
            )
            return keep(ours)

        monkeypatch.setattr(Lease, "keep", lose_and_keep)
        refused(rig, rig.plan(migration_target=8), RollbackError, "no longer holds the right to act")
        assert not rig.entries("step.begun")

    def test_production_that_moved_since(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        rig.go_live(7)
        refused(rig, plan, RollbackError, "neither at")

    def test_a_file_that_changed_since_before_anything_is_done(self, rig: Rig, tmp_path: Path) -> None:
        rig.migrations = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, rig.migrations)
        plan = rig.plan(migration_target=8)
        with (rig.migrations / "009_classify_failures.down.sql").open("a") as file:
            file.write("-- mended\n")
        refused(rig, plan, RollbackError, "not the file that the plan was made from")
        assert not rig.entries(*EFFECTS)

    def test_a_target_that_is_not_older(self, rig: Rig) -> None:
        with pytest.raises(RollbackError, match="nothing to roll back"):
            rig.plan(migration_target=9)

    @pytest.mark.parametrize(
        ("wish", "what"), [({}, "Nothing was assessed"), ({"migration_target": "-1"}, "no version")]
    )
    def test_nothing_named_and_nothing_recommended(self, rig: Rig, wish: dict[str, Any], what: str) -> None:
        with pytest.raises(UsageError, match=what):
            rig.plan(**wish)

    def test_a_recommendation_is_followed(self, rig: Rig) -> None:
        for told, ends in (
            ({"kind": "migration", "migration_target": 8, "reasons": ["it broke"]}, 8),
            ({"kind": "application", "migration_target": None, "reasons": []}, None),
        ):
            rig.incident.record("assessment.made", {"recommendation": told}, actor="tester")
            plan = rig.plan()
            assert (plan.kind, plan.ends_at and plan.ends_at.to_version) == (told["kind"], ends)
        rig.incident.record("assessment.made", {"recommendation": {"kind": "none"}}, actor="tester")
        with pytest.raises(UsageError, match="No rollback was recommended"):
            rig.plan()


class TestFailing:
    """Downs that a planner would not let through, or that only the server knows to be wrong."""

    def plan_for(self, rig: Rig, tmp_path: Path, down: str) -> Plan:
        rig.go_live(8)
        rig.migrations = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, rig.migrations)
        file = rig.migrations / "009_classify_failures.down.sql"
        made = rig.plan(migration_target=8)
        file.write_text(down)
        action = replace(made.downs[0], sha256=read_script(file).sha256)
        return replace(made, steps=(replace(made.steps[0], action=action),))

    def test_a_down_that_fails_leaves_nothing_and_the_error_says_so(self, rig: Rig, tmp_path: Path) -> None:
        plan = self.plan_for(rig, tmp_path, "DROP TABLE recovery_actions; DROP TABLE not_there;")
        error = refused(rig, plan, RollbackError, 'Step run-down-9 failed: .*"not_there" does not exist')
        assert "version 9, clean" in error.state and "--resume --target sandbox" in error.next
        assert rig.query("SELECT to_regclass('recovery_actions') IS NOT NULL") == [(True,)]
        assert rig.entries("step.failed") and not rig.entries("step.done", "plan.done")

    def test_what_cannot_run_in_a_transaction_runs_singly(self, rig: Rig, tmp_path: Path) -> None:
        plan = self.plan_for(rig, tmp_path, "DROP INDEX CONCURRENTLY recovery_cases_first_failure_at_idx;")
        assert run(rig, plan) == ["done"]
        assert rig.query("SELECT to_regclass('recovery_cases_first_failure_at_idx')") == [(None,)]
        assert "in parts: DROP INDEX CONCURRENTLY, line 1 alone" in rig.entries("step.done")[0].data["outcome"]

    def test_a_down_that_ends_its_transaction_is_refused_before_anything(self, rig: Rig, tmp_path: Path) -> None:
        plan = self.plan_for(rig, tmp_path, "DROP TABLE recovery_actions; COMMIT; SELECT 1;")
        error = refused(rig, plan, RollbackError, "controls its transaction in line 1")
        assert error.state == "it was not run" and not rig.entries(*EFFECTS)

    def test_what_a_down_creates_belongs_to_the_migration_tool_s_role(self, rig: Rig, tmp_path: Path) -> None:
        assert run(rig, self.plan_for(rig, tmp_path, "CREATE TABLE brought_back (id int);")) == ["done"]
        owner = "SELECT tableowner FROM pg_tables WHERE tablename IN ('brought_back', 'schema_migrations')"
        assert rig.query(owner) == [("churn_owner",), ("churn_owner",)]

    def test_an_effect_that_holds_although_the_line_broke_is_done(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        act = RunningDown.act

        def broken(self: RunningDown) -> str:
            act(self)
            raise DatabaseError("the connection was lost")

        monkeypatch.setattr(RunningDown, "act", broken)
        rig.go_live(8)
        assert run(rig, rig.plan(migration_target=8)) == ["done"]
        assert "although: the connection was lost" in rig.entries("step.done")[0].data["outcome"]

    def test_what_a_lost_connection_kept_from_being_done_is_tried_once_more(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        act, lost = RunningDown.act, []

        def lose_once(doing: RunningDown) -> str:
            if not lost:
                lost.append(doing)
                raise DatabaseError("PostgreSQL: the connection is lost")
            return act(doing)

        monkeypatch.setattr(RunningDown, "act", lose_once)
        assert run(rig, rig.plan(migration_target=8)) == ["done", "done"]
        assert len(rig.entries("step.again")) == 1 and len(rig.entries("step.begun")) == 2

    def test_a_platform_that_fails_stops_before_the_schema_is_touched(self, rig: Rig) -> None:
        plan = rig.plan(migration_target=8)
        rig.platform.misbehave("failed")
        try:
            refused(rig, plan, RollbackError, "Step point-production failed")
        except PlatformError:
            pytest.fail("a failed step must be told as one")
        assert rig.entries("step.failed")[0].data["step"] == "point-production"
        assert not [entry for entry in rig.entries("step.begun") if entry.data["step"] == "run-down-9"]
