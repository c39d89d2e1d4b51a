"""The client against a scripted transport: what the stand-in cannot be brought to do."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from toolkit.adapters.vercel import VercelClient, VercelConfig, VercelRefused
from toolkit.errors import PlatformError, UnverifiedError

TOKEN = "tok-0123456789"
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, **more: Any) -> VercelClient:
    config = {"api_url": "http://127.0.0.1:1", "token": TOKEN, "project_id": "prj_1", "team_id": "team_1"} | more
    return VercelClient(VercelConfig.model_validate(config), transport=httpx.MockTransport(handler))


def deployment(name: str, **more: Any) -> dict[str, Any]:
    body = {"id": name, "url": f"{name}.vercel.app", "name": "churn-saver", "createdAt": 1, "readyState": "READY"}
    return body | {"projectId": "prj_1", "target": "production", "aliasAssigned": True} | more


def refused(status: int, code: str = "x", message: str = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": message}}, headers=headers)


class Vendor:
    """A vendor in miniature: hosts lead to deployments, and `on_switch` decides what a rollback or promote does."""

    def __init__(self, **hosts: str) -> None:
        self.hosts = hosts
        self.last: dict[str, Any] | None = None
        self.asked: list[str] = []
        self.on_switch: Handler = lambda request: httpx.Response(201, json={})
        self.blind = False  # reading fails

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.url.params["teamId"] == "team_1"
        path = request.url.path
        if request.method == "POST":
            self.asked.append(path)
            return self.on_switch(request)
        if self.blind:
            return refused(503)
        if path == "/v9/projects/prj_1":
            names = [{"domain": host, "target": "PRODUCTION"} for host in self.hosts]
            names.append({"domain": "old.example", "target": "PRODUCTION", "redirect": "new.example"})  # type: ignore[dict-item]
            return httpx.Response(
                200, json={"id": "prj_1", "name": "churn-saver", "alias": names, "lastAliasRequest": self.last}
            )
        name = path.rsplit("/", 1)[1]
        return httpx.Response(200, json=deployment(self.hosts.get(name, name)))

    def request(self, to: str, status: str, kind: str = "rollback", at: int = 1) -> None:
        self.last = {"type": kind, "toDeploymentId": to, "jobStatus": status, "requestedAt": at}


class TestSwitching:
    def test_success_by_status_is_no_success(self) -> None:
        vendor = Vendor(a="dpl_old")

        def switch(request: httpx.Request) -> httpx.Response:
            vendor.request("dpl_new", "succeeded")
            return httpx.Response(201, json={})

        vendor.on_switch = switch
        with pytest.raises(PlatformError, match="does not point at dpl_new"):
            client(vendor).rollback("dpl_new", description="x", within=0.6)

    def test_half_of_the_names_is_not_done(self) -> None:
        vendor = Vendor(a="dpl_old", b="dpl_old")

        def switch(request: httpx.Request) -> httpx.Response:
            vendor.hosts["a"] = "dpl_new"
            return httpx.Response(201, json={})

        vendor.on_switch = switch
        with pytest.raises(PlatformError) as caught:
            client(vendor).rollback("dpl_new", description="x", within=0.6)
        assert caught.value.state is not None
        assert "dpl_new and dpl_old" in caught.value.state
        vendor.hosts["b"] = "dpl_new"
        assert client(vendor).rollback("dpl_new", description="x", within=0.6).already

    def test_blind_afterwards_is_unverified(self) -> None:
        vendor = Vendor(a="dpl_old")

        def switch(request: httpx.Request) -> httpx.Response:
            vendor.blind = True
            return httpx.Response(201, json={})

        vendor.on_switch = switch
        with pytest.raises(UnverifiedError) as caught:
            client(vendor).promote("dpl_new", within=0.6)
        assert caught.value.exit_code == 3

    def test_blind_before_asks_for_nothing(self) -> None:
        vendor = Vendor(a="dpl_old")
        vendor.blind = True
        with pytest.raises(VercelRefused):
            client(vendor, timeout_s=0.5).rollback("dpl_new", description="x", within=5)
        assert vendor.asked == []

    def test_a_wish_that_is_under_way_already_is_waited_for(self) -> None:
        vendor = Vendor(a="dpl_old")
        vendor.request("dpl_new", "in-progress")

        def switch(request: httpx.Request) -> httpx.Response:
            vendor.hosts["a"] = "dpl_new"
            return refused(409, "conflict")

        vendor.on_switch = switch
        done = client(vendor).rollback("dpl_new", description="x", within=2)
        assert (done.already, done.previous) == (False, "dpl_old")

    def test_somebody_elses_wish_is_a_409(self) -> None:
        vendor = Vendor(a="dpl_old")
        vendor.request("dpl_other", "in-progress", kind="promote")
        vendor.on_switch = lambda request: refused(409, "conflict", "A promote is in progress")
        with pytest.raises(VercelRefused) as caught:
            client(vendor).rollback("dpl_new", description="x", within=2)
        assert caught.value.status == 409
        assert "dpl_old" in str(caught.value)

    def test_an_old_failure_is_not_taken_for_this_one(self) -> None:
        vendor = Vendor(a="dpl_old")
        vendor.request("dpl_new", "skipped", at=1)
        looks = 0

        def switch(request: httpx.Request) -> httpx.Response:
            return httpx.Response(201, json={})

        def watching(request: httpx.Request) -> httpx.Response:
            nonlocal looks
            looks += request.url.path == "/v9/projects/prj_1"
            if looks == 3:
                vendor.hosts["a"] = "dpl_new"
            return vendor(request)

        vendor.on_switch = switch
        assert client(watching).rollback("dpl_new", description="x", within=5).id == "dpl_new"

    def test_the_configured_name_goes_before_the_projects_own(self) -> None:
        vendor = Vendor(a="dpl_old", shop="dpl_new")
        assert client(vendor, production_host="shop").rollback("dpl_new", description="x", within=1).already

    def test_another_projects_deployment_is_refused(self) -> None:
        with pytest.raises(PlatformError, match="another project"):
            client(lambda _: httpx.Response(200, json=deployment("d", projectId="prj_2"))).deployment("d")


class TestCalls:
    @pytest.mark.parametrize(
        ("status", "calls"), [(401, 1), (402, 1), (403, 1), (404, 1), (409, 1), (429, 4), (500, 4)]
    )
    def test_only_what_may_pass_is_repeated(self, status: int, calls: int) -> None:
        asked = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return refused(status, "code", f"said {TOKEN}")

        with pytest.raises(VercelRefused) as caught:
            client(answer).deployments()
        assert (caught.value.status, caught.value.code, len(asked)) == (status, "code", calls)
        assert caught.value.next
        assert TOKEN not in str(caught.value)

    def test_a_build_is_repeated_only_where_it_was_not_begun(self) -> None:
        def made_after(first: httpx.Response | Exception) -> int:
            asked = []

            def answer(request: httpx.Request) -> httpx.Response:
                asked.append(request)
                if len(asked) > 1:
                    return httpx.Response(200, json=deployment("d"))
                if isinstance(first, Exception):
                    raise first
                return first

            client(answer).create_deployment(name="n", meta={})
            return len(asked)

        assert made_after(refused(429)) == 2
        assert made_after(httpx.ConnectError("no")) == 2
        for lost in (refused(502), httpx.ReadTimeout("late"), httpx.RemoteProtocolError("cut")):
            with pytest.raises(VercelRefused) as caught:
                made_after(lost)
            assert caught.value.in_doubt

    def test_lists_are_read_page_by_page(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            until, limit = int(request.url.params.get("until", 1000)), int(request.url.params["limit"])
            assert limit <= 100
            found = [deployment(f"d{n}", createdAt=n) for n in range(until - 1, until - 1 - limit, -1)]
            return httpx.Response(200, json={"deployments": found, "pagination": {"next": until - limit}})

        found = client(answer).deployments(limit=250)
        assert [d.id for d in found] == [f"d{n}" for n in range(999, 749, -1)]

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{}", b'{"deployments": [{"uid": "secret-value"}], "pagination": {}}']
    )
    def test_an_answer_of_another_shape_names_the_field_and_no_value(self, body: bytes) -> None:
        with pytest.raises(PlatformError, match="not what the vendor documents") as caught:
            client(lambda _: httpx.Response(200, content=body)).deployments()
        assert "secret-value" not in str(caught.value)

    def test_redirects_are_not_followed(self) -> None:
        with pytest.raises(VercelRefused) as caught:
            client(lambda _: httpx.Response(302, headers={"Location": "http://127.0.0.1:2"})).deployments()
        assert caught.value.status == 302

    def test_an_endless_answer_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("toolkit.adapters.vercel_calls.LARGEST_ANSWER", 10)
        with pytest.raises(PlatformError):
            client(lambda _: httpx.Response(200, content=b" " * 20)).deployments()

    def test_log_rows_become_lines_and_the_delimiter_ends_them(self) -> None:
        row = {"rowId": "1", "level": "error", "message": "m", "source": "serverless", "timestampInMs": 1000}
        rows = [row, {**row, "responseStatusCode": 500}, {**row, "source": "delimiter"}, row]
        text = "\n\n".join(json.dumps(each) for each in rows)
        lines = list(client(lambda _: httpx.Response(200, text=text)).runtime_logs("d", within=1))
        assert [line.status for line in lines] == [None, 500]
        assert lines[0].at.isoformat() == "1970-01-01T00:00:01+00:00"


class TestConfig:
    @pytest.mark.parametrize(
        "url", ["http://api.example.com", "ftp://127.0.0.1", "https://user:pw@api.example.com", "api"]
    )
    def test_an_address_that_would_leak_the_token_is_refused(self, url: str) -> None:
        with pytest.raises(ValidationError) as caught:
            VercelConfig(api_url=url, token=TOKEN, project_id="p")  # type: ignore[arg-type]
        assert TOKEN not in str(caught.value)
        assert "pw" not in str(caught.value)

    @pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "ümlaut"])
    def test_a_token_that_cannot_be_sent_is_refused_unseen(self, token: str) -> None:
        with pytest.raises(ValidationError) as caught:
            VercelConfig(token=token, project_id="p")  # type: ignore[arg-type]
        assert not token.strip() or token not in str(caught.value)

    def test_a_newline_at_its_end_does_no_harm(self) -> None:
        config = VercelConfig(token=TOKEN + "\n", project_id="p")  # type: ignore[arg-type]
        assert config.token.get_secret_value() == TOKEN
        assert TOKEN not in repr(config)
