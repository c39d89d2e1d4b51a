"""The official Vercel CLI against the stand-in: what it says, how it exits, and what production serves afterwards."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from npm_package import installed_package
from stand_in import StandIn

VERSION = "60.1.3"

pytestmark = pytest.mark.clients

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cli(node: str) -> list[str]:
    """The words that start it."""
    return [node, str(installed_package("vercel", VERSION) / "dist" / "vc.js")]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[StandIn]:
    running = StandIn.start(tmp_path)
    running.serving()
    yield running
    running.stop()


@pytest.fixture
def vercel(cli: list[str], platform: StandIn, tmp_path: Path) -> Run:
    """Runs it with an empty home, linked to the project by its environment; the token is in no argument list."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "VERCEL_TOKEN": platform.token,
        "VERCEL_ORG_ID": platform.team_id,
        "VERCEL_PROJECT_ID": platform.project_id,
        "VERCEL_TELEMETRY_DISABLED": "1",
        "NO_UPDATE_NOTIFIER": "1",
        "NO_COLOR": "1",
        "CI": "1",
    }

    def run(*words: str, exits: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*cli, "--api", platform.api_url, *words],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == exits, f"{words}\n{done.stdout}\n{done.stderr}"
        assert platform.token not in done.stdout + done.stderr
        return done

    return run


def test_its_version_is_the_one_that_was_meant(vercel: Run) -> None:
    assert vercel("--version").stdout.strip() == VERSION


@pytest.mark.parametrize("words", [("ls",), ("ls", "churn-saver")])
def test_ls(platform: StandIn, vercel: Run, words: tuple[str, ...]) -> None:
    shown = vercel(*words).stdout.split()
    assert shown == [f"https://{d['url']}" for d in platform.deployments()]


def test_ls_of_production_pages_by_time(platform: StandIn, vercel: Run) -> None:
    wanted = [f"https://{d['url']}" for d in platform.deployments(target="production")]
    assert vercel("ls", "--environment", "production", "--limit", "2").stdout.split() == wanted[:2]


def test_inspect(platform: StandIn, vercel: Run) -> None:
    told = vercel("inspect", platform.past(7)).stderr
    assert re.search(rf"id\s+{platform.past(7)}", told)
    assert re.search(r"target\s+production", told)
    assert "Ready" in told
    live = vercel("inspect", "churn-saver.vercel.app").stderr
    assert platform.past(8) in live
    assert "https://churn-saver.vercel.app" in live


def test_rollback_status_and_promote(platform: StandIn, vercel: Run) -> None:
    assert "No deployment rollback in progress" in vercel("rollback", "status").stderr
    told = vercel("rollback", platform.past(7), "--yes").stderr
    assert "Success! churn-saver was rolled back to" in told
    assert platform.serving() == 7
    assert platform.past(7) in vercel("rollback", "status").stderr
    assert platform.project()["autoAssignCustomDomains"] is False

    staged = platform.deploy(9)
    assert platform.serving() == 7
    assert "Success! churn-saver was promoted to" in vercel("promote", staged, "--yes").stderr
    assert platform.serving() == 9
    assert platform.project()["autoAssignCustomDomains"] is True


def test_rollback_by_host(platform: StandIn, vercel: Run) -> None:
    host = platform.api.get(f"/v13/deployments/{platform.past(6)}").json()["url"]
    vercel("rollback", f"https://{host}", "--yes")
    assert platform.serving() == 6


def test_rolling_back_to_what_is_live_is_refused(platform: StandIn, vercel: Run) -> None:
    assert "409" in vercel("rollback", platform.past(8), "--yes", exits=1).stderr
    assert platform.serving() == 8


def test_a_deployment_that_never_served_is_refused(platform: StandIn, vercel: Run) -> None:
    failed = platform.deployments(state="ERROR")[0]["uid"]
    assert "422" in vercel("rollback", failed, "--yes", exits=1).stderr
    assert platform.serving() == 8


def test_its_exit_status_is_no_proof(platform: StandIn, vercel: Run) -> None:
    platform.misbehave("skipped")
    assert "skipped" in vercel("rollback", platform.past(7), "--yes", exits=0).stderr
    assert platform.serving() == 8


def test_a_failed_switch_names_what_was_not_moved(platform: StandIn, vercel: Run) -> None:
    platform.misbehave("failed")
    told = vercel("rollback", platform.past(7), "--yes", exits=1).stderr
    assert "Failed to remap all aliases" in told
    assert "churn-saver.vercel.app" in told
    assert platform.serving() == 8


def test_promoting_a_preview_builds_it_again_for_production(platform: StandIn, vercel: Run) -> None:
    preview = platform.deploy(9, target="preview")
    assert "Successfully created new deployment" in vercel("promote", preview, "--yes").stderr
    newest = platform.wait_for_build(platform.deployments()[0]["uid"])
    assert newest != preview
    assert platform.serving() == 9


def test_variables_reach_what_is_built_after_them(platform: StandIn, vercel: Run) -> None:
    listed = vercel("env", "ls").stdout
    assert "WHOP_WEBHOOK_SECRET" in listed
    assert "whsec-hidden" not in listed
    vercel("env", "add", "K", "production", "--value", "V", "--yes")
    assert re.search(r"K\s+Hidden\s+Secret\s+Production", vercel("env", "ls").stdout)
    assert platform.production.get("/whoami").json()["K"] is None
    vercel("redeploy", platform.past(8))
    assert platform.production.get("/whoami").json()["K"] == "V"
    vercel("env", "update", "K", "production", "--value", "W", "--yes")
    assert platform.production.get("/whoami").json()["K"] == "V"


def test_a_wrong_token_is_told(platform: StandIn, vercel: Run) -> None:
    told = vercel("ls", "--token", "wrongtoken", exits=1).stderr
    assert "token" in told.lower()
