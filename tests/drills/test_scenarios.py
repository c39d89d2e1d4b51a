"""Every scenario is found, answered as its file says, proved, and costs no acknowledged write."""

import json
from pathlib import Path

import pytest
from crash_types import CELLS
from test_crash_matrix import SAMPLE as CRASHES

from toolkit.drill.scenario import load_scenario, scenario_names

DEFAULT = "breaking-migration"  # `test_drill` runs it
BY_HAND = "irreversible-migration"  # `test_notebooks` plays it in 10_drill


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in scenario_names() if name != DEFAULT])
def test_it_is_healed_and_nothing_is_lost(name: str, run_scenario, tmp_path: Path) -> None:
    folder = tmp_path / name
    done = run_scenario(name, folder, 1)
    assert done.exit_code == 0, done.said[-2000:]
    score = json.loads((folder / "score.json").read_text())
    assert (score["outcome"], score["verified"], score["lost"]) == ("resolved", True, 0)
    assert score["severity"] == load_scenario(name).severity
    assert score["acknowledged"] > 200 and score["time_to_detect_s"] > 0


def test_each_scenario_is_played_without_a_soak() -> None:
    by_crashes = {cell.type.scenario for cell in CELLS if str(cell) in CRASHES}
    assert {DEFAULT, BY_HAND} | (by_crashes - {None}) == set(scenario_names())
