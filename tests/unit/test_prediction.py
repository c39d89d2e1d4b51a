"""The post-mortem sets what a rehearsal predicted beside what came of it, and cites both."""

from collections.abc import Callable
from pathlib import Path

import pytest
from incident_folder import Pen

from toolkit.analysis import analyse
from toolkit.playbook import load_playbook
from toolkit.report import write_postmortem

STEPS = [{"id": "point-production", "what": "Point production"}, {"id": "run-down-9", "what": "Run the down of 9"}]
PLAN = {"plan": "a1b2", "kind": "migration", "target": "sandbox", "summary": "Back to 8", "steps": STEPS}
LOCK = "AccessExclusiveLock on public.recovery_cases"
KEPT = {"what": "5,310 × columns failure_category of recovery_cases in salvage_x.y", "rows": 5310}
REHEARSED = {
    "plan": "a1b2",
    "outcome": "pass",
    "why": "",
    "restored_s": 3.5,
    "seconds": 6.25,
    "steps": [
        {"step": "point-production", "tried": False, "seconds": 0.0, "locks": [], "held_s": None, "salvaged": []},
        {"step": "run-down-9", "tried": True, "seconds": 0.4, "locks": [LOCK], "held_s": 0.3, "salvaged": [KEPT]},
    ],
}
Told = Callable[[], str]


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    return Pen(tmp_path / "journal.jsonl")


@pytest.fixture
def section(tmp_path: Path) -> Told:
    """The report's section on the rehearsal."""

    def told() -> str:
        book = load_playbook(Path(__file__).parents[2] / "playbook.toml")
        text = write_postmortem(analyse(tmp_path, book)).markdown.read_text()
        return text.partition("### Prediction and reality")[2].partition("### Verification")[0]

    return told


def row(section: str, what: str) -> list[str]:
    line = next(each for each in section.splitlines() if each.startswith(f"| {what}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def carried_out(pen: Pen) -> None:
    pen(20.0, "runner", "plan.made", PLAN | {"execute": True})
    pen(23.0, "runner", "step.done", {"plan": "a1b2", "step": "point-production", "seconds": 2.1, "outcome": "ok"})
    for held_s in (0.2, 0.7):
        lock = {"mode": "AccessExclusiveLock", "relation": "public.recovery_cases"}
        pen(24.0, "runner", "step.locks", {"plan": "a1b2", "step": "run-down-9", "locks": [lock], "held_s": held_s})
    pen(24.1, "runner", "step.salvaged", {"plan": "a1b2", "step": "run-down-9", "salvaged": [KEPT]})
    pen(25.0, "runner", "step.done", {"plan": "a1b2", "step": "run-down-9", "seconds": 1.5, "outcome": "ok"})


def test_each_step_s_prediction_stands_beside_what_came_of_it(pen: Pen, section: Told) -> None:
    pen(9.0, "operator", "rehearsal.made", REHEARSED | {"plan": "another", "outcome": "fail"})
    pen(10.0, "operator", "rehearsal.made", REHEARSED)
    carried_out(pen)
    told = section()
    assert "rehearsed on a copy in 6.2 s, 3.5 s of it for the copy. Outcome: **pass**. [[J2](#J2)]" in told
    assert "1 step that the copy could try: 0.4 s predicted, 1.5 s taken [[J2](#J2)]." in told
    down = row(told, "Run the down of 9")
    assert down[1:3] == ["0.4 s", "1.5 s"]
    assert down[3].endswith("for 0.3 s") and down[4].endswith("for 0.7 s"), "the longest of the parts"
    assert all("public" in cell and "AccessExclusiveLock" in cell for cell in down[3:5])
    assert "5,310" in down[5] and down[5] == down[6]
    assert "J5" in down[7] and "J8" in down[7]
    assert row(told, "Point production")[1:3] == ["not tried", "2.1 s"]


def test_what_was_not_carried_out_is_not_made_up(pen: Pen, section: Told) -> None:
    pen(10.0, "operator", "rehearsal.made", REHEARSED)
    pen(20.0, "runner", "plan.made", PLAN | {"execute": True})
    told = section()
    assert row(told, "Run the down of 9")[2:5:2] == ["not done", "–"]
    assert "nothing can be compared" in told


def test_without_a_rehearsal_the_reason_is_told(pen: Pen, section: Told) -> None:
    carried_out(pen)
    assert "not measured" in section()
    pen(26.0, "operator", "rehearsal.skipped", {"plan": "a1b2", "why": "no time"})
    assert "The plan was not rehearsed: no time [[J7](#J7)]." in section()
