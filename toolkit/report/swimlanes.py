"""Who and what acted when: a lane for each of the traffic, the monitor, the responder, the runner and the notebooks.

Bars are what lasted, numbered forms are what happened; the numbers are those of the timeline's table. Events that lie
close stand below each other, never on each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from toolkit.analysis import Analysis, words
from toolkit.analysis.activities import FACILITATOR, LANES, MONITOR, NOTEBOOKS, TRAFFIC, Activity
from toolkit.analysis.telling import EventKind
from toolkit.report import canvas
from toolkit.report.canvas import BLACK, GREY, PALE, Picture, Scale, Size
from toolkit.report.markers import FORMS, MARKER_INCHES, Numbered
from toolkit.report.overview import time_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Who and what acted when"
ROW_INCHES = 0.2
BAR_INCHES = 0.19
MOST_ROWS = 12
FILLS = {TRAFFIC: ("#f6c9a8", "////"), MONITOR: ("#fbe7b2", "||||"), NOTEBOOKS: ("#e4e4e0", "")}
FILL = ("#cdeadf", "")


@dataclass(frozen=True)
class Lane:
    """One row of the picture: events with the row they stand in, and activities with theirs."""

    name: str
    events: tuple[tuple[Numbered, int], ...]
    activities: tuple[tuple[Activity, int], ...]

    @property
    def bar_rows(self) -> int:
        return 1 + max((row for _, row in self.activities), default=-1)

    @property
    def event_rows(self) -> int:
        return 1 + max((row for _, row in self.events), default=-1)

    @property
    def height(self) -> float:
        return 0.1 + self.bar_rows * BAR_INCHES + self.event_rows * ROW_INCHES


def swimlanes(analysis: Analysis) -> Picture:
    """The picture, for wide and narrow screens, with alternative text."""
    scale = time_scale(analysis)
    return canvas.render(lambda size: _draw(analysis, scale, size), "swimlanes", TITLE, _alt(analysis, scale))


def _draw(analysis: Analysis, scale: Scale, size: Size) -> Figure:
    numbered = _numbered(analysis, scale)
    lanes = [lane for name in _lane_names(analysis) if (lane := _lane(name, numbered, analysis, scale, size))]
    height = 0.66 + sum(lane.height for lane in lanes) + 0.42
    figure = Figure(figsize=(size.width, height))
    figure.text(0.12 / size.width, 1 - 0.2 / height, TITLE, fontsize=11, fontweight="bold", va="center")
    _key(figure, size)
    top = 0.66
    for index, lane in enumerate(lanes):
        axes = canvas.panel(figure, size, top, lane.height)
        _draw_lane(axes, lane, scale, size, shaded=index % 2 == 0)
        canvas.time_axis(axes, scale, size, labels=index == len(lanes) - 1)
        top += lane.height
    figure.text(1 - 0.1 / size.width, 1 - (top + 0.3) / height, "time of day, UTC", ha="right", fontsize=7, color=GREY)
    return figure


def _numbered(analysis: Analysis, scale: Scale) -> list[tuple[str, Numbered]]:
    """Each event that is in view, with its lane. The number is its row in the timeline."""
    return [
        (event.actor, Numbered(number, event.at, event.sentence, *FORMS[event.kind]))
        for number, event in enumerate(analysis.timeline, start=1)
        if scale.shows(event.at)
    ]


def _lane_names(analysis: Analysis) -> list[str]:
    """The usual lanes first, then whoever else acted."""
    others = dict.fromkeys(event.actor for event in analysis.timeline if event.actor not in LANES)
    return [name for name in (*LANES, *others) if name != FACILITATOR or analysis.evidence.is_drill]


def _lane(
    name: str, numbered: Sequence[tuple[str, Numbered]], analysis: Analysis, scale: Scale, size: Size
) -> Lane | None:
    mine = [moment for actor, moment in numbered if actor == name]
    lasting = [each for each in analysis.activities if each.lane == name and scale.begin <= scale.x(each.end)]
    lasting = [each for each in lasting if scale.x(each.begin) <= scale.end]
    if not mine and not lasting:
        return None
    per_inch = scale.length / size.axes_width
    rows = _rows([(scale.x(m.at), scale.x(m.at)) for m in mine], MARKER_INCHES * per_inch)
    bars = _rows([(scale.x(each.begin), scale.x(each.end)) for each in lasting], 0.02 * per_inch)
    return Lane(name, tuple(zip(mine, rows, strict=True)), tuple(zip(lasting, bars, strict=True)))


def _rows(spans: Sequence[tuple[float, float]], gap: float) -> list[int]:
    """For each span, in order of begin, the first row in which it touches no other."""
    ends: list[float] = []
    rows = []
    for begin, end in spans:
        free = next((row for row, last in enumerate(ends) if begin >= last + gap), len(ends))
        if free == len(ends) < MOST_ROWS:
            ends.append(end)
        else:
            free = min(free, MOST_ROWS - 1)
            ends[free] = max(ends[free], end)
        rows.append(free)
    return rows


def _draw_lane(axes: "Axes", lane: Lane, scale: Scale, size: Size, *, shaded: bool) -> None:
    axes.set_facecolor(PALE if shaded else "white")
    axes.set_ylim(lane.height, 0)
    axes.set_yticks([lane.height / 2])
    axes.set_yticklabels([lane.name], fontsize=6.8 if size.narrow else 8.5, color=BLACK)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_color("#d5d5d0")
    for activity, row in lane.activities:
        _draw_bar(axes, activity, 0.05 + row * BAR_INCHES, scale, size)
    foot = 0.05 + lane.bar_rows * BAR_INCHES
    for moment, row in lane.events:
        _draw_event(axes, scale.x(moment.at), foot + (row + 0.5) * ROW_INCHES, moment)


def _draw_bar(axes: "Axes", activity: Activity, top: float, scale: Scale, size: Size) -> None:
    """A bar, dashed where no end was recorded, with its label inside if there is room; of a notebook, its number."""
    begin, end = max(scale.x(activity.begin), scale.begin), min(scale.x(activity.end), scale.end)
    color, hatch = FILLS.get(activity.lane, FILL)
    edge = "-" if activity.finished else "--"
    high = BAR_INCHES - 0.04
    axes.barh(
        top, end - begin, high, left=begin, align="edge", color=color, edgecolor=BLACK, hatch=hatch,
        linewidth=0.7, linestyle=edge,
    )  # fmt: skip
    room = (end - begin) / scale.length * size.axes_width
    labels = [activity.label, activity.label[:2]] if activity.lane == NOTEBOOKS else [activity.label]
    label = next((each for each in labels if canvas.fits(each, room, 6.6)), None)
    if label:
        middle = begin + (end - begin) / 2
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85} if hatch else None
        axes.text(middle, top + high / 2, label, fontsize=6.6, ha="center", va="center_baseline", bbox=box)


def _draw_event(axes: "Axes", x: float, y: float, moment: Numbered) -> None:
    axes.scatter([x], [y], s=118, marker=moment.form, facecolor="white", edgecolor=BLACK, zorder=3, clip_on=False)
    axes.scatter([x], [y], s=118, marker=moment.form, facecolor=moment.color, alpha=0.4, lw=0, zorder=3, clip_on=False)
    axes.text(x, y, str(moment.number), ha="center", va="center_baseline", fontsize=5.8, zorder=4)


def _key(figure: Figure, size: Size) -> None:
    """What the forms mean."""
    _, height = figure.get_size_inches()
    axes = figure.add_axes((0, 1 - 0.58 / height, 1, 0.2 / height))
    axes.set_axis_off()
    axes.set(xlim=(0, size.width), ylim=(0, 1))
    x = 0.2
    for kind in EventKind:
        form, color = FORMS[kind]
        axes.scatter([x], [0.5], s=48, marker=form, facecolor=color, edgecolor=BLACK, linewidth=0.7, alpha=0.8)
        axes.text(x + 0.11, 0.5, kind.value, fontsize=7.4, va="center_baseline")
        x += 0.36 + len(kind.value) * 0.062
    if not size.narrow:
        note = "numbers are those of the timeline"
        axes.text(size.width - 0.1, 0.5, note, fontsize=7, ha="right", va="center_baseline", color=GREY)


def _alt(analysis: Analysis, scale: Scale) -> str:
    """The picture in words: what lasted, by lane. The events are in the timeline."""
    begin, end = scale.zero + timedelta(seconds=scale.begin), scale.zero + timedelta(seconds=scale.end)
    parts = [f"{TITLE}, from {words.clock(begin, digits=0)} to {words.clock(end, digits=0)} UTC, in lanes."]
    for lane in _lane_names(analysis):
        if mine := [_in_words(each) for each in analysis.activities if each.lane == lane]:
            parts.append(f"{lane.capitalize()}: {'; '.join(mine)}.")
    parts.append(f"{words.plural(len(analysis.timeline), 'event')}, numbered as in the timeline.")
    return " ".join(parts)


def _in_words(activity: Activity) -> str:
    unfinished = "" if activity.finished else ", no end recorded"
    return f"{words.clock(activity.begin)} {activity.what}{unfinished}"
