"""The stand-in's rules, without a socket: rollback, promote, automatic assignment, lists, and what is shown."""

import json
from dataclasses import replace

import pytest

from toolkit.drill.platform.deployments import Deployment, ReadyState
from toolkit.drill.platform.listing import list_deployments
from toolkit.drill.platform.refusal import Refused
from toolkit.drill.platform.state import Identity, Project
from toolkit.drill.platform.wire import build_events, listed, project_body, single

IDENTITY = Identity("prj_1", "churn-saver", "team_1", "sandbox", ("churn-saver.vercel.app", "127.0.0.1:80"))
SECRET = "postgresql://app:hidden@h/churn"


def past(
    build: int, *, served: bool = True, target: str = "production", state: ReadyState = ReadyState.READY
) -> Deployment:
    ready = build * 1000 + 10 if state is ReadyState.READY else None
    return Deployment(
        id=f"dpl_{build}",
        host=f"churn-saver-{build}.vercel.app",
        build=build,
        target=target,
        created_ms=build * 1000,
        state=state,
        ready_ms=ready,
        aliased_ms=ready,
        served=served,
        meta={"schemaVersion": str(build), "githubCommitRef": "main" if target == "production" else "topic"},
        environment={"DATABASE_URL": SECRET},
    )


def project(plan: str = "pro") -> Project:
    """Builds 6, 7 and 8 went live, 10 is a preview, 11 failed to build."""
    made = Project(replace(IDENTITY, plan=plan), created_ms=0)  # type: ignore[arg-type]
    for build in (6, 7, 8):
        made.add(past(build))
    made.add(past(10, served=False, target="preview"))
    made.add(past(11, served=False, state=ReadyState.ERROR))
    return made


def build(made: Project, version: int, now_ms: int = 20_000) -> str:
    """Create and build a production deployment by the rules, as the platform does."""
    name = made.create(version, "production", {"schemaVersion": str(version)}, now_ms=now_ms).id
    made.start_building(name, {}, now_ms=now_ms + 1)
    made.finish_building(name, now_ms=now_ms + 2)
    if made.will_assign(name):
        made.assign(name, now_ms=now_ms + 3)
    return name


def roll_back(made: Project, name: str) -> None:
    made.complete(made.begin(made.request_rollback(name, "why", now_ms=1)), now_ms=2)


def promote(made: Project, name: str) -> None:
    made.complete(made.begin(made.request_promote(name, now_ms=1)), now_ms=2)


def production(made: Project) -> str:
    assert made.production
    return made.production.id


class TestRollback:
    def test_production_moves_only_when_the_request_completes(self) -> None:
        made = project()
        request = made.begin(made.request_rollback("dpl_7", "broken", now_ms=5))
        assert production(made) == "dpl_8"
        made.complete(request, now_ms=6)
        assert production(made) == "dpl_7"
        assert made.alias_request is not None
        assert (made.alias_request.status, made.alias_request.from_id) == ("succeeded", "dpl_8")

    def test_any_of_its_names_will_do(self) -> None:
        made = project()
        roll_back(made, "churn-saver-6.vercel.app")
        assert made.find("127.0.0.1:80").id == made.find("churn-saver.vercel.app").id == "dpl_6"

    @pytest.mark.parametrize(
        ("name", "status", "says"),
        [
            ("dpl_8", 409, "already"),
            ("dpl_10", 422, "served"),
            ("dpl_11", 422, "READY"),
            ("dpl_none", 404, "found"),
        ],
    )
    def test_what_is_refused(self, name: str, status: int, says: str) -> None:
        made = project()
        with pytest.raises(Refused) as refused:
            made.request_rollback(name, None, now_ms=1)
        assert refused.value.status == status
        assert says in refused.value.message
        assert made.alias_request is None

    def test_only_one_at_a_time(self) -> None:
        made = project()
        made.request_rollback("dpl_7", None, now_ms=1)
        with pytest.raises(Refused) as refused:
            made.request_promote("dpl_6", now_ms=2)
        assert refused.value.status == 409

    @pytest.mark.parametrize("status", ["failed", "skipped"])
    def test_one_that_comes_to_nothing_changes_nothing(self, status: str) -> None:
        made = project()
        made.abandon(made.begin(made.request_rollback("dpl_7", None, now_ms=1)), status)  # type: ignore[arg-type]
        assert production(made) == "dpl_8"
        assert made.auto_assign
        roll_back(made, "dpl_7")  # and another may follow
        assert production(made) == "dpl_7"

    def test_hobby_reaches_only_the_one_before(self) -> None:
        made = project("hobby")
        assert [d.id for d in made.deployments if made.is_rollback_candidate(d)] == ["dpl_7"]
        with pytest.raises(Refused) as refused:
            made.request_rollback("dpl_6", None, now_ms=1)
        assert refused.value.status == 402
        assert "upgrade" in refused.value.message
        roll_back(made, "dpl_7")
        assert made.is_rollback_candidate(made.find("dpl_8"))
        assert not made.is_rollback_candidate(made.find("dpl_6"))

    def test_candidates_are_those_that_served_and_do_not_now(self) -> None:
        made = project()
        assert [d.id for d in made.deployments if made.is_rollback_candidate(d)] == ["dpl_7", "dpl_6"]


