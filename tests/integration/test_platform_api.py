"""The stand-in's REST API: who may ask, what is refused and how, limits, lists, variables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stand_in import StandIn


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One for all: no test here moves production."""
    running = StandIn.start(tmp_path_factory.mktemp("platform"))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def unlimited(platform: StandIn) -> Iterator[None]:
    yield
    platform.api.put("/stand-in/limit", json={"requests": None})
    platform.api.delete("/stand-in/misbehave")


def error(answer: httpx.Response) -> dict[str, Any]:
    return answer.json()["error"]


@pytest.mark.parametrize(("header", "status"), [(None, 401), ("Basic b2s6", 401), ("Bearer wrong", 403)])
@pytest.mark.parametrize("path", ["/v6/deployments", "/v2/user", "/stand-in/processes", "/nowhere"])
def test_nothing_is_told_without_the_token(platform: StandIn, header: str | None, status: int, path: str) -> None:
    headers = {"Authorization": header} if header else {}
    answer = httpx.get(platform.api_url + path, headers=headers, trust_env=False)
    assert (answer.status_code, error(answer)["code"]) == (status, "forbidden")


def test_another_team_is_refused(platform: StandIn) -> None:
    answer = platform.api.get("/v6/deployments?teamId=team_other")
    assert (answer.status_code, error(answer)["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v13/deployments/dpl_none"),
        ("GET", "/v9/projects/prj_none"),
        ("POST", "/v1/projects/prj_none/rollback/dpl_none"),
        ("POST", "/v1/projects/prj_test/rollback/dpl_none"),
        ("PATCH", "/v9/projects/prj_test/env/none"),
        ("GET", "/v1/projects/prj_none/deployments/x/runtime-logs"),
        ("GET", "/v4/aliases/none.example"),
        ("GET", "/v99/nothing"),
    ],
)
def test_what_is_not_there_is_a_404(platform: StandIn, method: str, path: str) -> None:
    answer = platform.api.request(method, path, json={} if method != "GET" else None)
    assert (answer.status_code, error(answer)["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[1]",
        b'{"name":"churn-saver","target":"production","meta":{"schemaVersion":"99"}}',
        b'{"name":"other","target":"production","meta":{"schemaVersion":"9"}}',
        b'{"name":"churn-saver","target":"moon","meta":{"schemaVersion":"9"}}',
    ],
)
def test_a_wrong_body_is_a_400_and_builds_nothing(platform: StandIn, content: bytes) -> None:
    before = len(platform.deployments())
    answer = platform.api.post("/v13/deployments", content=content)
    assert (answer.status_code, error(answer)["code"]) == (400, "bad_request")
    assert len(platform.deployments()) == before


def test_the_rate_limit_answers_429_with_when_to_come_back(platform: StandIn) -> None:
    platform.api.put("/stand-in/limit", json={"requests": 1, "window_s": 60}).raise_for_status()
    first, second = (platform.api.get("/v2/user") for _ in range(2))
    assert (first.status_code, first.headers["x-ratelimit-remaining"]) == (200, "0")
    assert (second.status_code, error(second)["code"]) == (429, "rate_limited")
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert set(error(second)["limit"]) == {"remaining", "reset", "resetMs", "total"}


@pytest.mark.parametrize(("answer", "status"), [(500, 500), (429, 429)])
def test_it_misbehaves_as_often_as_it_is_told(platform: StandIn, answer: int, status: int) -> None:
    platform.misbehave(answer, count=2, path="/v6/")
    assert platform.api.get("/v2/user").status_code == 200
    assert [platform.api.get("/v6/deployments").status_code for _ in range(3)] == [status, status, 200]


@pytest.mark.parametrize("version", ["v6", "v7"])
def test_lists_are_paged_and_hold_what_clients_require(platform: StandIn, version: str) -> None:
    seen, until = [], None
    for _ in range(10):
        query = {"projectId": platform.project_id, "limit": 2} | ({"until": until} if until else {})
        body = platform.api.get(f"/{version}/deployments", params=query).json()
        seen += body["deployments"]
        if not (until := body["pagination"]["next"]):
            break
    assert [d["readyState"] for d in seen] == ["ERROR", "READY", "READY", "READY", "READY"]
    required = {
        "uid",
        "name",
        "projectId",
        "url",
        "created",
        "createdAt",
        "creator",
        "inspectorUrl",
        "readyState",
        "type",
    }
    assert all(required <= set(d) for d in seen)
    assert [d["uid"] for d in seen] == [d["uid"] for d in platform.deployments()]


def test_production_is_found_by_each_of_its_names(platform: StandIn) -> None:
    names = ["churn-saver.vercel.app", platform.production_url.removeprefix("http://"), platform.past(8)]
    for name in names:
        body = platform.api.get(f"/v13/deployments/{name}").raise_for_status().json()
        assert (body["id"], body["aliasAssigned"], body["team"]["id"]) == (platform.past(8), True, platform.team_id)
    alias = platform.api.get(f"/v4/aliases/{names[0]}").json()
    assert alias["deploymentId"] == platform.past(8)


def test_values_of_variables_are_not_given_back(platform: StandIn) -> None:
    path = f"/v10/projects/{platform.project_id}/env"
    created = [
        platform.api.post(path, json={"key": f"N_{type_}", "value": "hide-me", "type": type_, "target": ["production"]})
        for type_ in ("encrypted", "sensitive")
    ]
    assert [answer.status_code for answer in created] == [201, 201]
    told = platform.api.get(path + "?decrypt=true").text + "".join(answer.text for answer in created)
    assert "hide-me" not in told
    assert "whsec-hidden" not in told
    assert "hide-me" not in platform.api.post(path, json={"key": "1", "value": "hide-me", "type": [], "target": 3}).text


@pytest.mark.parametrize("version", ["v9", "v10"])
def test_variables_are_created_changed_and_removed(platform: StandIn, version: str) -> None:
    path = f"/v10/projects/{platform.project_id}/env"
    body = {"key": f"EDIT_{version}", "value": "a", "type": "plain", "target": ["production"]}
    made = platform.api.post(path, json=body).json()["created"]
    assert error(platform.api.post(path, json=body))["code"] == "ENV_CONFLICT"
    assert platform.api.post(path + "?upsert=true", json=body | {"value": "b"}).json()["created"]["id"] == made["id"]
    one = path.replace("v10", version) + "/" + made["id"]
    assert platform.api.patch(one, json={"value": "c"}).json()["value"] == "c"
    several = platform.api.post(path, json=[body, body | {"key": f"OTHER_{version}"}]).json()
    assert (len(several["created"]), several["failed"][0]["error"]["code"]) == (1, "ENV_CONFLICT")
    assert platform.api.delete(one).status_code == 200
    assert made["id"] not in {v["id"] for v in platform.api.get(path).json()["envs"]}


def test_build_events_tell_why_a_build_failed(platform: StandIn) -> None:
    failed = platform.deployments(state="ERROR")[0]["uid"]
    events = platform.api.get(f"/v3/deployments/{failed}/events").json()
    assert events[-1]["text"] == "Command exited with 1"


def test_the_token_is_in_no_file_but_the_configuration(platform: StandIn) -> None:
    platform.serving()
    folder: Path = platform.service_log.parent
    assert [p.name for p in folder.iterdir() if platform.token in p.read_text()] == ["platform.json"]
