"""A rollback that is killed, whose server dies or whose line is cut, goes on and loses nothing: a spread sample here.

`make soak` plays every cell and prints the table. What the matrix is made of is held against the engine here.
"""

import importlib
from typing import get_args

import pytest
from crash_cell import Seen, play
from crash_matrix import table
from crash_points import POINTS
from crash_types import BY, CELLS, TYPES, UNDISTURBED, Cell

from toolkit.rollback.emergency import STAGES
from toolkit.rollback.plan import Action, Way

SAMPLE = (
    "1 frozen, run-down-9, about to commit, server",
    "1 mending, mend-9, about to commit, line",
    "2 application, point-production, after, runner",
    "3 databases, swap-in, closed, runner",
    "4 breach, end-sessions, ended, line",
)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if str(cell) in SAMPLE], ids=str)
def test_it_goes_on_and_loses_nothing(cell: Cell) -> None:
    assert play(cell).wrong == []


def test_the_sample_is_of_every_kind_of_rollback_and_of_crash() -> None:
    sample = [cell for cell in CELLS if str(cell) in SAMPLE]
    assert len(sample) == len(SAMPLE)
    assert {cell.type.name[0] for cell in sample} == {cell.type.name[0] for cell in CELLS}
    assert {cell.by for cell in sample} == set(BY)


def test_the_matrix_has_every_action_way_and_stage_of_a_plan() -> None:
    """Whatever a plan can be made of stands in some type; that a type's steps are its plan's, each cell sees.

    What the platform's own API does once (`recover-by-platform`) has nothing to strike at here.
    """
    steps = {(step, kind) for each in TYPES for step, kind in each.steps.items()}
    ways = get_args(Way)
    actions = {get_args(action.__annotations__["kind"])[0] for action in get_args(get_args(Action)[0])}
    assert {kind.partition(" ")[0] for _, kind in steps} == actions - {"recover-by-platform"}
    assert {kind for _, kind in steps if " by " in kind} == {
        f"{action} by {way}" for action in ("restore-beside", "swap-in") for way in ways
    }
    assert {step for step, kind in steps if kind == "release-writes"} == {f"release-{stage}" for stage, _ in STAGES}
    assert {kind for _, kind in steps} == set(POINTS)


def test_each_step_is_hit_before_inside_and_after_and_by_everything() -> None:
    for each in TYPES:
        own = [cell for cell in CELLS if cell.type is each]
        assert [cell.at for cell in own].count(UNDISTURBED) == 1
        for step in each.steps:
            hit = {(cell.at, cell.by) for cell in own if cell.step == step}
            last = each.points(step)[-1].name
            assert hit >= {("before", "runner"), ("after", "runner"), *((last, by) for by in BY)}
    kinds = {(cell.type.steps[cell.step], cell.at, cell.by) for cell in CELLS if cell.step}
    assert kinds >= {(kind, point.name, by) for kind, points in POINTS.items() for point in points for by in BY}


@pytest.mark.parametrize("target", sorted({point.target for points in POINTS.values() for point in points}))
def test_each_point_names_a_function_of_the_engine(target: str) -> None:
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(found)


def test_a_crash_that_did_not_happen_is_wrong() -> None:
    """A cell whose strike never comes must not pass: here it waits for a step that this plan does not have."""
    (real,) = [cell for cell in CELLS if str(cell) == "2 application, point-production, before, runner"]
    seen = play(Cell(real.type, "run-down-9", "before", "runner"))
    assert "the crash did not happen" in seen.wrong


def test_the_table_counts_what_is_wrong() -> None:
    told = table({CELLS[0]: Seen(runs=1, seconds=2.0), CELLS[1]: Seen(wrong=["lost: 1"])})
    assert "as it should be" in told and "lost: 1" in told and told.endswith("2 cells, 1 wrong")
