"""Starts the platform's stand-in as the sandbox does: a process of its own, on sockets that the starter bound."""

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from toolkit.adapters.vercel import VercelClient, VercelConfig
from toolkit.clock import wait_until
from toolkit.errors import PlatformError, ToolkitError
from toolkit.lifeline import Lifeline, spawn

FAKE_SERVICE = Path(__file__).with_name("fake_service.py")
BUILDS = range(6, 13)


@dataclass
class StandIn:
    """A running stand-in. `api` and `production` are clients of its two addresses; `api` carries the token."""

    process: "subprocess.Popen[bytes]"
    lifeline: Lifeline
    token: str
    api_url: str
    production_url: str
    service_log: Path
    api: httpx.Client
    production: httpx.Client
    project_id: str = "prj_test"
    team_id: str = "team_test"

    @classmethod
    def start(cls, folder: Path, **more: Any) -> "StandIn":
        """Start one whose deployments run the fake service; `more` are further keys of its configuration."""
        sockets = [_listening(), _listening()]
        api_url, production_url = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in sockets)
        token = secrets.token_hex(16)
        log, path = folder / "service.log", folder / "platform.json"
        config = {
            "project_id": cls.project_id,
            "team_id": cls.team_id,
            "token": token,
            "api_fd": sockets[0].fileno(),
            "production_fd": sockets[1].fileno(),
            "api_url": api_url,
            "production_url": production_url,
            "service_log": str(log),
            "environment": {"WHOP_WEBHOOK_SECRET": "whsec-hidden", "PROCESSING_ENABLED": "true"},
            "builds": list(BUILDS),
            "past_builds": [6, 7, 8],
            "service_argv": [sys.executable, str(FAKE_SERVICE)],
            "build_s": 0.05,
            **more,
        }
        path.touch(0o600)
        path.write_text(json.dumps(config))
        line = Lifeline.create()
        argv = [sys.executable, "-m", "toolkit.drill.platform", path]
        with (folder / "platform.err").open("wb") as err:
            process = spawn(argv, lifeline=line, pass_fds=[s.fileno() for s in sockets], stderr=err)
        for each in sockets:
            each.close()
        headers = {"Authorization": f"Bearer {token}"}
        api = httpx.Client(base_url=api_url, headers=headers, trust_env=False, timeout=20)
        production = httpx.Client(base_url=production_url, trust_env=False, timeout=20)
        return cls(process, line, token, api_url, production_url, log, api, production)

    def client(self, **more: Any) -> VercelClient:
        """The production client of this stand-in; `more` are further keys of its configuration."""
        config = {"api_url": self.api_url, "token": self.token, "project_id": self.project_id}
        return VercelClient(VercelConfig.model_validate(config | {"team_id": self.team_id} | more))

    def stop(self) -> None:
        """End it in order, and close what the test held open."""
        self.api.close()
        self.production.close()
        self.lifeline.cut()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # What tests ask again and again

    def deployments(self, **query: Any) -> list[dict[str, Any]]:
        """The list of the API, newest first."""
        return self.api.get("/v6/deployments", params=query).raise_for_status().json()["deployments"]

    def past(self, build: int) -> str:
        """The id of the past production deployment of a build."""
        listed = self.deployments(target="production", state="READY")
        return next(d["uid"] for d in reversed(listed) if d["meta"]["schemaVersion"] == str(build))

    def serving(self) -> int:
        """Which build answers at the production address."""
        return int(self.production.get("/whoami").raise_for_status().json()["BUILD"])

    def project(self) -> dict[str, Any]:
        return self.api.get(f"/v9/projects/{self.project_id}?rollbackInfo=true").raise_for_status().json()

    def alias_status(self) -> str | None:
        return (self.project()["lastAliasRequest"] or {}).get("jobStatus")

    def wait_for_alias(self, status: str = "succeeded") -> None:
        wait_until(lambda: self.alias_status() == status, within=10, what=f"the alias request to be {status}")

    def deploy(self, build: int, target: str = "production") -> str:
        """Create a deployment and wait until it is built and assigned or staged."""
        body = {"name": "churn-saver", "target": target, "meta": {"schemaVersion": str(build)}}
        made = self.api.post("/v13/deployments", json=body).raise_for_status().json()["id"]
        return self.wait_for_build(made)

    def wait_for_build(self, deployment: str) -> str:
        def built() -> bool:
            body = self.api.get(f"/v13/deployments/{deployment}").json()
            return body["readyState"] == "READY" and body["aliasAssigned"]

        wait_until(built, within=15, what=f"{deployment} to be built")
        return deployment

    def running(self) -> dict[str, int]:
        """Deployment id to process id."""
        return self.api.get("/stand-in/processes").json()["running"]

    def misbehave(self, answer: int | str, **more: Any) -> None:
        self.api.post("/stand-in/misbehave", json={"answer": answer, **more}).raise_for_status()


def failure(act: Callable[[], object], token: str, kind: type[ToolkitError] = PlatformError) -> Any:
    """The error of an act, of which no part, and nothing that led to it, holds the token."""
    with pytest.raises(kind) as caught:
        act()
    error = caught.value
    assert token not in f"{error!s} {error!r} {vars(error)}"
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def _listening() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    return listening
