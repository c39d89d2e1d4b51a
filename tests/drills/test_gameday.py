"""A game day as a person meets it: nothing is given away, it outlives the terminal, nothing outlives its director."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from toolkit.cli import main
from toolkit.clock import wait_until
from toolkit.drill.gameday.current import look
from toolkit.drill.gameday.place import GameDayState, home, kept_plan
from toolkit.drill.gameday.sheets import FOLDER
from toolkit.drill.state import is_running
from toolkit.incident import Incident
from toolkit.journal import inspect
from toolkit.notebook.kernels import cool_down
from toolkit.notebook.run import run_notebook

SCENARIO, DEFECT = "bad-deployment", "payments-crash"
ROOT = Path(__file__).parents[2]


class Player:
    """Who plays, at a terminal: commands in a runtime folder of his own."""

    def __init__(self, command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._command, self.folder, self._capsys = command, folder, capsys

    def __call__(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Give a command, in this process, which has it imported; returns its answer."""
        with pytest.raises(SystemExit) as ended:
            main(["gameday", *words, "--json"])
        out, err = self._capsys.readouterr()
        assert (ended.value.code or 0) == code and "Traceback" not in err, err
        return json.loads(out)

    def start(self, *words: str) -> dict[str, Any]:
        """At a terminal of its own, which is closed then."""
        argv = [*self._command, "gameday", "start", "--scenario", SCENARIO, "--out", str(self.folder)]
        argv += ["--seed", "3", "--json", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=280, start_new_session=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def incident(self) -> Incident:
        return Incident(self.folder)


@pytest.fixture
def player(
    toolkit_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Player]:
    """In a runtime folder of its own: the lever of a test must stop nobody else's drill."""
    with tempfile.TemporaryDirectory(prefix="rd-") as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        played = Player(toolkit_command, tmp_path / f"{os.getpid()}-played", capsys)
        yield played
        if (state := GameDayState.read()) is not None:
            if state.alive:
                os.kill(state.pid, signal.SIGKILL)
                wait_until(lambda: not belongings(folder), within=30, what="every process to end")
            shutil.rmtree(state.sheets or tmp_path / "none", ignore_errors=True)


def belongings(folder: str) -> list[psutil.Process]:
    """Every process that was started in that runtime folder."""
    found = []
    for each in psutil.process_iter(["environ"]):
        if (each.info["environ"] or {}).get("TMPDIR") == folder and each.pid != os.getpid():
            found.append(each)
    return found


def what_a_player_sees(player: Player, family: list[psutil.Process]) -> dict[str, str]:
    """All files but the director's own, the notebooks, and what a process list shows."""
    runtime = home().parent
    folders = [player.folder, *(each for each in runtime.iterdir() if each.is_dir() and each != home()), FOLDER]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "pgdata" not in path.parts]
    seen = {str(path): path.read_bytes().decode(errors="replace") for path in files if not path.is_socket()}
    for each in family:
        with suppress(psutil.NoSuchProcess):
            seen[f"process {each.pid}"] = f"{each.cmdline()} {each.environ()}"
    seen["names"] = " ".join(str(path) for path in files)
    return seen


@pytest.mark.soak  # a minute and a half; `test-clients` plays one, too, where there is a browser
def test_a_hidden_one_gives_nothing_away_and_ends_with_a_score_and_the_facilitators_part(player: Player) -> None:
    started = player.start("--hidden", "--within", "3-6", "--difficulty", "medium")
    assert started["told"] == {} and started["hidden"] is True
    state = GameDayState.read()
    assert state is not None and state.alive, "its starter has ended, and it goes on"
    wait_until(lambda: player.incident.state, within=60, what="an incident", every=0.2)
    family = [psutil.Process(state.pid), *psutil.Process(state.pid).children(recursive=True)]
    assert len(family) > 6
    seen = what_a_player_sees(player, family)
    assert any("01_assess.ipynb" in name for name in seen) and any(name.endswith("service.log") for name in seen)
    telling = [name for name, content in seen.items() if SCENARIO in content]
    telling += [name for name, content in seen.items() if DEFECT in content and not name.startswith("process")]
    assert not telling, telling  # that the crashing code's own process knows its defect is nothing one comes upon
    status = player("status")
    assert (status["phase"], status["incident"]) == ("running", "open") and SCENARIO not in json.dumps(status)
    check_help(player)
    check_further_fault(player)
    assert player("finish", code=2)["next"] == "if you mean it: --yes"
    score = player("finish", "--yes", code=1)
    assert (score["outcome"], score["hypothesis"]["during"]) == ("detected", False)
    assert (score["game_day"]["hints"], score["game_day"]["hints_cost_s"]) == (1, 30.0)
    assert score["game_day"]["answer_seen_s"] > 0 and score["acknowledged"] > 0
    assert [each["scenario"] for each in score["game_day"]["faults"]] == [SCENARIO, "stuck-queue"]
    wait_until(lambda: not any(each.is_running() for each in family), within=30, what="every process to end")
    check_evidence(player)


