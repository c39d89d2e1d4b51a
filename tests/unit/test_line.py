"""The line of a drill: what opened before the fault is no detection of it; what was not done is not claimed."""

import errno
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from toolkit.cli.drill_display import summary
from toolkit.drill import line
from toolkit.drill.hypothesis import Look
from toolkit.drill.line import Drill
from toolkit.drill.scenario import load_scenario
from toolkit.errors import ToolkitError
from toolkit.playbook import Severity


class RunningSandbox:
    """One that lacks nothing."""

    state = None

    def check(self) -> None: ...


@pytest.fixture
def drill(tmp_path: Path) -> Drill:
    made = Drill(load_scenario("breaking-migration"), 1, tmp_path)
    made.sandbox = RunningSandbox()
    made.incident.record("monitor.started", {}, actor="monitor")
    return made


def test_nothing_is_broken_where_an_incident_is_open_already(drill: Drill) -> None:
    drill.incident.open(Severity.P1, ["a false alarm"], actor="monitor")
    with pytest.raises(ToolkitError, match="false alarm detects nothing"):
        drill.break_it()
    assert not drill.facilitator.entries()


def test_an_alarm_from_before_the_fault_is_no_detection(drill: Drill) -> None:
    drill.incident.open(Severity.P1, ["a false alarm"], actor="monitor")
    drill.facilitator.append("fault.begun", {}, actor="facilitator")
    with pytest.raises(ToolkitError, match="false alarm detects nothing"):
        drill.wait_for_incident()


def test_one_from_after_it_is_and_the_hypothesis_is_looked_at(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Look("at most 2% of the requests fail", False, "60 of 100 failed in 3 s")
    monkeypatch.setattr(line, "look", lambda *_: [failing])
    drill.facilitator.append("fault.begun", {}, actor="facilitator")
    drill.incident.open(Severity.P1, ["requests fail"], actor="monitor")
    drill.wait_for_incident()
    looked = drill.facilitator.entries()[-1]
    assert (looked.kind, looked.data["when"], looked.data["holds"]) == ("hypothesis.looked", "during", False)
    assert drill.stopped_by is None


def test_a_fault_during_which_all_is_well_stops_the_line(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "look", lambda *_: [Look("webhooks are acknowledged", True, "60 in 3 s")])
    monkeypatch.setattr(line, "FAILS_WITHIN_S", 0.5)
    drill.facilitator.append("fault.begun", {}, actor="facilitator")
    drill.incident.open(Severity.P1, ["requests fail"], actor="monitor")
    drill.wait_for_incident()
    assert "hypothesis holds during the fault" in (drill.stopped_by or "")


def test_a_score_finds_room_on_a_full_disk_or_none_is_left(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    write, reserve = Path.write_text, drill.folder / "facilitator.reserve"

    def write_on_a_full_disk(path: Path, text: str) -> int:
        written = write(path, text[: len(text) // 2])
        if reserve.exists() or not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    monkeypatch.setattr(Path, "write_text", write_on_a_full_disk)
    room, drill.stopped_by = False, "the ledger is full"
    with pytest.raises(ToolkitError, match=r"No space left on device, and before that: the ledger is full") as refused:
        drill.finish()
    assert str(drill.folder) in str(refused.value) and not any("score" in each.name for each in drill.folder.iterdir())
    room = True
    drill.finish()
    assert (drill.folder / "score.json").exists() and not list(drill.folder.glob(".score*"))


def test_a_drill_that_came_to_nothing_claims_no_check_and_no_report(drill: Drill) -> None:
    score = drill.finish()
    assert score.checks == {"pass": 0, "fail": 0, "unknown": 0}
    told = Console(file=StringIO(), width=200)
    summary(score, drill.folder, told)
    said = told.file.getvalue()
    assert "none ran" in said and "postmortem.html" not in said and f"the evidence is in {drill.folder}" in said
    (drill.folder / "postmortem.html").touch()
    summary(score, drill.folder, told)
    assert f"Report: {drill.folder / 'postmortem.html'}" in told.file.getvalue()
