"""The incident on one time axis: phases, moments, error rate, requests, latency, deployments. It stands alone.

What was not measured has no panel; the picture says so instead of drawing a line.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from toolkit.analysis import Analysis, words
from toolkit.analysis.impact import over_time
from toolkit.analysis.phases import Mark
from toolkit.analysis.telling import EventKind
from toolkit.report import canvas
from toolkit.report.canvas import BLACK, BLUE, GREY, ORANGE, PURPLE, SKY, VERMILLION, Picture, Scale, Size
from toolkit.report.markers import FORMS, Numbered, Phase, draw_legend, lay_out, number, phases_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MOMENTS = 12
MOST_BINS = 240
BINS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
TITLE = "The incident on one time axis"


@dataclass(frozen=True)
class Scene:
    """What is drawn: the analysis, the part of time that is shown, the moments, the phases, and rates over time."""

    analysis: Analysis
    scale: Scale
    moments: tuple[Numbered, ...]
    phases: tuple[Phase, ...]
    bins: pd.DataFrame | None
    every_s: int


def overview(analysis: Analysis) -> Picture:
    """The picture, for wide and narrow screens, with alternative text."""
    scene = _scene(analysis)
    return canvas.render(lambda size: _draw(scene, size), "overview", TITLE, _alt(scene))


def time_scale(analysis: Analysis) -> Scale:
    """The incident with some time before and after it, as far as there is evidence. Without moments: all evidence."""
    states = [state for state in analysis.evidence.states if state.first and state.last]
    first = min((state.first for state in states if state.first), default=None)
    last = max((state.last for state in states if state.last), default=None)
    if first is None or last is None:
        raise ValueError("an analysis without any evidence has no time axis")
    known = sorted(moment.at for moment in analysis.phases.moments.values() if moment.at)
    if known:
        room = max(timedelta(seconds=15), (known[-1] - known[0]) * 0.35)
        first, last = max(first, known[0] - room), min(last, known[-1] + room)
    zero = analysis.begin or first
    begin, end = (first - zero).total_seconds(), (last - zero).total_seconds()
    margin = max((end - begin) * 0.01, 0.5)
    return Scale(zero, begin - margin, end + margin)


def _scene(analysis: Analysis) -> Scene:
    scale = time_scale(analysis)
    every = next((each for each in BINS_S if scale.length / each <= MOST_BINS), BINS_S[-1])
    bins = None
    if analysis.traffic is not None:
        bins = over_time(analysis.traffic.frame, every)
        bins["x"] = (bins["begin"] - pd.Timestamp(scale.zero)).dt.total_seconds()
        bins = bins[(bins["x"] >= scale.begin - every) & (bins["x"] <= scale.end)]
    return Scene(analysis, scale, tuple(_moments(analysis, scale)), tuple(phases_of(analysis)), bins, every)


def _moments(analysis: Analysis, scale: Scale) -> list[Numbered]:
    """The incident's moments, and the latest repairs that there is room for. The number is the row in the timeline."""
    shown = [(n, event) for n, event in enumerate(analysis.timeline, start=1) if scale.shows(event.at)]
    marked = [each for each in shown if each[1].mark]
    repairs = [each for each in shown if not each[1].mark and each[1].kind is EventKind.REPAIR]
    room = max(MOST_MOMENTS - len(marked), 0)
    return [
        Numbered(n, event.at, words.sentence(event.mark.value) if event.mark else event.sentence, *FORMS[event.kind])
        for n, event in sorted([*marked, *repairs[max(len(repairs) - room, 0) :]], key=lambda each: each[0])
    ]


def _draw(scene: Scene, size: Size) -> Figure:
    panels = _panels(scene)
    legend = lay_out(scene.moments, scene.analysis.phases.at(Mark.BEGAN), size)
    height = 0.34 + 0.62 + 0.42 + sum(high + 0.34 for high, _ in panels) + 0.42 + legend.height
    figure = Figure(figsize=(size.width, height))
    figure.text(size.left / size.width, 1 - 0.2 / height, TITLE, fontsize=11, fontweight="bold", va="center")
    top = 0.34
    _phase_bar(canvas.panel(figure, size, top + 0.3, 0.2), figure, scene, size, top + 0.12)
    top += 0.56
    strip = canvas.panel(figure, size, top, 0.42)
    strip.set_axis_off()
    strip.set(xlim=(scene.scale.begin, scene.scale.end), ylim=(0, 1))
    number(strip, scene.moments, scene.scale, size)
    top += 0.42
    for index, (high, draw) in enumerate(panels):
        axes = canvas.panel(figure, size, top + 0.28, high)
        _backdrop(axes, scene)
        draw(axes, scene, size)
        canvas.time_axis(axes, scene.scale, size, labels=index == len(panels) - 1)
        top += high + 0.34
    figure.text(1 - 0.1 / size.width, 1 - (top + 0.28) / height, "time of day, UTC", ha="right", fontsize=7, color=GREY)
    draw_legend(figure, legend, top + 0.4)
    return figure


