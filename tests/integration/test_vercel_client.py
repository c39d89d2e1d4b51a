"""The client against the stand-in, over real sockets: what succeeds, what is refused, what fails, and in what time."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stand_in import StandIn, failure

from toolkit.adapters.vercel import VercelClient, VercelRefused
from toolkit.clock import utc_now


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path)
    running.serving()
    yield running
    running.stop()


@pytest.fixture
def client(platform: StandIn) -> Iterator[VercelClient]:
    with platform.client() as made:
        yield made


def took(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


class TestReading:
    def test_deployments_are_typed_and_newest_first(self, platform: StandIn, client: VercelClient) -> None:
        found = client.deployments()
        assert [(d.schema_version, d.state) for d in found] == [(8, "ERROR"), (8, "READY"), (7, "READY"), (6, "READY")]
        assert [d.is_rollback_candidate for d in found] == [False, False, True, True]
        assert all(d.target == "production" and d.created_at.tzinfo is not None for d in found)
        assert 5 < (utc_now() - found[1].created_at).days < 8
        assert (found[2].commit_message, len(found[2].commit or "")) == ("Release build 7", 40)
        assert len(client.deployments(limit=2)) == 2

    def test_production_by_each_name(self, platform: StandIn, client: VercelClient) -> None:
        for host in ("churn-saver.vercel.app", platform.production_url.removeprefix("http://")):
            assert client.production(host).id == platform.past(8)
        project = client.project()
        assert (project.production_id, project.automatic_assignment) == (platform.past(8), True)
        assert project.last_request is None

    def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
        self, platform: StandIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with platform.client() as client:
            assert client.deployments()

    def test_variables_have_names_and_no_values(self, client: VercelClient) -> None:
        found = {v.key: v for v in client.environment()}
        assert found["WHOP_WEBHOOK_SECRET"].targets == ("production", "preview")
        assert not hasattr(found["WHOP_WEBHOOK_SECRET"], "value")


class TestSwitching:
    def test_a_rollback_is_seen_and_says_that_automatic_assignment_is_off(
        self, platform: StandIn, client: VercelClient
    ) -> None:
        done = client.rollback(platform.past(7), description="errors since build 8", within=10)
        assert platform.serving() == 7
        assert (done.id, done.schema_version, done.previous) == (platform.past(7), 7, platform.past(8))
        assert (done.already, done.automatic_assignment) == (False, False)
        assert platform.project()["rollbackDescription"]["description"] == "errors since build 8"

    def test_repeating_it_asks_for_nothing(self, platform: StandIn, client: VercelClient) -> None:
        client.rollback(platform.past(7), description="once", within=10)
        asked = platform.project()["lastAliasRequest"]["requestedAt"]
        again = client.rollback(platform.past(7), description="twice", within=10)
        assert (again.already, again.automatic_assignment) == (True, False)
        assert platform.project()["lastAliasRequest"]["requestedAt"] == asked

    def test_a_promote_undoes_it(self, platform: StandIn, client: VercelClient) -> None:
        client.rollback(platform.past(7), description="x", within=10)
        staged = client.create_deployment(name="churn-saver", meta={"schemaVersion": "9"}, within=10)
        assert (staged.substate, platform.serving()) == ("STAGED", 7)
        done = client.promote(staged.id, within=10)
        assert (platform.serving(), done.automatic_assignment) == (9, True)

    @pytest.mark.parametrize("status", ["skipped", "failed"])
    def test_a_request_that_comes_to_nothing_is_an_error(
        self, platform: StandIn, client: VercelClient, status: str
    ) -> None:
        platform.misbehave(status)
        error = failure(lambda: client.rollback(platform.past(7), description="x", within=10), platform.token)
        assert status in error.what
        assert platform.past(8) in error.state
        assert platform.serving() == 8
        assert client.rollback(platform.past(7), description="x", within=10).schema_version == 7

    @pytest.mark.parametrize(("of", "status"), [("missing", 404), ("preview", 422), ("error", 422)])
    def test_what_the_vendor_refuses(self, platform: StandIn, client: VercelClient, of: str, status: int) -> None:
        names = {
            "missing": "dpl_none",
            "preview": next(d["uid"] for d in platform.deployments() if d["target"] is None),
            "error": platform.deployments(state="ERROR")[0]["uid"],
        }
        error = failure(lambda: client.rollback(names[of], description="x", within=10), platform.token, VercelRefused)
        assert (error.status, error.in_doubt) == (status, False)
        assert platform.past(8) in error.state

    def test_a_lost_answer_does_not_matter_when_it_was_carried_out(self, platform: StandIn) -> None:
        platform.misbehave("hang", hang_s=1, path="/rollback/")
        with platform.client(timeout_s=0.5) as client:
            done = client.rollback(platform.past(7), description="x", within=10)
        assert (done.schema_version, platform.serving()) == (7, 7)

    def test_an_answer_of_500_is_repeated_and_then_told(self, platform: StandIn, client: VercelClient) -> None:
        platform.misbehave(500, path="/rollback/")
        assert client.rollback(platform.past(7), description="x", within=10).schema_version == 7
        platform.misbehave(500, count=99, path="/promote/")
        error = failure(lambda: client.promote(platform.past(8), within=3), platform.token)
        assert "500" in error.what
        assert platform.past(7) in error.state


class TestBuilding:
    def test_a_new_deployment_is_live_when_it_returns(self, platform: StandIn, client: VercelClient) -> None:
        made = client.create_deployment(name="churn-saver", meta={"schemaVersion": "9", "a": "b"}, within=10)
        assert (made.ready, made.substate, made.meta["a"]) == (True, "PROMOTED", "b")
        assert platform.serving() == 9

    def test_without_a_deadline_it_returns_at_once(self, client: VercelClient) -> None:
        made = client.create_deployment(name="churn-saver", meta={"schemaVersion": "9"}, target="preview")
        assert made.state == "QUEUED"
        assert client.wait_until_built(made.id, within=10).ready

    def test_a_variable_reaches_what_is_built_after_it(self, platform: StandIn, client: VercelClient) -> None:
        changed = client.set_environment("PROCESSING_ENABLED", "false")
        assert (changed.key, changed.type) == ("PROCESSING_ENABLED", "encrypted")
        assert client.set_environment("K", "new").targets == ("production",)
        assert platform.production.get("/whoami").json()["PROCESSING_ENABLED"] == "true"
        client.redeploy(platform.past(8), within=10)
        told = platform.production.get("/whoami").json()
        assert (told["PROCESSING_ENABLED"], told["K"], told["BUILD"]) == ("false", "new", "8")

    def test_a_failed_build_is_an_error(self, platform: StandIn, client: VercelClient) -> None:
        failed = platform.deployments(state="ERROR")[0]["uid"]
        error = failure(lambda: client.wait_until_built(failed, within=10), platform.token)
        assert "ERROR" in error.what

    def test_a_build_is_never_asked_for_twice(self, platform: StandIn, client: VercelClient) -> None:
        before = len(platform.deployments())
        platform.misbehave(500, path="/v13/")
        error = failure(
            lambda: client.create_deployment(name="churn-saver", meta={"schemaVersion": "9"}), platform.token
        )
        assert (error.status, error.in_doubt) == (500, True)
        assert len(platform.deployments()) == before


class TestRefusalsAndFailures:
    def test_a_wrong_token_is_a_403(self, platform: StandIn) -> None:
        with platform.client(token="wrong-token-value") as client:
            error = failure(client.deployments, "wrong-token-value", VercelRefused)
        assert (error.status, error.code) == (403, "forbidden")
        assert "token" in error.next

    def test_another_team_is_a_403(self, platform: StandIn) -> None:
        with platform.client(team_id="team_other") as client:
            assert failure(client.deployments, platform.token, VercelRefused).status == 403

    def test_429_is_waited_for_as_long_as_it_says(self, platform: StandIn, client: VercelClient) -> None:
        platform.misbehave(429, retry_after_s=1)
        assert took(client.deployments) > 0.9

    def test_429_for_too_long_is_told(self, platform: StandIn, client: VercelClient) -> None:
        platform.misbehave(429, count=99, retry_after_s=60)
        began = time.monotonic()
        error = failure(client.deployments, platform.token, VercelRefused)
        assert (error.status, error.code) == (429, "rate_limited")
        assert "60 s" in error.next
        assert time.monotonic() - began < 30

    def test_500_is_repeated_a_few_times(self, platform: StandIn, client: VercelClient) -> None:
        platform.misbehave(500, count=2)
        assert client.deployments()
        platform.misbehave(500, count=4)
        assert failure(client.deployments, platform.token, VercelRefused).status == 500
        assert client.deployments()  # four were all that it asked

    def test_what_is_no_api_is_told_so(self, platform: StandIn, client: VercelClient) -> None:
        platform.misbehave("garbage")
        assert "not what the vendor documents" in failure(client.deployments, platform.token).what

    def test_nobody_there(self, platform: StandIn) -> None:
        with closed_port() as port, platform.client(api_url=f"http://127.0.0.1:{port}") as client:
            error = failure(client.deployments, platform.token, VercelRefused)
        assert "ConnectError" in error.what
        assert error.status is None


@contextmanager
def closed_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
