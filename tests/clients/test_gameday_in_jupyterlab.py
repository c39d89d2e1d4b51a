"""A game day played as a person plays it: in JupyterLab, in a real headless Chromium, from its start to the score.

Skips where the extra `browser` or a Chromium is not there. Pictures of what was seen are left in the test's folder.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from toolkit.adapters import browser
from toolkit.clock import wait_until
from toolkit.drill.gameday.figures import GameDayScore
from toolkit.drill.gameday.place import GameDayState
from toolkit.drill.gameday.sheets import FOLDER
from toolkit.errors import DeadlineExceeded
from toolkit.incident import Incident, State

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
TOKEN = "only-for-this-test"
SLOW_S = 240.0
OWN_FOLDERS = ("JUPYTERLAB_WORKSPACES_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
DECIDED = "\ndecision = 'migration'\nreason = 'code and schema came together'"
MEANT = "\nexecute = True"
TOLD = "\noverride = 'a game day: nobody outside it is told'"

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1200)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the evidence will be; the game day has a runtime folder of its own."""
    with tempfile.TemporaryDirectory(prefix="rd-") as runtime:
        Path(runtime).chmod(0o711)
        monkeypatch.setenv("TMPDIR", runtime)
        monkeypatch.setattr(tempfile, "tempdir", runtime)
        evidence = tmp_path / f"{os.getpid()}-played"
        yield evidence
        state = GameDayState.read()
        if state is not None and state.alive:
            os.kill(state.pid, signal.SIGKILL)
            wait_until(lambda: not [*Path(runtime).glob("*/sandbox-*")], within=60, what="the sandbox to end")
        shutil.rmtree(FOLDER / evidence.name, ignore_errors=True)


@pytest.fixture
def lab(folder: Path) -> Iterator[str]:
    """JupyterLab as `make lab` starts it, with a port and a token of its own; the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [BIN / "jupyter", "lab", "--notebook-dir=notebooks", "--no-browser", f"--port={port}"]
    argv += [f"--IdentityProvider.token={TOKEN}", *(["--allow-root"] if os.geteuid() == 0 else [])]
    log = folder.with_suffix(".lab.log")
    own = {name: str(folder.with_suffix(f".{name.lower()}")) for name in OWN_FOLDERS}
    quiet = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with log.open("wb") as said:
        process = subprocess.Popen(
            argv, cwd=ROOT, env=dict(os.environ) | own, stdout=said, stderr=said, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        with suppress(OSError), urllib.request.urlopen(f"{address}/api/status?token={TOKEN}", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    wait_until(answers, within=SLOW_S, what="JupyterLab to answer", every=0.5)
    yield address
    process.send_signal(signal.SIGTERM)  # it ends its kernels
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed: NO browser")
    with playwright.sync_playwright() as driver:
        try:
            program = browser._program(driver.chromium.executable_path)
        except browser.NoBrowserError as error:
            pytest.skip(f"{error.what}: NO browser played")
        opened = driver.chromium.launch(executable_path=program, args=list(browser.OPTIONS))
        try:
            shown = opened.new_page(viewport={"width": 1400, "height": 1500})
            shown.set_default_timeout(SLOW_S * 1000)
            yield shown
            shown.screenshot(path=str(tmp_path / "at-the-end.png"))
        finally:
            opened.close()


def ran(prompt: str, before: str) -> bool:
    """Whether a cell's prompt has another number than before."""
    return bool(re.search(r"\d", prompt)) and prompt != before


