"""The planners, case by case: what they plan, in which order and why, and everything that they refuse."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.adapters.vercel import Deployment
from toolkit.errors import JournalError, RollbackError
from toolkit.journal import Entry
from toolkit.rollback.application import plan_application_rollback
from toolkit.rollback.begun import plan_to_continue, times_ended
from toolkit.rollback.down_sql import Loss, LossKind
from toolkit.rollback.migration import plan_migration_rollback
from toolkit.rollback.migrations import Migration, MigrationFolder, Script
from toolkit.rollback.plan import NEWEST, Plan, PointProduction, RestoreBeside, RunDown, Step, Wish
from toolkit.rollback.situation import CountedLoss, Releases, Situation
from toolkit.rollback.state_tables import Found, GolangMigrate, Holder, Recorded, against
from toolkit.rollback.target_version import last_stable, reachable_versions

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
SERVER = ServerIdentity("7001", "churn", "127.0.0.1", 5432, "18.6")
TABLE = Found("golang-migrate", "public", "schema_migrations", GolangMigrate())
DOWN = "DROP TABLE t{0};"


def script(version: int, direction: str, sql: str) -> Script:
    return Script(f"{version:03}_m.{direction}.sql", sql.encode())


def folder(downs: dict[int, str | None]) -> MigrationFolder:
    made = {
        version: Migration(
            version,
            "m",
            script(version, "up", "SELECT 1"),
            None if down is None else script(version, "down", down),
        )
        for version, down in sorted(downs.items())
    }
    return MigrationFolder(Path("migrations"), made)


def deployment(build: int | None, age_h: float, name: str = "", **more: object) -> Deployment:
    fields = {
        "id": name or f"dpl_{build}",
        "host": f"{name or build}.vercel.app",
        "name": "churn-saver",
        "state": "READY",
        "substate": "PROMOTED",
        "target": "production",
        "created_at": NOW - timedelta(hours=age_h),
        "ready_at": NOW,
        "aliases": (),
        "alias_assigned": True,
        "is_rollback_candidate": True,
        "meta": {} if build is None else {"schemaVersion": str(build)},
    }
    return Deployment(**(fields | more))


B9 = deployment(9, 1, is_rollback_candidate=False)
B8, B7, B6 = deployment(8, 100), deployment(7, 300), deployment(6, 500)
FOLDER = folder({version: DOWN.format(version) for version in (1, 2, 5, 6, 7, 8, 9, 10)})


def situation(
    version: int | None = 9,
    *,
    dirty: bool = False,
    running: Deployment = B9,
    deployments: tuple[Deployment, ...] = (B9, B8, B7, B6),
    migrations: MigrationFolder = FOLDER,
    **more: object,
) -> Situation:
    fields = {
        "service": "churn-saver",
        "target": "production",
        "server": SERVER,
        "pooled": False,
        "releases": Releases(running, deployments),
        "folder": migrations,
        "state": against(TABLE, Recorded(version, dirty), migrations),
    }
    return Situation(**(fields | more))


GAP = replace(against(TABLE, Recorded(9, False), FOLDER), applied=(1, 2, 5, 6, 8, 9))


def ids(plan: Plan) -> list[str]:
    return [step.id for step in plan.steps]


class TestMigration:
    @pytest.mark.parametrize(
        ("version", "running", "to", "steps"),
        [
            (9, B9, 8, ["point-production", "run-down-9"]),
            (9, B8, 8, ["run-down-9"]),
            (9, B7, 8, ["run-down-9"]),
            (9, B9, 6, ["point-production", "run-down-9", "run-down-8", "run-down-7"]),
            (6, B6, 5, ["point-production", "run-down-6"]),
            (10, B9, 8, ["point-production", "run-down-10", "run-down-9"]),
        ],
    )
    def test_downs_run_from_the_newest_and_the_application_goes_first(
        self, version: int, running: Deployment, to: int, steps: list[str]
    ) -> None:
        older = deployment(5, 900)
        facts = situation(version, running=running, deployments=(B9, B8, B7, B6, older))
        assert ids(plan_migration_rollback(facts, to=to)) == steps

    def test_each_down_leads_to_the_version_below_it(self) -> None:
        plan = plan_migration_rollback(situation(running=deployment(2, 2), deployments=()), to=2)
        assert [(down.version, down.to_version) for down in plan.downs] == [(9, 8), (8, 7), (7, 6), (6, 5), (5, 2)]
        assert plan.downs[0].sha256 == FOLDER.migrations[9].down.sha256
        assert plan.ends_at.to_version == 2 and plan.deployment is None

    def test_the_newest_deployment_that_fits_is_chosen(self) -> None:
        young_but_unfit = deployment(9, 2, "dpl_other9")
        failed = deployment(8, 3, "dpl_failed", state="ERROR")
        staged = deployment(8, 4, "dpl_staged", is_rollback_candidate=False, substate="STAGED")
        silent = deployment(None, 5, "dpl_silent")
        facts = situation(deployments=(B9, young_but_unfit, failed, staged, silent, B7, B8, B6))
        plan = plan_migration_rollback(facts, to=8)
        assert plan.steps[0].action == PointProduction("dpl_8", "dpl_9")
        assert "built for schema 9 and would fail on 8" in plan.steps[0].why
        assert any("The application goes first" in reason for reason in plan.reasons)

    def test_an_older_build_is_taken_with_a_warning(self) -> None:
        plan = plan_migration_rollback(situation(deployments=(B9, B7)), to=8)
        assert plan.deployment == "dpl_7"
        assert plan.warnings == ("Deployment dpl_7 was built for schema 7; that it runs on 8 is not proved.",)

    def test_an_unknown_need_is_said_and_not_guessed(self) -> None:
        silent = deployment(None, 1, "dpl_silent")
        plan = plan_migration_rollback(situation(running=silent, deployments=(silent, B8)), to=8)
        assert ids(plan) == ["run-down-9"]
        assert plan.warnings == (
            "Nobody recorded which schema deployment dpl_silent was built for: unknown whether it runs here.",
        )

    def test_a_platform_that_does_not_say_candidate_is_read_by_its_substate(self) -> None:
        unsaid = deployment(8, 50, "dpl_unsaid", is_rollback_candidate=None)
        assert plan_migration_rollback(situation(deployments=(B9, unsaid)), to=8).deployment == "dpl_unsaid"

    def test_a_named_deployment_is_taken(self) -> None:
        assert plan_migration_rollback(situation(), to=8, deployment="dpl_6").deployment == "dpl_6"
        assert plan_migration_rollback(situation(), to=8, deployment="7.vercel.app").deployment == "dpl_7"
        same = plan_migration_rollback(situation(running=B8), to=8, deployment="dpl_8")
        assert ids(same) == ["run-down-9"]

    def test_what_is_lost_and_what_is_hidden_is_told(self) -> None:
        migrations = folder({8: DOWN.format(8), 9: "ALTER TABLE t DROP COLUMN c;\nDO $$ BEGIN END $$"})
        losses = (
            CountedLoss(9, Loss(LossKind.COLUMN, ("t",), "c"), 3412, note="with a value"),
            CountedLoss(9, Loss(LossKind.TABLE, ("u",), cascade=True), 100_000, at_least=True),
            CountedLoss(9, Loss(LossKind.TYPE, ("mood",)), None),
            CountedLoss(8, Loss(LossKind.TABLE, ("t8",)), 5),
        )
        plan = plan_migration_rollback(situation(migrations=migrations, losses=losses), to=8)
        assert plan.destroys == (
            "Migration 9 drops the column t.c (3,412 rows, with a value).",
            "Migration 9 drops the table u, and what depends on it (more than 100,000 rows).",
            "Migration 9 drops the type mood.",
        )
        assert plan.warnings == ("The down of migration 9 runs code (line 2): its text does not tell what that does.",)
        assert "**Lost to the live schema**" in plan.heading() and "3,412" in plan.heading()

    def test_a_platform_that_does_not_answer_hinders_no_down(self) -> None:
        facts = situation(releases=Releases(None, unread="the API gave no answer"))
        plan = plan_migration_rollback(facts, to=8)
        assert ids(plan) == ["run-down-9"]
        assert ["unknown: the API gave no answer" in each for each in plan.warnings] == [True]
        for asks in (
            lambda: plan_migration_rollback(facts, to=8, deployment="dpl_8"),
            lambda: plan_application_rollback(facts),
        ):
            with pytest.raises(RollbackError, match="Where production points is unknown: the API gave no answer"):
                asks()

    def test_what_speaks_against_touching_the_state_table_is_said(self) -> None:
        holder = Holder(77, "ci-runner", None, "advisory lock 5")
        doubted = replace(situation().state, locked_by=(holder,), problems=("Changed since they were applied: 9",))
        plan = plan_migration_rollback(situation(state=doubted), to=8)
        assert plan.warnings == (
            "The migration tool's lock is held by ci-runner (pid 77), by advisory lock 5.",
            "Changed since they were applied: 9.",
        )

    @pytest.mark.parametrize(
        ("facts", "to", "what", "following"),
        [
            (
                situation(9),
                9,
                "nothing to roll back: the schema is at version 9, clean, and the target is 9",
                "8, 7, 6",
            ),
            (situation(8), 9, "nothing to roll back", "name an older one: 7"),
            (situation(None), 8, "the schema is at no migration, clean", "restore from a backup"),
            (situation(1), 1, "nothing to roll back", "there is no older version"),
            (situation(9), 4, "There is no migration 4", "8, 7, 6, 5, 2, 1"),
            (situation(9, dirty=True), 8, "version 9, dirty", "migrate force 9"),
            (situation(11), 8, "version 11, of which migrations has no file", "check out the revision"),
            (situation(9, pooled=True), 8, "transaction pooler", "direct connection"),
            (
                situation(9, state=GAP),
                6,
                r"Migration 7 \(m\) is not applied, although a newer one is",
                "a target above",
            ),
            (situation(9, state=None, unread="nobody answers"), 8, "unknown: nobody answers", "plan again"),
            (situation(deployments=(B9,)), 8, "No earlier deployment is known to run on schema 8", "there is none"),
            (
                situation(deployments=(B9, deployment(None, 9, "dpl_silent"))),
                8,
                "No earlier deployment is known to run on schema 8",
                "dpl_silent (schema unknown)",
            ),
            (
                situation(migrations=folder({7: DOWN, 8: None, 9: "-- nothing", 6: None})),
                6,
                r"Migration 9 \(m\): its down holds no statement; migration 8 \(m\): it has no down",
                "restore from a backup instead",
            ),
            (
                situation(migrations=folder({8: DOWN, 9: "DROP TABLE a; COMMIT"})),
                8,
                "ends the transaction that it runs in",
                "Type 3",
            ),
        ],
    )
    def test_what_cannot_end_well_is_refused_with_a_way_on(
        self, facts: Situation, to: int, what: str, following: str
    ) -> None:
        with pytest.raises(RollbackError, match=what) as raised:
            plan_migration_rollback(facts, to=to)
        assert following in str(raised.value.next)
        assert raised.value.state is not None and "nothing" in raised.value.state
        assert raised.value.target in (None, "production")

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("dpl_gone", "no production deployment 'dpl_gone' among the latest 5"),
            ("dpl_9", r"dpl_9 \(schema 9\) needs a newer schema than 8"),
            ("dpl_failed", "cannot be rolled back to dpl_failed: it is ERROR"),
        ],
    )
    def test_a_named_deployment_that_cannot_be_is_refused(self, name: str, what: str) -> None:
        failed = deployment(8, 3, "dpl_failed", state="ERROR")
        with pytest.raises(RollbackError, match=what) as raised:
            plan_migration_rollback(situation(deployments=(B9, failed, B8, B7, B6)), to=8, deployment=name)
        assert "dpl_8 (schema 8)" in str(raised.value.next)


class TestApplication:
    def test_the_newest_earlier_one_that_fits_the_live_schema(self) -> None:
        bad = deployment(8, 1, "dpl_bad", is_rollback_candidate=False)
        facts = situation(8, running=bad, deployments=(bad, B8, B7))
        plan = plan_application_rollback(facts)
        assert (plan.kind, ids(plan), plan.deployment) == ("application", ["point-production"], "dpl_8")
        assert plan.warnings == () and plan.downs == []

    def test_one_that_was_undone_before_is_not_gone_forward_to(self) -> None:
        newer = deployment(8, 0.5, "dpl_newer")
        plan = plan_application_rollback(situation(8, running=B8, deployments=(newer, B8, B7)))
        assert plan.deployment == "dpl_7"
        assert "is not proved" in plan.warnings[0]

    def test_a_database_that_does_not_answer_does_not_hinder_it(self) -> None:
        facts = situation(state=None, folder=None, server=None, unread="down")
        plan = plan_application_rollback(facts)
        assert plan.deployment == "dpl_8" and plan.server is None
        assert "could not be read" in plan.warnings[0]

    @pytest.mark.parametrize(
        ("facts", "name", "what"),
        [
            (situation(8, running=B8, deployments=(B8, B7)), "dpl_8", "points at dpl_8 already"),
            (situation(8, running=B8, deployments=(deployment(9, 2, "dpl_9b"), B8)), "dpl_9b", "built for schema 9"),
            (situation(8, running=B8, deployments=(B8,)), None, "no earlier deployment"),
            (situation(8, running=B8, deployments=(B8,)), "dpl_x", "no production deployment 'dpl_x'"),
        ],
    )
    def test_what_cannot_be_is_refused(self, facts: Situation, name: str | None, what: str) -> None:
        with pytest.raises(RollbackError, match=what):
            plan_application_rollback(facts, deployment=name)


def point(version: int, age_h: float = 0) -> StablePoint:
    return StablePoint(version, f"dpl_{version}", NOW - timedelta(hours=age_h), {})


class TestLastStable:
    @pytest.mark.parametrize(
        ("points", "expected"),
        [
            ([point(8)], 8),
            ([point(7), point(8, 9)], 8),
            ([point(9), point(7)], 7),
            ([point(10), point(9), point(6)], 6),
        ],
    )
    def test_the_newest_version_below_the_live_one(self, points: list[StablePoint], expected: int) -> None:
        facts = situation(9)
        assert last_stable(points, facts.state, facts.folder).version == expected

    def test_the_latest_record_of_a_version_counts(self) -> None:
        facts = situation(9)
        assert (
            last_stable([point(8, 1), point(8, 99)], facts.state, facts.folder).verified_at == point(8, 1).verified_at
        )

    @pytest.mark.parametrize("points", [[], [point(9)], [point(10)], [point(4)]])
    def test_nothing_recorded_is_an_error_that_lists_the_candidates(self, points: list[StablePoint]) -> None:
        facts = situation(9)
        with pytest.raises(RollbackError, match="no stable version to go back to from version 9, clean") as raised:
            last_stable(points, facts.state, facts.folder)
        assert "8, 7, 6, 5, 2, 1" in str(raised.value.next)

    def test_a_version_behind_a_missing_down_is_not_reachable(self) -> None:
        facts = situation(9, migrations=folder({6: DOWN, 7: None, 8: DOWN, 9: DOWN}))
        assert reachable_versions(facts.state, facts.folder) == [8, 7]
        with pytest.raises(RollbackError, match="recorded are 6"):
            last_stable([point(6)], facts.state, facts.folder)


class TestThePlanItself:
    def test_it_survives_the_journal_and_knows_itself(self) -> None:
        plan = plan_migration_rollback(situation(), to=8, reasons=["it broke"])
        again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
        assert again == plan and again.id == plan.id
        assert isinstance(again.steps[1].action, RunDown)

    def test_a_changed_plan_is_found(self) -> None:
        data = json.loads(json.dumps(plan_migration_rollback(situation(), to=8).to_json()))
        data["steps"][1]["action"]["to_version"] = 1
        with pytest.raises(JournalError, match="not what it was"):
            Plan.from_json(data)
        with pytest.raises(JournalError, match="something else"):
            Plan.from_json({"plan": "x", "kind": "migration"})

    def test_its_id_follows_what_is_done_and_where_and_nothing_else(self) -> None:
        plan = plan_migration_rollback(situation(), to=8)
        assert replace(plan, destroys=("9 rows",), warnings=("x",), reasons=("y",)).id == plan.id
        assert replace(plan, steps=plan.steps[1:]).id != plan.id
        assert replace(plan, target="sandbox").id != plan.id
        assert replace(plan, server=replace(SERVER, system_identifier="7002")).id != plan.id

    def test_its_rows_are_text_for_a_table(self) -> None:
        rows = plan_migration_rollback(situation(), to=8).rows()
        assert [row["step"] for row in rows] == ["1. point-production", "2. run-down-9"]
        assert all(isinstance(value, str) and value for row in rows for value in row.values())


PLAN = replace(plan_migration_rollback(situation(), to=8), wish=Wish("migration", None, None))


def entries(*kinds: str, plan: Plan = PLAN, execute: bool = True) -> list[Entry]:
    told = {"plan.made": plan.to_json() | {"execute": execute}}
    return [
        Entry(
            n, NOW, 0.0, "i", "a", kind, json.loads(json.dumps(told.get(kind, {"plan": plan.id, "step": "x"}))), "", ""
        )
        for n, kind in enumerate(kinds, start=1)
    ]


def continued(found: list[Entry], facts: Situation, to: int | None = 8, named: str | None = None) -> Plan | None:
    return plan_to_continue(found, facts, Wish("migration", to, named))


def restoring(source: str, **more: object) -> Plan:
    action = RestoreBeside(source, "ab", "schemas")
    step = Step("restore-beside", action, "what", "why", "expected", "verify", "undo")
    wish = Wish("restore", None, None, source=source)
    return Plan("restore", "churn-saver", "production", SERVER, "a restore", (step,), wish=replace(wish, **more))  # type: ignore[arg-type]


class TestGoingOn:
    AFTER_APPLICATION = situation(9, running=B8)
    AFTER_ALL = situation(8, running=B8)

    @pytest.mark.parametrize("facts", [situation(9), AFTER_APPLICATION, AFTER_ALL])
    def test_a_plan_that_was_begun_is_carried_on(self, facts: Situation) -> None:
        assert continued(entries("plan.made", "step.begun"), facts) == PLAN
        assert continued(entries("plan.made", "step.begun", "step.failed"), facts, to=None) == PLAN
        assert continued(entries("plan.made", "step.begun"), facts, named="8.vercel.app") == PLAN

    def test_a_finished_plan_is_returned_while_its_end_holds(self) -> None:
        found = entries("plan.made", "step.begun", "step.done", "plan.done")
        assert continued(found, self.AFTER_ALL) == PLAN
        assert continued(found, situation(9)) is None

    def test_after_it_broke_again_a_new_plan_is_made(self) -> None:
        found = entries("plan.made", "step.begun", "plan.done", "plan.made")
        assert continued(found, situation(9)) is None

    @pytest.mark.parametrize(
        ("found", "facts", "to", "named"),
        [
            ([], situation(9), 8, None),
            (entries("plan.made"), situation(9), 8, None),
            (entries("plan.made", "step.begun", execute=False), situation(9), 8, None),
            (entries("plan.made", "step.begun"), situation(9), 7, None),
            (entries("plan.made", "step.begun"), situation(9), 8, "dpl_7"),
            (entries("plan.made", "step.begun"), situation(9, dirty=True), 8, None),
            (entries("plan.made", "step.begun"), situation(10), 8, None),
            (entries("plan.made", "step.begun"), situation(9, running=B7), 8, None),
            (entries("plan.made", "step.begun"), situation(9, state=None), 8, None),
            (
                entries("plan.made", "step.begun"),
                situation(9, migrations=folder({8: DOWN, 9: "DROP TABLE mended"})),
                8,
                None,
            ),
        ],
    )
    def test_otherwise_it_is_planned_anew(
        self, found: list[Entry], facts: Situation, to: int, named: str | None
    ) -> None:
        assert continued(found, facts, to, named) is None

    def test_the_last_stable_version_is_not_just_any(self) -> None:
        named = replace(PLAN, wish=Wish("migration", 8, None))
        assert continued(entries("plan.made", "step.begun", plan=named), situation(9), to=None) is None

    def test_another_file_is_not_the_one_that_was_begun(self) -> None:
        plan = restoring("/backups/A")
        found = entries("plan.made", "step.begun", plan=plan)
        wish = Wish("restore", None, None, source="/backups/A")
        assert plan_to_continue(found, situation(9), wish) == plan
        assert plan_to_continue(found, situation(9), replace(wish, source="/backups/x/../A")) == plan
        assert plan_to_continue(found, situation(9), replace(wish, source="/backups/B")) is None
        assert plan_to_continue(found, situation(9), replace(wish, source=NEWEST)) is None

    def test_the_newest_that_was_begun_goes_on_by_its_name_too(self) -> None:
        plan = replace(restoring("/backups/A"), wish=Wish("restore", None, None).bare)
        found = entries("plan.made", "step.begun", plan=plan)
        for source in (NEWEST, "/backups/A"):
            assert plan_to_continue(found, situation(9), Wish("restore", None, None, source=source)) == plan

    def test_a_finished_restore_is_planned_anew_with_a_turn_of_its_own(self) -> None:
        plan = restoring("/backups/A")
        found = entries("plan.made", "step.begun", "step.done", "plan.done", plan=plan)
        assert plan_to_continue(found, situation(9), plan.wish) is None
        assert times_ended(found) == 1 and times_ended(entries("plan.made", "step.begun", "plan.done")) == 0
        assert replace(plan, turn=2).id != plan.id

    def test_a_breach_is_not_met_by_a_plan_that_ends_no_sessions(self) -> None:
        plan = replace(PLAN, kind="emergency", wish=Wish("emergency", None, None))
        found = entries("plan.made", "step.begun", plan=plan)
        assert plan_to_continue(found, situation(9), Wish("emergency", None, None)) == plan
        assert plan_to_continue(found, situation(9), Wish("emergency", None, None, breach="a key leaked")) is None
