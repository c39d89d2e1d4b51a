"""Pictures over many drills: every single one as a point, with the median and its interval where there are enough."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from toolkit.analysis.few_figures import middle
from toolkit.analysis.history import DRILL, History
from toolkit.analysis.trends import TIMES
from toolkit.report.canvas import BLACK, BLUE, GREY, ORANGE, SKY, VERMILLION, Picture, Size, render

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROW_INCHES, ABOVE_INCHES, BELOW_INCHES = 0.3, 0.5, 0.55
LABELS_INCHES = {False: 1.75, True: 1.45}  # by whether it is narrow
SPREAD = 0.16  # of a row: points of one row lie a little apart, by their order, so that each is seen
MARKS = {"detect_s": ("●", "o", ORANGE), "resolve_s": ("■", "s", BLUE)}


def times_by_scenario(history: History) -> Picture:
    """Time to detection and to resolution of every drill, a row a scenario, the slowest to resolve at the top."""
    drills = history.of(DRILL)
    names = _by_median(drills, "scenario", "resolve_s")
    title = "   ".join([f"{sign} {TIMES[name]}" for name, (sign, _, _) in MARKS.items()] + ["| median, band: 95 %"])

    def draw(size: Size) -> Figure:
        figure, axes = _rows(size, names, title, "seconds after the fault")
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=GREY, alpha=0.2, linewidth=0.6)
        for row, name in enumerate(names):
            found = drills[drills["scenario"] == name]
            for column, (_, marker, colour) in MARKS.items():
                _points(axes, row, [float(value) for value in found[column].dropna()], marker, colour)
        return figure

    failed = int((~drills["passed"].fillna(False)).sum())
    alt = f"{len(drills)} drills of {len(names)} scenarios, of which {failed} did not pass: times of each as points."
    return render(draw, "times", "How long it takes", alt)


def parts_of_drills(history: History) -> Picture:
    """Where the minutes go: every drill's seconds for each part, the longest at the top, with the median as a bar."""
    steps = history.steps
    names = _by_median(steps, "step", "seconds")
    seconds = {name: [float(value) for value in steps[steps["step"] == name]["seconds"]] for name in names}

    def draw(size: Size) -> Figure:
        legend = "seconds; a line for each drill, the bar is the median"
        figure, axes = _rows(size, names, "Which part takes the time", legend)
        medians = [middle(seconds[name]).median or 0 for name in names]
        axes.barh(range(len(names)), medians, color=SKY, height=0.62, hatch="//", edgecolor="white")
        for row, name in enumerate(names):
            axes.plot(seconds[name], [row] * len(seconds[name]), "|", color=VERMILLION, markersize=8)
        return figure

    alt = f"Seconds of each part of the drills; longest: {names[-1] if names else 'none'}."
    return render(draw, "parts", "Which part takes the time", alt)


def _by_median(frame: "pd.DataFrame", key: str, column: str) -> list[str]:
    """The values of `key`, by the median of a column; where there is none, first."""
    medians = {str(name): middle(list(found[column].dropna())).median or 0 for name, found in frame.groupby(key)}
    return sorted(medians, key=lambda name: medians[name])


def _rows(size: Size, names: Sequence[str], title: str, legend: str) -> tuple[Figure, "Axes"]:
    """Axes with a row for each name, the first at the bottom."""
    height = ABOVE_INCHES + max(1, len(names)) * ROW_INCHES + BELOW_INCHES
    left = LABELS_INCHES[size.narrow]
    figure = Figure(figsize=(size.width, height))
    box = (left / size.width, BELOW_INCHES / height, (size.width - left - 0.2) / size.width)
    axes = figure.add_axes((*box, 1 - (ABOVE_INCHES + BELOW_INCHES) / height))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, max(1, len(names)) - 0.4)
    axes.set_xlabel(legend)
    axes.set_title(title, fontsize=8.5)
    return figure, axes


def _points(axes: "Axes", row: int, values: Sequence[float], marker: str, colour: str) -> None:
    """Each value, and the median and its interval of more than one."""
    step = 2 * SPREAD / max(1, len(values) - 1)
    heights = [row - SPREAD * (len(values) > 1) + step * number for number in range(len(values))]
    look = {"color": colour, "markersize": 4, "markeredgecolor": "white", "markeredgewidth": 0.5}
    axes.plot(values, heights, marker, **look)  # type: ignore[arg-type]
    told = middle(values)
    if told.median is not None and len(values) > 1:
        axes.plot([told.median] * 2, [row - 0.32, row + 0.32], color=BLACK, linewidth=1.2)
    if told.low is not None and told.high is not None:
        axes.plot([told.low, told.high], [row, row], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
