"""The sandbox's dashboard in a real headless Chromium; skips where the extra or a browser is not there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.adapters import browser
from toolkit.adapters.systems import Systems, connect
from toolkit.checks import CheckResult, Outcome, overall, run_checks
from toolkit.drill.sandbox import Sandbox
from toolkit.drill.state import SandboxOptions
from toolkit.playbook import BrowserLook, load_playbook
from toolkit.verify.browser import browser_checks

PLAYBOOK = load_playbook(Path(__file__).parents[2] / "playbook.toml")
SHOWS = ("Newest cases", "recovery rate", "Export as CSV")

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    pytest.importorskip("playwright", reason="the extra `browser` is not installed: NO browser looked")
    options = SandboxOptions(evidence=tmp_path_factory.mktemp("browser") / "evidence", events=200, cases=40)
    with Sandbox.start(f"test-{os.getpid()}-browser", options, attached=True) as sandbox:
        systems = connect(PLAYBOOK, PLAYBOOK.target("sandbox", sandbox.state.environment()))
        yield systems
        systems.platform.close()
        systems.service.close()


def seen(live: Systems, **look: object) -> CheckResult:
    wanted = BrowserLook(**{"path": "/dashboard", "shows": SHOWS, "within_s": 60} | look)  # type: ignore[arg-type]
    playbook = live.playbook.model_copy(
        update={"verification": live.playbook.verification.model_copy(update={"browser": (wanted,)})}
    )
    other = Systems(playbook, live.target, live.database, live.platform, live.service)
    (result,) = run_checks(browser_checks(other))
    if "There is no Chromium here" in result.evidence:
        pytest.skip(f"{result.evidence}: NO browser looked")
    return result


def test_the_dashboard_is_seen(live: Systems) -> None:
    found = seen(live)
    assert found.outcome is Outcome.PASS and "200, 'Dashboard · Churn Saver'" in found.evidence, found.evidence


def test_words_that_are_not_there_and_pages_that_are_not_fail(live: Systems) -> None:
    found = seen(live, shows=("recovery rate", "Lost cases"))
    assert found.outcome is Outcome.FAIL and "it does not show Lost cases" in found.evidence
    assert seen(live, path="/no-such-page", shows=()).outcome is Outcome.FAIL


def test_a_script_that_fails_is_told(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="the extra `browser` is not installed: NO browser looked")
    page = tmp_path / "page.html"
    page.write_text("<title>x</title><body>fine<script>nobody()</script>")
    try:
        found = browser.see_page(page.as_uri(), within_s=60)
    except browser.NoBrowserError as error:
        pytest.skip(f"{error.what}: NO browser looked")
    assert (found.text, found.complaints) == ("fine", ("a script failed: ReferenceError",))


@pytest.mark.parametrize(("required", "outcome"), [(False, Outcome.PASS), (True, Outcome.UNKNOWN)])
def test_where_there_is_no_browser_it_says_so(
    live: Systems, monkeypatch: pytest.MonkeyPatch, required: bool, outcome: Outcome
) -> None:
    good = seen(live)

    def none(_own: str) -> str:
        raise browser.NoBrowserError("There is none", next="install one")

    monkeypatch.setattr(browser, "_program", none)
    found = seen(live, required=required)
    assert found.outcome is Outcome.UNKNOWN and found.evidence == "not looked: There is none; install one"
    assert overall([good, found]) is outcome
