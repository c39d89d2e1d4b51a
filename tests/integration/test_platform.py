"""The stand-in as a process, over its two sockets: what visitors get while production moves, crashes and is rebuilt."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from stand_in import StandIn

from toolkit.clock import wait_until


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path)
    running.serving()
    yield running
    running.stop()
    assert (tmp_path / "platform.err").read_text() == ""


def roll_back(platform: StandIn, build: int, version: str = "v1") -> httpx.Response:
    path = f"/{version}/projects/{platform.project_id}/rollback/{platform.past(build)}"
    return platform.api.post(path, params={"description": "a test"})


def promote(platform: StandIn, deployment: str) -> None:
    platform.api.post(f"/v10/projects/{platform.project_id}/promote/{deployment}").raise_for_status()
    platform.wait_for_alias()


class TestProduction:
    def test_it_serves_the_live_deployment_and_says_which(self, platform: StandIn) -> None:
        answer = platform.production.get("/whoami")
        assert answer.json()["BUILD"] == "8"
        assert answer.headers["x-vercel-deployment-id"] == answer.json()["DEPLOYMENT_ID"] == platform.past(8)
        assert answer.headers["x-vercel-id"].startswith("iad1::")

    def test_a_request_reaches_the_service_as_it_was_sent(self, platform: StandIn) -> None:
        headers = {
            "x-whop-signature": "sig",
            "x-request-id": "r1",
            "connection": "x-own",
            "x-own": "1",
            "te": "trailers",
        }
        told = platform.production.post("/echo?a=%20b&c", content=b"{body}", headers=headers).json()
        assert (told["method"], told["path"], told["body"]) == ("POST", "/echo?a=%20b&c", "{body}")
        assert (told["headers"]["x-whop-signature"], told["headers"]["x-request-id"]) == ("sig", "r1")
        assert not {"x-own", "te", "connection"} & set(told["headers"])
        assert told["headers"]["x-forwarded-for"] == "127.0.0.1"

    def test_an_answer_comes_back_as_it_was_given(self, platform: StandIn) -> None:
        answer = platform.production.get("/whoami")
        assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert "connection" not in answer.headers
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert platform.production.get("/echo").json()["headers"]["cookie"] == "a=1; b=2"  # the visitor's own
        with httpx.Client(base_url=platform.production_url, trust_env=False) as other:
            assert "cookie" not in other.get("/echo").json()["headers"]

    def test_a_deployment_answers_under_its_own_host(self, platform: StandIn) -> None:
        host = platform.api.get(f"/v13/deployments/{platform.past(6)}").json()["url"]
        assert platform.production.get("/whoami", headers={"Host": host}).json()["BUILD"] == "6"
        assert platform.serving() == 8

    def test_too_large_a_body_is_refused(self, platform: StandIn) -> None:
        answer = platform.production.post("/echo", content=b"x" * 4_800_000)
        assert (answer.status_code, "FUNCTION_PAYLOAD_TOO_LARGE" in answer.text) == (413, True)

    def test_what_does_not_answer_in_time_is_a_504(self, tmp_path: Path) -> None:
        platform = StandIn.start(tmp_path, function_timeout_s=0.5)
        try:
            answer = platform.production.get("/slow?3")
            assert (answer.status_code, answer.headers["x-vercel-error"]) == (504, "FUNCTION_INVOCATION_TIMEOUT")
        finally:
            platform.stop()


class TestCrash:
    def test_a_crash_is_a_502_and_the_next_request_starts_it_again(self, platform: StandIn) -> None:
        answer = platform.production.post("/crash")
        assert (answer.status_code, answer.headers["x-vercel-error"]) == (502, "NO_RESPONSE_FROM_FUNCTION")
        assert answer.text.startswith("An error occurred with this application.\n\nNO_RESPONSE_FROM_FUNCTION\n\niad1::")
        assert platform.serving() == 8

    def test_a_killed_process_is_replaced(self, platform: StandIn) -> None:
        platform.serving()
        first = platform.running()[platform.past(8)]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: platform.past(8) not in platform.running(), within=5, what="the end")
        assert platform.serving() == 8
        assert platform.running()[platform.past(8)] != first

    def test_one_that_dies_at_its_start_goes_live_and_fails(self, tmp_path: Path) -> None:
        environment = {"DIES_AT_START": "9"}
        platform = StandIn.start(tmp_path, environment=environment)
        try:
            platform.deploy(9)
            wait_until(lambda: platform.production.get("/whoami").status_code == 502, within=5, what="build 9")
            assert roll_back(platform, 8).status_code == 201
            platform.wait_for_alias()
            assert platform.serving() == 8
        finally:
            platform.stop()

    def test_the_platforms_own_failure_is_in_the_log(self, platform: StandIn) -> None:
        platform.production.get("/crash?secret=1")
        failed = [json.loads(line) for line in platform.service_log.read_text().splitlines()][-1]
        assert (failed["status"], failed["path"], failed["build"]) == (502, "/crash", 8)
        assert failed["error"]["type"] == "NO_RESPONSE_FROM_FUNCTION"


class TestSwitch:
    @pytest.mark.parametrize("version", ["v1", "v9"])
    def test_rollback(self, platform: StandIn, version: str) -> None:
        before = platform.past(8)
        assert roll_back(platform, 7, version).status_code == 201
        platform.wait_for_alias()
        assert platform.serving() == 7
        project = platform.project()
        assert project["targets"]["production"]["id"] == platform.past(7)
        assert project["autoAssignCustomDomains"] is False
        assert project["lastAliasRequest"]["fromDeploymentId"] == before
        if version == "v1":
            assert project["rollbackDescription"]["description"] == "a test"
        again = roll_back(platform, 7)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")

    def test_after_a_rollback_a_push_is_staged_until_promoted(self, platform: StandIn) -> None:
        roll_back(platform, 7)
        platform.wait_for_alias()
        staged = platform.deploy(9)
        assert platform.serving() == 7
        promote(platform, staged)
        assert platform.serving() == 9
        platform.deploy(10)
        assert platform.serving() == 10

    def test_an_old_deployment_keeps_its_old_environment(self, platform: StandIn) -> None:
        body = {"key": "K", "value": "new", "type": "plain", "target": ["production"]}
        platform.api.post(f"/v10/projects/{platform.project_id}/env", json=body).raise_for_status()
        assert platform.production.get("/whoami").json()["K"] is None
        body = {
            "deploymentId": platform.past(8),
            "name": "churn-saver",
            "target": "production",
            "meta": {"action": "redeploy"},
        }
        made = platform.api.post("/v13/deployments?forceNew=1", json=body).raise_for_status().json()
        platform.wait_for_build(made["id"])
        told = platform.production.get("/whoami").json()
        assert (told["K"], told["BUILD"], told["DEPLOYMENT_ID"]) == ("new", "8", made["id"])
        path = f"/v9/projects/{platform.project_id}/rollback/{platform.past(7)}"
        platform.api.post(path, json={}).raise_for_status()
        platform.wait_for_alias()
        assert platform.production.get("/whoami").json()["K"] is None

    @pytest.mark.parametrize("status", ["skipped", "failed"])
    def test_a_request_may_come_to_nothing(self, platform: StandIn, status: str) -> None:
        platform.misbehave(status)
        roll_back(platform, 7)
        platform.wait_for_alias(status)
        assert platform.serving() == 8
        path = f"/v9/projects/{platform.project_id}/rollback/aliases?failedOnly=true&limit=20"
        assert bool(platform.api.get(path).json()["aliases"]) == (status == "failed")

    def test_visitors_notice_nothing_and_requests_finish_where_they_began(self, platform: StandIn) -> None:
        answers: Counter[Any] = Counter()
        stop = threading.Event()
        slow: dict[str, Any] = {}

        def visit() -> None:
            with httpx.Client(base_url=platform.production_url, trust_env=False, timeout=20) as client:
                while not stop.is_set():
                    answer = client.post("/whoami", content=b"x")
                    answers[answer.status_code, answer.headers.get("x-vercel-deployment-id")] += 1

        def linger() -> None:
            slow.update(httpx.get(f"{platform.production_url}/slow?2", trust_env=False, timeout=20).json())

        platform.serving()
        threads = [threading.Thread(target=visit) for _ in range(3)] + [threading.Thread(target=linger)]
        for thread in threads:
            thread.start()
        for build in (7, 6, 8):  # after the second, what was live at first is two steps old and is ended
            path = f"/v9/projects/{platform.project_id}/rollback/{platform.past(build)}"
            platform.api.post(path, json={}).raise_for_status()
            platform.wait_for_alias()
        stop.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {200}
        assert {name for _, name in answers} >= {platform.past(6), platform.past(7)}
        assert slow["BUILD"] == "8"

    def test_the_two_latest_processes_stay(self, platform: StandIn) -> None:
        platform.serving()
        for build in (7, 6):
            roll_back(platform, build)
            platform.wait_for_alias()
        wanted = {platform.past(7), platform.past(6)}
        wait_until(lambda: set(platform.running()) == wanted, within=10, what="the oldest process to end")


class TestLogs:
    def test_each_line_is_appended_whole(self, platform: StandIn) -> None:
        for _ in range(19):
            platform.serving()
        lines = [json.loads(line) for line in platform.service_log.read_text().splitlines()]
        assert Counter(line["path"] for line in lines)["/whoami"] == 20
        assert {line["deployment"] for line in lines} == {platform.past(8)}

    def test_runtime_logs_stream_from_now_on(self, platform: StandIn) -> None:
        platform.serving()
        path = f"/v1/projects/{platform.project_id}/deployments/{platform.past(8)}/runtime-logs"
        with platform.api.stream("GET", path) as stream:
            platform.production.get("/echo")
            row = json.loads(next(stream.iter_lines()))
        assert json.loads(row["message"])["path"] == row["requestPath"] == "/echo"
        assert (row["level"], row["requestMethod"], row["responseStatusCode"]) == ("info", "GET", 200)
        assert abs(row["timestampInMs"] / 1000 - time.time()) < 60


class TestEnd:
    def test_no_process_outlives_it(self, tmp_path: Path) -> None:
        for ending in (signal.SIGTERM, signal.SIGKILL):
            (folder := tmp_path / ending.name).mkdir()
            platform = StandIn.start(folder)
            platform.serving()
            child = psutil.Process(platform.running()[platform.past(8)])
            path = f"/v1/projects/{platform.project_id}/deployments/{platform.past(8)}/runtime-logs"
            with platform.api.stream("GET", path):  # an open stream does not hold it up
                platform.process.send_signal(ending)
                platform.process.wait(2.5)
            if ending is signal.SIGKILL:
                platform.lifeline.cut()
            wait_until(lambda child=child: not child.is_running(), within=10, what="the service to end")
            platform.stop()

    def test_an_orderly_end_is_status_0(self, tmp_path: Path) -> None:
        platform = StandIn.start(tmp_path)
        platform.serving()
        platform.process.terminate()
        assert platform.process.wait(10) == 0
        platform.stop()