class TestAutomaticAssignment:
    def test_a_new_production_deployment_goes_live_by_itself(self) -> None:
        made = project()
        newest = build(made, 9)
        assert production(made) == newest

    def test_after_a_rollback_it_is_staged_until_promoted(self) -> None:
        made = project()
        roll_back(made, "dpl_7")
        staged = build(made, 9)
        assert production(made) == "dpl_7"
        assert not made.find(staged).served
        assert not made.is_rollback_candidate(made.find(staged))
        promote(made, staged)
        assert production(made) == staged
        newest = build(made, 12, now_ms=30_000)
        assert production(made) == newest

    def test_undoing_a_rollback_turns_it_on_again(self) -> None:
        made = project()
        roll_back(made, "dpl_7")
        assert not made.auto_assign
        promote(made, "dpl_8")
        assert made.auto_assign

    def test_a_preview_never_goes_live(self) -> None:
        made = project()
        name = made.create(9, "preview", {}, now_ms=20_000).id
        made.start_building(name, {}, now_ms=20_001)
        made.finish_building(name, now_ms=20_002)
        assert not made.will_assign(name)
        with pytest.raises(Refused):
            made.request_promote(name, now_ms=20_003)

    def test_the_two_latest_are_worth_keeping(self) -> None:
        made = project()
        assert made.recent == {"dpl_7", "dpl_8"}
        roll_back(made, "dpl_6")
        assert made.recent == {"dpl_8", "dpl_6"}


class TestLists:
    def listed(self, **query: str) -> list[str]:
        return [d.id for d in list_deployments(project(), query).deployments]

    def test_newest_first(self) -> None:
        assert self.listed() == ["dpl_11", "dpl_10", "dpl_8", "dpl_7", "dpl_6"]

    @pytest.mark.parametrize(
        ("query", "wanted"),
        [
            ({"target": "production"}, ["dpl_11", "dpl_8", "dpl_7", "dpl_6"]),
            ({"target": "preview"}, ["dpl_10"]),
            ({"state": "ERROR"}, ["dpl_11"]),
            ({"state": "error,ready", "limit": "2"}, ["dpl_11", "dpl_10"]),
            ({"rollbackCandidate": "true"}, ["dpl_7", "dpl_6"]),
            ({"rollbackCandidate": "false"}, ["dpl_11", "dpl_10", "dpl_8"]),
            ({"since": "8000"}, ["dpl_11", "dpl_10"]),
            ({"until": "7000"}, ["dpl_6"]),
            ({"from": "6000", "to": "8000"}, ["dpl_7"]),
            ({"branch": "topic"}, ["dpl_10"]),
            ({"meta-schemaVersion": "7"}, ["dpl_7"]),
            ({"app": "other"}, []),
            ({"projectId": "prj_other"}, []),
            ({"projectId": "churn-saver", "limit": "1"}, ["dpl_11"]),
        ],
    )
    def test_filters(self, query: dict[str, str], wanted: list[str]) -> None:
        assert self.listed(**query) == wanted

    def test_paging_by_until_gives_each_once(self) -> None:
        made, seen, query = project(), [], {"limit": "2"}
        for _ in range(10):
            page = list_deployments(made, query)
            seen += [d.id for d in page.deployments]
            if page.next is None:
                break
            query["until"] = str(page.next)
        assert seen == ["dpl_11", "dpl_10", "dpl_8", "dpl_7", "dpl_6"]

    @pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"until": "x"}, {"limit": "-1"}])
    def test_nonsense_is_refused(self, query: dict[str, str]) -> None:
        with pytest.raises(Refused) as refused:
            list_deployments(project(), query)
        assert refused.value.status == 400

    def test_created_at_the_same_moment_is_still_told_apart(self) -> None:
        made = project()
        created = [made.create(9, "preview", {}, now_ms=1).created_ms for _ in range(3)]
        assert len(set(created)) == 3


class TestWire:
    def test_nothing_secret_is_shown(self) -> None:
        made = project()
        made.environment.create("API_SECRET", "hidden-too", "sensitive", ["production"], now_ms=1)
        made.environment.create("FLAG", "hidden-three", "encrypted", ["production"], now_ms=1)
        shown = [f(made, d) for d in made.deployments for f in (listed, single)]
        shown += [project_body(made, rollback_info=True), *(v.shown() for v in made.environment.all())]
        shown += [event for d in made.deployments for event in build_events(d)]
        text = json.dumps(shown) + repr(made.deployments) + repr(made.environment.all())
        assert "hidden" not in text

    def test_the_two_kinds_of_alias_assigned(self) -> None:
        made = project()
        live = made.find("dpl_8")
        assert listed(made, live)["aliasAssigned"] == live.aliased_ms
        assert single(made, live)["aliasAssigned"] is True
        assert single(made, live)["team"] == {"id": "team_1", "slug": "sandbox", "name": "sandbox"}

    def test_the_last_request_is_told_only_when_asked_for(self) -> None:
        made = project()
        roll_back(made, "dpl_7")
        assert "lastAliasRequest" not in project_body(made, rollback_info=False)
        body = project_body(made, rollback_info=True)
        assert body["lastAliasRequest"] == {
            "fromDeploymentId": "dpl_8",
            "toDeploymentId": "dpl_7",
            "jobStatus": "succeeded",
            "requestedAt": 1,
            "type": "rollback",
        }
        assert body["autoAssignCustomDomains"] is False

    def test_substate_tells_staged_from_promoted(self) -> None:
        made = project()
        assert listed(made, made.find("dpl_6"))["readySubstate"] == "PROMOTED"
        assert listed(made, made.find("dpl_10"))["readySubstate"] == "STAGED"
        assert "readySubstate" not in listed(made, made.find("dpl_11"))
