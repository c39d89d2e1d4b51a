"""`make bench`: how long the default drill takes, and how much of it each notebook costs beyond its own work.

The overhead of a notebook is the time that running it took, less the time of its cells (papermill records both). It is
compared with plain papermill, in the same run and on the same machine, over a notebook that imports what ours import.
"""

import json
import statistics
import time
from pathlib import Path

import nbformat
import papermill
from rich.console import Console
from rich.table import Table

from toolkit.drill.line import Drill
from toolkit.drill.scenario import load_scenario
from toolkit.incident import Incident
from toolkit.notebook.kernels import cool_down, warm_up

SEEDS = (1, 2, 3)
TARGET_WALL_S, TARGET_OVERHEAD_S = 75, 10
IMPORTS = "import pandas, matplotlib.figure, psycopg, httpx, jinja2"


def overhead(folder: Path) -> dict[str, tuple[float, float]]:
    """For each notebook: seconds in its cells, and seconds beyond them."""
    found = {}
    for entry in Incident(folder).journal.entries():
        if entry.kind == "notebook.finished":
            book = nbformat.read(folder / "notebooks" / entry.data["output"], 4)
            cells = sum(cell.metadata["papermill"]["duration"] or 0 for cell in book.cells)
            found[entry.data["notebook"]] = (cells, entry.data["seconds"] - cells)
    return found


def test_bench_default_drill(tmp_path: Path) -> None:
    console = Console(width=100)
    drills = Table("seed", "start to report", "fault to resolved", "time to detect", "notebook overhead", "lost")
    walls, costs = [], []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        began = time.monotonic()
        score = Drill(load_scenario("breaking-migration"), seed, folder).run()
        walls.append(time.monotonic() - began)
        costs.append(overhead(folder))
        beyond = sum(beyond for _, beyond in costs[-1].values())
        times = (walls[-1], score.time_to_resolve_s, score.time_to_detect_s, beyond)
        drills.add_row(str(seed), *(f"{value:.1f} s" for value in times), str(score.lost))
        assert score.passed, json.dumps(score.model_dump(mode="json"))
    console.print(drills)
    each = Table("notebook", "its cells", "beyond them")
    for name in costs[0]:
        cells, beyond = (statistics.median(cost[name][part] for cost in costs) for part in (0, 1))
        each.add_row(name, f"{cells:.2f} s", f"{beyond:.2f} s")
    console.print(each)
    total = statistics.median(sum(beyond for _, beyond in cost.values()) for cost in costs)
    console.print(f"start to report, median: {statistics.median(walls):.1f} s (target {TARGET_WALL_S} s)")
    console.print(f"notebook overhead, median: {total:.1f} s (target {TARGET_OVERHEAD_S} s)")
    assert statistics.median(walls) <= TARGET_WALL_S and total <= TARGET_OVERHEAD_S, "a target is not met"


def test_bench_forked_against_plain_papermill(tmp_path: Path) -> None:
    source = tmp_path / "imports.ipynb"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(IMPORTS)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    source.write_text(nbformat.writes(book))

    def run(engine: str | None) -> float:
        began = time.monotonic()
        papermill.execute_notebook(source, tmp_path / "out.ipynb", engine_name=engine, progress_bar=False)
        return time.monotonic() - began

    warm_up()
    try:
        run("forked")
        pairs = [(run("forked"), run(None)) for _ in range(5)]
    finally:
        cool_down()
    forked, plain = (statistics.median(pair[part] for pair in pairs) for part in (0, 1))
    ratio = statistics.median(plain / forked for forked, plain in pairs)
    Console().print(f"one notebook: forked {forked:.2f} s, plain papermill {plain:.2f} s, ratio {ratio:.1f}")
