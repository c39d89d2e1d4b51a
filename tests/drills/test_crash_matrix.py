"""A rollback that is killed, whose server dies or whose line is cut, goes on and loses nothing: a spread sample here.

`make soak` plays every cell and prints the table.
"""

import pytest
from crash_cell import CELLS, Cell, play

SAMPLE = (
    "1 mending, mend-9, server",
    "2 application, point-production, after",
    "3 restore, swap-in, during",
    "4 emergency, freeze-writes, line",
)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if str(cell) in SAMPLE], ids=str)
def test_it_goes_on_and_loses_nothing(cell: Cell) -> None:
    seen = play(cell)
    assert seen.hit, "the crash did not happen"
    assert seen.wrong == []


def test_the_sample_is_of_every_kind_of_rollback() -> None:
    assert {cell.type.name[0] for cell in CELLS if str(cell) in SAMPLE} == {cell.type.name[0] for cell in CELLS}
    assert len(SAMPLE) == sum(str(cell) in SAMPLE for cell in CELLS)
