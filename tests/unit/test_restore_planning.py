"""Planning a restore, without a server: names, the way, the source, the plan's steps and what it tells."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.adapters.postgres import ServerIdentity, StablePoint
from toolkit.adapters.vercel import Deployment
from toolkit.errors import RollbackError, UsageError
from toolkit.rollback.backup.left_out import Extension
from toolkit.rollback.backup.verified import Level
from toolkit.rollback.damage import Damage
from toolkit.rollback.plan import Plan, RestoreBeside, SwapIn
from toolkit.rollback.platform_recovery import PlatformRecovery, plan_platform_recovery, wanted_moment
from toolkit.rollback.restore.names import LONGEST, damaged_name, mark_of, restored_name
from toolkit.rollback.restore.planner import plan_restore
from toolkit.rollback.restore.source_reading import Source
from toolkit.rollback.restore.sources import Candidate, Damaged, candidates, choose, damage_moment
from toolkit.rollback.restore.survey import Hanging, SchemaSurvey, Survey
from toolkit.rollback.restore.ways import choose_way
from toolkit.rollback.situation import Releases, Situation

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SERVER = ServerIdentity("7", "churn", "127.0.0.1", 5432, "18.6")
PUBLIC = SchemaSurvey("public", "churn_owner", True, 0, 0)
PLAIN = Survey((PUBLIC,), (), (), (), True, True, True, True, 0, 0)
VIEW = Hanging("a view", "audit", "audit.seen", "public")


def deployment(name: str, hours: float, schema: int | None) -> Deployment:
    return Deployment(
        id=name,
        host=f"{name}.example",
        name="churn-saver",
        state="READY",
        substate="PROMOTED",
        target="production",
        created_at=NOON + timedelta(hours=hours),
        ready_at=None,
        aliases=(),
        alias_assigned=True,
        is_rollback_candidate=True,
        meta={} if schema is None else {"schemaVersion": str(schema)},
    )


def source(name: str = "backup", hours: float = -2, **more: object) -> Source:
    made = Source(Path("/backups") / name, "ours", "ab" * 32, NOON + timedelta(hours=hours), ("public", "pgboss"), 8)
    return replace(made, **more)  # type: ignore[arg-type]


RELEASES = Releases(deployment("dpl_9", -1, 9), (deployment("dpl_9", -1, 9), deployment("dpl_8", -30, 8)))
SITUATION = Situation("churn-saver", "sandbox", SERVER, False, RELEASES)


class TestNames:
    @given(mark=st.text("0123456789abcdef", min_size=8, max_size=8), name=st.text(min_size=1, max_size=63))
    def test_they_fit_and_two_schemas_stay_two(self, mark: str, name: str) -> None:
        one, other = restored_name(mark, name), restored_name(mark, f"{name}x")
        assert max(len(each.encode()) for each in (one, other, damaged_name(mark, name))) <= LONGEST
        assert one != other
        assert one.startswith(f"restored_{mark}_")

    def test_the_same_incident_and_source_give_the_same_mark(self) -> None:
        assert mark_of("one", "/a") == mark_of("one", "/a") != mark_of("one", "/b") != mark_of("on", "e/b")
        assert mark_of("one", "/a") == mark_of("one", "/a", 1) != mark_of("one", "/a", 2)


class TestWay:
    def test_schemas_where_nothing_hangs_on_them(self) -> None:
        assert choose_way(PLAIN, ["public"]).way == "schemas"

    def test_databases_where_a_view_of_another_schema_would_read_the_damaged_data(self) -> None:
        survey = replace(PLAIN, hanging=(VIEW,), others=("audit",))
        chosen = choose_way(survey, ["public", "audit"])
        assert chosen.way == "databases"
        assert any("a view of schema audit (audit.seen)" in reason for reason in chosen.reasons)

    @pytest.mark.parametrize(
        ("survey", "why"),
        [
            (replace(PLAIN, hanging=(VIEW,), outside=("large objects",)), "large objects would stay"),
            (replace(PLAIN, hanging=(VIEW,), others=("auth",)), "manages auth"),
            (replace(PLAIN, hanging=(VIEW,), may_create_database=False), "CREATEDB"),
            (replace(PLAIN, hanging=(VIEW,), slots=1), "replication slots"),
            (replace(PLAIN, hanging=(VIEW,), extensions=(Extension("postgis", "3", "public", True),)), "postgis"),
            (replace(PLAIN, hanging=(VIEW,), superusers=1), "superuser"),
        ],
    )
    def test_reload_where_neither_may_be_renamed(self, survey: Survey, why: str) -> None:
        chosen = choose_way(survey, ["public"])
        assert chosen.way == "reload"
        assert any(why in reason for reason in chosen.reasons)

    def test_an_extension_that_only_the_source_holds_must_be_ours_to_create(self) -> None:
        survey = replace(PLAIN, hanging=(VIEW,), creatable=frozenset({"citext"}))
        assert choose_way(survey, ["public"], extensions=["citext"]).way == "databases"
        refused = choose_way(survey, ["public"], extensions=["citext", "file_fdw"])
        assert (refused.way, any("extension file_fdw" in reason for reason in refused.reasons)) == ("reload", True)

    def test_an_extension_that_nothing_needs_is_told_beforehand(self) -> None:
        statements = Extension("pg_stat_statements", "1.12", "public", False)
        chosen = choose_way(replace(PLAIN, hanging=(VIEW,), extensions=(statements,)), ["public"])
        assert chosen.way == "databases"
        assert any("A superuser must create extension pg_stat_statements" in each for each in chosen.warnings)

    def test_a_schema_that_the_platform_manages_is_reloaded(self) -> None:
        survey = replace(PLAIN, schemas=(replace(PUBLIC, name="auth"),), may_create_database=False)
        assert choose_way(survey, ["auth"]).way == "reload"

    def test_a_way_that_is_wanted_says_what_speaks_against_it(self) -> None:
        chosen = choose_way(replace(PLAIN, hanging=(VIEW,)), ["public"], wanted="schemas")
        assert chosen.way == "schemas"
        assert any("audit.seen" in warning for warning in chosen.warnings)


class TestSource:
    stable = (StablePoint(8, "dpl_8", NOON - timedelta(hours=3), {}),)

    def test_the_damage_began_with_the_deployment_that_brought_a_newer_schema(self) -> None:
        assert damage_moment(None, RELEASES, self.stable).at == NOON - timedelta(hours=1)

    def test_given_counts_before_all_and_nothing_known_says_so(self) -> None:
        assert damage_moment(NOON, RELEASES, self.stable).at == NOON
        unknown = damage_moment(None, RELEASES, ())
        assert unknown.at is None and "no stable version" in unknown.why

    def test_the_newest_from_before_the_damage_that_is_whole(self) -> None:
        there = [source("late", -0.5), source("torn", -1.5), source("good", -2), source("old", -9)]
        damaged = Damaged(NOON - timedelta(hours=1), "it was given")
        judged = candidates(there, damaged, SERVER, inspect=lambda each, _: "rows" if each.name == "torn" else "")
        assert choose(judged, damaged, target="sandbox").name == "good"

    def test_none_says_why_each_is_not_taken(self) -> None:
        damaged = Damaged(NOON - timedelta(hours=1), "it was given")
        judged = candidates([source("late", -0.5), source("torn", -2)], damaged, SERVER, inspect=lambda *_: "archive")
        with pytest.raises(RollbackError, match=r"late.*after the damage began.*torn.*archive"):
            choose(judged, damaged, target="sandbox")
        with pytest.raises(RollbackError, match="none at all"):
            choose([], damaged, target="sandbox")

    def test_an_unknown_moment_takes_nothing_by_itself(self) -> None:
        judged = candidates([source()], Damaged(None, "nothing tells"), SERVER, inspect=lambda *_: "")
        assert [each.refused for each in judged] == ["when the damage began is unknown"]

    def test_a_row_for_people(self) -> None:
        row = Candidate(source(), Level.PROVED, "").row()
        assert (row["backup"], row["version"], row["verified"]) == ("backup", "8", Level.PROVED.title)


class TestPlan:
    damage = (Damage("events", ("type",), "true"),)

    def plan(self, **more: object) -> Plan:
        way = choose_way(PLAIN, ["public"])
        return plan_restore(SITUATION, source(), way, self.damage, incident="INC-1", now=NOON, **more)  # type: ignore[arg-type]

    def test_the_copy_stands_beside_before_it_comes_in(self) -> None:
        plan = self.plan()
        assert [step.id for step in plan.steps] == ["restore-beside", "swap-in"]
        beside, swap = (step.action for step in plan.steps)
        assert isinstance(beside, RestoreBeside) and isinstance(swap, SwapIn)
        assert (beside.sha256, beside.way, swap.damage) == (source().sha256, "schemas", self.damage)
        assert Plan.from_json(plan.to_json()) == plan

    def test_frozen_and_backed_up_where_that_is_asked_for(self) -> None:
        plan = self.plan(freeze=True, backup_folder="backup-2", queue="pgboss")
        assert [step.id for step in plan.steps] == [
            "freeze-writes",
            "back-up",
            "restore-beside",
            "swap-in",
            "release-writes",
            "release-effects",
        ]
        assert (plan.held_queue, self.plan().held_queue) == ("pgboss", None)

    def test_it_tells_what_is_lost_and_what_is_not_known(self) -> None:
        plan = self.plan()
        assert any("events (type) since 2026-11-25 10:00:00 UTC" in line for line in plan.destroys)
        bare = plan_restore(
            SITUATION, source(taken_at=None, kind="plain"), choose_way(PLAIN, []), (), incident="INC-1", now=NOON
        )
        assert any("No damage is named" in line for line in bare.warnings)
        assert any("no backup of ours" in line for line in bare.warnings)

    def test_the_platforms_recovery_is_told_beside_ours(self) -> None:
        window = PlatformRecovery(NOON - timedelta(days=7), NOON, timedelta(minutes=2))
        plan = self.plan(platform=window, damaged=Damaged(NOON - timedelta(hours=1), "it was given"))
        assert any("2 minutes" in line and "unreachable" in line for line in plan.reasons)

    def test_the_platforms_recovery_by_name_says_what_it_costs(self) -> None:
        window = PlatformRecovery(NOON - timedelta(days=7), NOON, timedelta(minutes=2), "abc")
        damaged = Damaged(NOON - timedelta(hours=1), "it was given")
        moment = wanted_moment("platform", damaged, target="sandbox")
        assert moment == NOON - timedelta(hours=1, seconds=1)
        assert wanted_moment("platform:2026-11-25T10:00", damaged, target="sandbox") == NOON - timedelta(hours=2)
        plan = plan_platform_recovery(SITUATION, window, moment)
        assert [step.id for step in plan.steps] == ["freeze-writes", "back-up", "recover-by-platform"]
        assert "acknowledged or not, and up to 2 minutes" in plan.destroys[0]
        assert Plan.from_json(plan.to_json()) == plan and plan.recovers is not None
        blind = plan_platform_recovery(replace(SITUATION, server=None), window, moment)
        assert [step.id for step in blind.steps] == ["recover-by-platform"]
        assert "No backup can be made" in blind.destroys[0]
        with pytest.raises(RollbackError, match="cannot go back to"):
            plan_platform_recovery(SITUATION, window, NOON + timedelta(minutes=1))
        with pytest.raises(UsageError, match="unknown"):
            wanted_moment("platform", Damaged(None, "nothing tells"), target="sandbox")

    def test_migrations_that_are_not_there_are_refused(self) -> None:
        with pytest.raises(RollbackError, match="not all in the folder"):
            self.plan(wanted_version=9)

    @pytest.mark.parametrize("wrong", [{"server": None, "unread": "nobody answered"}, {"pooled": True}])
    def test_no_plan_without_a_direct_line(self, wrong: dict[str, object]) -> None:
        situation = replace(SITUATION, **wrong)  # type: ignore[arg-type]
        with pytest.raises(RollbackError):
            plan_restore(situation, source(), choose_way(PLAIN, []), (), incident="INC-1")