class Person:
    """Who plays: looks at the page, clicks, types."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.incident = Incident(folder)
        self._verified = 0

    @property
    def notebook(self) -> Any:
        """The one in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def wait_for(self, seen: Callable[[], Any], what: str) -> Any:
        return wait_until(seen, within=SLOW_S, what=what, every=0.5)

    def run_all(self) -> None:
        """By the menu. What is asked for before its kernel is there is lost, and asked for again."""
        prompt = self.notebook.locator(".jp-CodeCell .jp-InputPrompt").first
        before = prompt.inner_text()
        for _ in range(4):
            self.wait_for(self.kernel_is_there, "a kernel that waits for work")
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
            with suppress(DeadlineExceeded):
                wait_until(lambda: ran(prompt.inner_text(), before), within=60, what="a cell to run", every=0.5)
                return
        raise AssertionError("no kernel ran a cell")

    def kernel_is_there(self) -> bool:
        """By the status bar. What JupyterLab asks meanwhile, in a dialog, is answered as it suggests."""
        accept = self.page.locator("dialog.jp-Dialog button.jp-mod-accept")
        if accept.count():
            self.look("dialog")
            accept.first.click()
        return "| Idle" in str(self.page.locator("#jp-main-statusbar").inner_text())

    def play(self, name: str, typed: str, came_of_it: Callable[[], Any]) -> None:
        """Follow the board's link, add lines to the parameters, run it, and come back when it shows in the journal."""
        self.notebook.locator(f"a:has-text('{name}')").first.click()
        self.wait_for(lambda: f"{name}.ipynb" in self.page.locator(".lm-mod-current.jp-mod-current").inner_text(), name)
        self.notebook.locator(".jp-CodeCell .cm-content").first.click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.insert_text(typed)
        self.run_all()
        self.wait_for(came_of_it, f"what {name} does")
        self.look(name)
        self.page.locator(".lm-TabBar-tab:has-text('13_gameday')").click()

    def look(self, name: str) -> None:
        self.page.screenshot(path=str(self.folder.parent / f"{name}.png"))

    def board(self) -> str:
        """What it says just now."""
        return "\n".join(self.notebook.locator(".jp-OutputArea-output").all_inner_texts())

    def chart(self) -> str:
        return str(self.notebook.locator("img.widget-image").first.get_attribute("src"))

    def latest(self, kind: str, **wanted: object) -> bool:
        entry = self.incident.latest(kind)
        return entry is not None and all(entry.data.get(name) == value for name, value in wanted.items())

    def resolved(self) -> bool:
        """Whether it is. What did not pass (on a machine that is too busy, the latency) is verified again."""
        entry = self.incident.latest("verification.made")
        if entry is not None and entry.seq > self._verified and entry.data["outcome"] != "pass":
            self._verified = entry.seq
            self.run_all()
        return self.incident.state is State.RESOLVED


def start(folder: Path) -> None:
    argv = [BIN / "toolkit", "gameday", "start", "--scenario", "breaking-migration", "--hidden", "--seed", "3"]
    argv += ["--within", "30-31", "--out", folder]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"gameday/{folder.name}/13_gameday.ipynb" in done.stdout


def test_a_person_plays_a_game_day_from_start_to_score(folder: Path, lab: str, page: Any) -> None:
    start(folder)
    person = Person(page, folder)
    page.goto(f"{lab}/lab/tree/gameday/{folder.name}/13_gameday.ipynb?token={TOKEN}")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
    person.run_all()
    watch(person)
    person.play("01_assess", DECIDED, lambda: person.latest("decision.made"))
    person.play("02_stabilize", MEANT, lambda: person.latest("backup.made"))
    person.play("03_rollback", MEANT + TOLD, lambda: person.incident.state is State.MITIGATED)
    person.play("04_verify", "", person.resolved)
    end(person)


def watch(person: Person) -> None:
    """The board opens, its chart and the incident's clock move by themselves, and a hint is had by a click."""
    person.wait_for(lambda: "What next" in person.board(), "the board")
    before = person.chart()
    person.wait_for(lambda: person.chart() != before, "another chart")
    person.wait_for(lambda: "Incident open" in person.board(), "the incident on the board")
    if (state := GameDayState.read()) is not None and state.trouble:
        pytest.skip(f"{state.trouble} The machine is too busy: NOBODY played")
    clock = person.board().split("Incident open")[1].splitlines()[0]
    person.wait_for(lambda: clock not in person.board(), "the clock to go on")
    assert "breaking-migration" not in person.board()
    person.page.get_by_role("button", name="Give me a hint").click()
    person.wait_for(lambda: "Hint 1, at 30 s" in person.board(), "the hint")
    person.look("13_gameday")


def end(person: Person) -> None:
    """Finish by two clicks, and see the score: on the board, in the notebook's last cell, and in the file."""
    person.wait_for(lambda: "Incident resolved" in person.board(), "the board to tell of the resolution")
    person.page.get_by_role("button", name="Finish the game day").click()
    person.page.get_by_role("button", name="Yes, end it").click()
    person.wait_for(lambda: "The score:" in person.board(), "the score")
    person.look("score")
    score = GameDayScore.model_validate_json((person.folder / "score.json").read_text())
    assert (score.outcome, score.verified, score.lost, score.decision.verdict) == ("resolved", True, 0, "right")
    assert (score.game_day.hints, score.game_day.hidden) == (1, True)
    verdict = "passed" if score.passed else "not passed"  # on a machine that is too busy answers stay slow
    assert f"The score: {verdict}" in person.board() and (score.passed or "less than 1500 ms" in str(score.stopped_by))
    told = (person.folder / "postmortem.md").read_text()
    assert "It was decided" in told and "Hint 1 was given" in told
    person.run_all()
    person.wait_for(lambda: score.outcome in person.board() and "game day: ended" in person.board(), "the result below")
