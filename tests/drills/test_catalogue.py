"""Each scenario is what it says: the steady-state hypothesis holds before its fault, fails during it, holds again after
the right answer, and does not hold after a wrong one; and the assessment recommends nothing that the key calls wrong.

The whole catalogue takes three quarters of an hour: it is soaked, all but what other tests play.
"""

import json
from pathlib import Path

import pytest

from toolkit.drill.fault_kinds import Disk
from toolkit.drill.scenario import RESPONSES, load_scenario, scenario_names

NAMES = scenario_names()
WRONG = [(name, load_scenario(name).wrong_answers[0].rollback) for name in NAMES]


def needs_a_disk(name: str) -> bool:
    return any(isinstance(fault, Disk) for fault in load_scenario(name).faults)


def played(run_scenario, name: str, folder: Path, *more: str) -> dict:
    done = run_scenario(name, folder, 1, *more)
    if needs_a_disk(name) and "cannot be mounted" in done.said + json.dumps(done.printed):
        pytest.skip("a disk of its own cannot be mounted here")
    return json.loads((folder / "score.json").read_text())


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_heals_and_loses_nothing(name: str, run_scenario, tmp_path: Path) -> None:
    score, scenario = played(run_scenario, name, tmp_path / "drill"), load_scenario(name)
    assert score["hypothesis"] == {"before": True, "during": False, "after": True}, score["stopped_by"]
    assert (score["outcome"], score["verified"], score["stopped_by"]) == ("resolved", True, None)
    assert [score[each] for each in ("lost", "duplicated", "unexpected", "effects_wrong")] == [0, 0, 0, 0]
    assert score["acknowledged"] > 200
    assert score["decision"]["verdict"] == "right"
    assert score["decision"]["recommendation"] != "wrong", score["decision"]
    assert score["severity"] == scenario.severity


@pytest.mark.soak
@pytest.mark.parametrize(("name", "answer"), WRONG, ids=[f"{name}-{answer}" for name, answer in WRONG])
def test_a_wrong_answer_does_not_heal(name: str, answer: str, run_scenario, tmp_path: Path) -> None:
    score = played(run_scenario, name, tmp_path / "drill", "--answer", answer)
    assert score["hypothesis"] == {"before": True, "during": False, "after": False}
    assert not score["verified"]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_tells_right_from_wrong(name: str) -> None:
    scenario = load_scenario(name)
    assert {each.rollback for each in (*scenario.right_answers, *scenario.wrong_answers)} <= set(RESPONSES)
    assert [scenario.verdict(each.rollback) for each in scenario.right_answers] == ["right"] * len(
        scenario.right_answers
    )
    assert scenario.verdict(scenario.wrong_answers[0].rollback) == "wrong"
    assert scenario.teaches.strip() and scenario.story.strip()


def test_the_catalogue_covers_all_types_and_the_playbooks_gravest_lines() -> None:
    scenarios = [load_scenario(name) for name in NAMES]
    assert len(scenarios) >= 16
    types = {each.rollback_type for each in scenarios}
    assert {"migration", "application", "restore", "emergency"} <= types
    assert {"P0", "P1"} <= {str(each.severity) for each in scenarios}
    assert len([each for each in scenarios if each.sources]) >= 2