def check_help(player: Player) -> None:
    hint = player("hint")
    assert "error_rate" in hint["hint"] and (hint["cost_s"], hint["left"]) == (30.0, 2)
    assert player("answer", code=2)["next"] == "if you mean it: --yes"
    answers = player("answer", "--yes")["answers"]
    assert {row["by the key"] for row in answers} == {"right", "wrong"}


def check_further_fault(player: Player) -> None:
    refused = player("inject", "ahead-of-schema", code=2)
    assert refused["error"] == "ahead-of-schema cannot come on top: the deployment is broken already"
    player("inject", "stuck-queue")
    assert player("mend", "start the jobs again")["done"]


def check_evidence(player: Player) -> None:
    """The facilitator's journal is whole and beside the incident, and the report has both sides."""
    assert inspect(player.folder / "facilitator.jsonl").problems == ()
    assert not [path.name for path in home().iterdir() if path.name in ("plan.json", "facilitator.jsonl")]
    told = (player.folder / "postmortem.md").read_text()
    for sentence in (
        "Hint 1 was given, at a cost of 30 s",
        "The answer was looked at",
        "on top of what was broken: `stuck-queue`",
        "Put right by hand: start the jobs again",
    ):
        line = next((line for line in told.splitlines() if sentence in line), "")
        assert line, sentence
        assert ("facilitator)" in line) is (not sentence.startswith("Put right")), line
    assert (player.folder / "notebooks" / "13_gameday.ipynb").exists(), "the copies are kept as evidence"
    check_headless(player)
    assert look().phase == "ended" and player("status")["phase"] == "ended"


def check_headless(player: Player) -> None:
    """Its notebook on papermill, where nobody can click: a picture, tables, the score."""
    output = player.folder / "13.ipynb"
    try:
        run_notebook("13_gameday", output, {"live": False})
    finally:
        cool_down()
    outs = [out for cell in nbformat.read(output, 4).cells for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outs) == 1
    told = " ".join(out["data"].get("text/html", "") for out in outs if "data" in out)
    assert "Not passed" in told and "hints / their cost" in told and "image/svg+xml" in told


@pytest.mark.soak
def test_the_lever_stops_all_of_it_and_no_fault_is_put_in_until_it_is_released(player: Player) -> None:
    player.start("--within", "3600-3600", "--shown")
    state = GameDayState.read()
    assert state is not None
    assert player("hint", code=2)["error"] == "There is no incident yet, and no hint"
    assert player("inject", code=2)["error"] == "Nothing can come on top yet"
    assert "running already" in player("start", "--difficulty", "hard", code=2)["error"]
    family = [psutil.Process(state.pid), *psutil.Process(state.pid).children(recursive=True)]
    aborted = player("abort", "--reason", "production has an incident")
    assert aborted["folder"] == str(player.folder)
    wait_until(lambda: not any(each.is_running() for each in family), within=30, what="every process to end")
    score = json.loads((player.folder / "score.json").read_text())
    assert score["stopped_by"] == "aborted: production has an incident" and score["lost"] is None
    assert inspect(player.folder / "facilitator.jsonl").problems == ()
    assert (
        "aborted" in (player.folder / "facilitator.jsonl").read_text() and (player.folder / "requests.parquet").exists()
    )
    assert "production has an incident" in player("start", code=2)["error"]
    player("release")


@pytest.mark.soak
def test_a_director_that_is_killed_leaves_nothing_running_and_its_evidence_is_not_lost(player: Player) -> None:
    player.start("--hidden", "--within", "2-3")
    state = GameDayState.read()
    assert state is not None and kept_plan().scenario == SCENARIO
    wait_until(lambda: player.incident.state, within=60, what="an incident", every=0.2)
    family = psutil.Process(state.pid).children(recursive=True)
    os.kill(state.pid, signal.SIGKILL)
    wait_until(lambda: not any(each.is_running() for each in family), within=30, what="every process to end")
    assert not is_running(state.pid, state.started) and player("status")["phase"] == "died"
    assert "ended" in player("hint", code=1)["error"]
    score = player("finish", "--yes", code=1)
    assert score["stopped_by"] == "its director ended by itself" and score["acknowledged"] is None
    assert score["time_to_detect_s"] > 0 and score["requests"] > 0
    assert inspect(player.folder / "facilitator.jsonl").problems == ()
    assert (player.folder / "postmortem.html").exists()
    assert "No game day" in player("hint", code=2)["error"]