Panel = tuple[float, Callable[["Axes", Scene, Size], None]]


def _panels(scene: Scene) -> list[Panel]:
    if scene.bins is None:
        return [(0.5, _nothing)]
    panels: list[Panel] = [(1.35, _error_rate), (1.0, _requests), (1.0, _latency)]
    if scene.analysis.impact and scene.analysis.impact.deployments:
        panels.append((0.16 * len(scene.analysis.impact.deployments) + 0.1, _deployments))
    return panels


def _backdrop(axes: "Axes", scene: Scene) -> None:
    """Phases as tints, moments as thin lines, behind the data and up to the markers."""
    for phase in scene.phases:
        axes.axvspan(
            scene.scale.x(phase.begin), scene.scale.x(phase.end), color=phase.color, alpha=0.45, lw=0, zorder=0
        )
    for moment in scene.moments:
        axes.axvline(scene.scale.x(moment.at), ymax=1.0, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)


def _phase_bar(axes: "Axes", figure: Figure, scene: Scene, size: Size, key_top: float) -> None:
    """The phases as hatched pieces of a bar, and above it a key that names each with its seconds."""
    axes.set_axis_off()
    axes.set(xlim=(scene.scale.begin, scene.scale.end), ylim=(0, 1))
    for phase in scene.phases:
        begin, end = scene.scale.x(phase.begin), scene.scale.x(phase.end)
        axes.barh(0.5, end - begin, 1, left=begin, color=phase.color, edgecolor=BLACK, hatch=phase.hatch, linewidth=0.6)
    _, height = figure.get_size_inches()
    points = 6.2 if size.narrow else 7.6
    x = size.left if not size.narrow else 0.12
    for phase in scene.phases:
        label = phase.label if not size.narrow else phase.label.replace("unacknowledged", "unackn.")
        swatch = figure.add_axes((x / size.width, 1 - (key_top + 0.13) / height, 0.16 / size.width, 0.12 / height))
        swatch.set(xticks=[], yticks=[])
        swatch.spines[:].set_visible(True)
        swatch.patch.set(facecolor=phase.color, hatch=phase.hatch)
        figure.text((x + 0.2) / size.width, 1 - (key_top + 0.07) / height, label, fontsize=points, va="center")
        x += 0.34 + len(label) * points * 0.60 / 72
    if not scene.phases:
        said = "no phase was measured"
        figure.text(size.left / size.width, 1 - (key_top + 0.07) / height, said, fontsize=points, color=GREY)


def _error_rate(axes: "Axes", scene: Scene, size: Size) -> None:
    bins, threshold = _shown(scene), scene.analysis.playbook.thresholds.error_rate
    rate = bins["error_rate"] * 100
    axes.stairs(rate.fillna(0), _edges(scene), fill=True, color=VERMILLION, alpha=0.35)
    axes.stairs(rate, _edges(scene), color=VERMILLION, linewidth=1.4, baseline=None)
    top = max(float(rate.max()) * 1.12 if rate.notna().any() else 0, threshold * 100 * 1.4)
    axes.set_ylim(0, min(top, 103))
    axes.axhline(threshold * 100, color=BLACK, linewidth=0.9, linestyle="--")
    _direct(axes, threshold * 100, "limit" if size.narrow else f"limit\n{threshold:.0%}", BLACK, size)
    axes.set_title("Share of requests that failed, %")


def _requests(axes: "Axes", scene: Scene, size: Size) -> None:
    bins, edges = _shown(scene), _edges(scene)
    total, failed = bins["requests"] / scene.every_s, bins["failed"] / scene.every_s
    axes.stairs(total, edges, fill=True, color=SKY, alpha=0.55)
    axes.stairs(total, edges, color=BLUE, linewidth=0.8)
    axes.stairs(failed, edges, fill=True, facecolor=VERMILLION, edgecolor=BLACK, hatch="/////", linewidth=0.5)
    axes.set_ylim(0, float(total.max()) * 1.1 or 1)
    axes.set_title("Requests per second" + (": all, and failed (hatched)" if not size.narrow else "; failed hatched"))


