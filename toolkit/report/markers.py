"""Moments in pictures: numbered markers that never lie on each other, and the table below that says what they are.

Ten moments may lie within seconds. So a marker carries only a number, stands as near to its moment as there is room,
and a line leads from it to the exact place; the words stand in the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from toolkit.analysis import Analysis, words
from toolkit.analysis.phases import Mark
from toolkit.analysis.telling import EventKind
from toolkit.report.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Scale, Size, spread, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKER_INCHES = 0.185
LINE_INCHES = 0.148
MOST_LINES = 2  # the timeline has the whole sentence
FORMS = {
    EventKind.DETECTION: ("^", ORANGE),
    EventKind.DIAGNOSIS: ("o", SKY),
    EventKind.REPAIR: ("s", GREEN),
    EventKind.KEY_MOMENT: ("D", PURPLE),
}
PHASES = (
    ("undetected", Mark.BEGAN, Mark.DETECTED, "#f6c9a8", "////"),
    ("unacknowledged", Mark.DETECTED, Mark.ACKNOWLEDGED, "#fbe7b2", "||||"),
    ("responding", Mark.ACKNOWLEDGED, Mark.MITIGATED, "#cfe6f5", "\\\\\\\\"),
    ("verifying", Mark.MITIGATED, Mark.RESOLVED, "#cdeadf", "----"),
)


@dataclass(frozen=True)
class Numbered:
    """A moment with its number. `form` is matplotlib's marker."""

    number: int
    at: datetime
    text: str
    form: str
    color: str


@dataclass(frozen=True)
class Phase:
    """A part of the incident between two measured moments, with its seconds."""

    name: str
    begin: datetime
    end: datetime
    color: str
    hatch: str

    @property
    def label(self) -> str:
        return f"{self.name} {words.duration((self.end - self.begin).total_seconds())}"


def phases_of(analysis: Analysis) -> list[Phase]:
    """The phases whose both ends were measured, in order."""
    at = analysis.phases.at
    return [
        Phase(name, begin, end, color, hatch)
        for name, first, last, color, hatch in PHASES
        if (begin := at(first)) and (end := at(last)) and begin <= end
    ]


def number(axes: "Axes", moments: Sequence[Numbered], scale: Scale, size: Size, *, foot: float = 0.0) -> None:
    """Draw the markers in a strip whose y runs from 0 to 1, with lines down to `foot` at their exact places."""
    gap = MARKER_INCHES * scale.length / size.axes_width
    places = spread([scale.x(moment.at) for moment in moments], gap, scale.begin, scale.end)
    for moment, place in zip(moments, places, strict=True):
        axes.plot([place, scale.x(moment.at)], [0.62, foot], color=GREY, linewidth=0.7, clip_on=False, zorder=1)
        draw_marker(axes, place, 0.68, moment)


def draw_marker(axes: "Axes", x: float, y: float, moment: Numbered) -> None:
    axes.scatter([x], [y], s=105, marker="o", facecolor="white", edgecolor=BLACK, linewidth=1, zorder=3, clip_on=False)
    text = str(moment.number)
    axes.text(
        x, y, text, ha="center", va="center_baseline", fontsize=6.6 if len(text) < 3 else 5.4, zorder=4, clip_on=False
    )


@dataclass(frozen=True)
class Legend:
    """The table of moments, laid out for a width: for each its number, time, offset and wrapped words."""

    columns: tuple[tuple[tuple[Numbered, str, list[str]], ...], ...]
    column_width: float
    height: float


def lay_out(moments: Sequence[Numbered], began: datetime | None, size: Size) -> Legend:
    """Two columns on a wide picture, one on a narrow one."""
    count = 1 if size.narrow else 2
    width = (size.width - 0.5) / count
    rows = []
    for moment in moments:
        offset = "" if began is None else words.offset((moment.at - began).total_seconds())
        lines = wrapped(moment.text, width - 1.6, 7.2)
        if len(lines) > MOST_LINES:
            lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1][:-1].rstrip(' ,:;')}…"]
        rows.append((moment, offset, lines))
    half = -(-sum(len(lines) + 0.35 for _, _, lines in rows) // count) if rows else 0
    columns: list[list[tuple[Numbered, str, list[str]]]] = [[] for _ in range(count)]
    filled, column = 0.0, 0
    for row in rows:
        if filled >= half and column < count - 1:
            filled, column = 0.0, column + 1
        columns[column].append(row)
        filled += len(row[2]) + 0.35
    tallest = max(sum(len(lines) + 0.35 for _, _, lines in column) for column in columns)
    return Legend(tuple(tuple(column) for column in columns), width, tallest * LINE_INCHES + 0.1)


def draw_legend(figure: "Figure", legend: Legend, top: float) -> None:
    """Draw the table, its upper edge `top` inches below the figure's."""
    width, total = figure.get_size_inches()
    axes = figure.add_axes((0, 1 - (top + legend.height) / total, 1, legend.height / total))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(legend.height, 0)
    for number_of, column in enumerate(legend.columns):
        left, y = 0.25 + number_of * legend.column_width, 0.1
        for moment, offset, lines in column:
            draw_marker(axes, left + 0.1, y, moment)
            axes.text(
                left + 0.26, y, words.clock(moment.at), fontsize=7.2, va="center", color=BLACK, family="monospace"
            )
            axes.text(left + 1.42, y, offset, fontsize=7.2, va="center", ha="right", color=BLUE)
            for line in lines:
                axes.text(left + 1.52, y, line, fontsize=7.2, va="center", color=BLACK)
                y += LINE_INCHES
            y += 0.35 * LINE_INCHES