def _latency(axes: "Axes", scene: Scene, size: Size) -> None:
    bins = _shown(scene)
    x = bins["x"] + scene.every_s / 2
    highest = bins["p95_ms"].max()
    top = float(highest) * 1.12 if highest > 0 else 1.0
    ends = []
    for column, label, color, style in (("p50_ms", "p50", BLUE, "-"), ("p95_ms", "p95", PURPLE, "--")):
        axes.plot(x, bins[column], color=color, linestyle=style, linewidth=1.4)
        known = bins[column].dropna()
        ends += [(float(known.iloc[-1]), label, color)] if len(known) and not size.narrow else []
    for y, (_, label, color) in zip(canvas.spread([end[0] for end in ends], top * 0.14, 0, top), ends, strict=True):
        _direct(axes, y, label, color, size)
    axes.set_ylim(0, top)
    axes.set_title(
        "Latency, ms: median" + (" (solid) and 95th percentile (dashed)" if not size.narrow else ", p95 dashed")
    )


def _deployments(axes: "Axes", scene: Scene, size: Size) -> None:
    """A bar while a deployment answered, broken where it did not for longer than a hundredth of the time shown."""
    assert scene.analysis.impact is not None and scene.analysis.traffic is not None
    frame, scale = scene.analysis.traffic.frame, scene.scale
    shares = scene.analysis.impact.deployments
    for row, (share, color) in enumerate(zip(shares, itertools.cycle((BLUE, ORANGE, PURPLE, BLACK)), strict=False)):
        at = (frame.loc[frame["deployment"] == share.deployment, "at"] - pd.Timestamp(scale.zero)).dt.total_seconds()
        runs = at.groupby((at.diff() > scale.length / 100).cumsum()).agg(["min", "max"])
        runs = runs[(runs["max"] >= scale.begin) & (runs["min"] <= scale.end)].clip(scale.begin, scale.end)
        lengths = (runs["max"] - runs["min"]).clip(lower=scale.length / 500)
        axes.broken_barh(list(zip(runs["min"], lengths, strict=True)), (row + 0.2, 0.6), color=color, linewidth=0)
    axes.set_ylim(len(shares), 0)
    axes.set_yticks([row + 0.5 for row in range(len(shares))])
    width = 8 if size.narrow else 14
    axes.set_yticklabels([_short(share.deployment, width) for share in shares], fontsize=6 if size.narrow else 7)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Deployment that answered")


def _nothing(axes: "Axes", scene: Scene, size: Size) -> None:
    axes.set_yticks([])
    said = "No requests were recorded:\nerror rate and latency were not measured."
    axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", fontsize=8)


def _direct(axes: "Axes", y: float, label: str, color: str, size: Size) -> None:
    """A label at the right end of a line, beside the axes, or inside them where there is no room beside."""
    place, side = (1.006, "left") if not size.narrow else (0.995, "right")
    axes.text(
        place, y, label, color=color, fontsize=7, va="center" if not size.narrow else "bottom", ha=side,
        transform=axes.get_yaxis_transform(), linespacing=1.0,
    )  # fmt: skip


def _shown(scene: Scene) -> pd.DataFrame:
    assert scene.bins is not None
    return scene.bins


def _edges(scene: Scene) -> list[float]:
    bins = _shown(scene)
    return [*bins["x"], float(bins["x"].iloc[-1]) + scene.every_s]


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[-(width - 1) :]}"


def _alt(scene: Scene) -> str:
    """The picture in words: what it spans, what changed, and the incident's moments. The rest is in the timeline."""
    scale = scene.scale
    begin, end = scale.zero + timedelta(seconds=scale.begin), scale.zero + timedelta(seconds=scale.end)
    parts = [f"{TITLE}, from {words.clock(begin, digits=0)} to {words.clock(end, digits=0)} UTC."]
    impact = scene.analysis.impact
    for window in impact.windows if impact else ():
        when = "" if window.name == "all" else f" {window.name} the incident"
        latency = f", 95th percentile {words.milliseconds(window.latency_ms['p95'])}"
        parts.append(f"Error rate{when} {words.share(window.error_rate)}{latency}.")
    if impact is None:
        parts.append("Error rate and latency were not measured.")
    marks = scene.analysis.phases.moments.values()
    parts += [f"{moment.mark.value.capitalize()} at {words.clock(moment.at)}." for moment in marks if moment.at]
    return " ".join(parts)
