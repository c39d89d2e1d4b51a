"""Pictures over many drills: every single one as a point, with the median and its interval where there are enough."""

from matplotlib.figure import Figure

from toolkit.analysis.few_figures import middle
from toolkit.analysis.history import DRILL, History
from toolkit.analysis.trends import TIMES
from toolkit.report.canvas import BLACK, BLUE, GREY, ORANGE, SKY, VERMILLION, Picture, Size, render

ROW_INCHES, ABOVE_INCHES, BELOW_INCHES = 0.3, 0.5, 0.55
LABELS_INCHES = {False: 1.75, True: 1.45}
SPREAD = 0.16  # of a row: points of one scenario lie a little apart, by their order, so that each is seen


def times_by_scenario(history: History) -> Picture:
    """Time to detection and to resolution of every drill, a row a scenario, the slowest to resolve at the top."""
    drills = history.of(DRILL)
    medians = {
        str(name): middle(list(found["resolve_s"].dropna())).median or 0 for name, found in drills.groupby("scenario")
    }
    names = sorted(medians, key=lambda name: medians[name])

    def draw(size: Size) -> Figure:
        height = ABOVE_INCHES + max(1, len(names)) * ROW_INCHES + BELOW_INCHES
        figure = Figure(figsize=(size.width, height))
        left = LABELS_INCHES[size.narrow]
        box = (left / size.width, BELOW_INCHES / height, (size.width - left - 0.2) / size.width)
        axes = figure.add_axes((*box, 1 - (ABOVE_INCHES + BELOW_INCHES) / height))
        for row, name in enumerate(names):
            found = drills[drills["scenario"] == name]
            for column, colour, marker in (("detect_s", ORANGE, "o"), ("resolve_s", BLUE, "s")):
                values = [float(value) for value in found[column].dropna()]
                apart = [
                    row + SPREAD * (2 * n / max(1, len(values) - 1) - 1) * (len(values) > 1) for n in range(len(values))
                ]
                axes.plot(
                    values, apart, marker, color=colour, markersize=4, markeredgecolor="white", markeredgewidth=0.5
                )
                told = middle(values)
                if told.median is not None and len(values) > 1:
                    axes.plot([told.median] * 2, [row - 0.32, row + 0.32], color=BLACK, linewidth=1.2)
                if told.low is not None and told.high is not None:
                    axes.plot(
                        [told.low, told.high], [row, row], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt"
                    )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, max(1, len(names)) - 0.4)
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=GREY, alpha=0.2, linewidth=0.6)
        axes.set_xlabel("seconds after the fault")
        axes.set_title(f"● {TIMES['detect_s']}   ■ {TIMES['resolve_s']}   | median, band: 95 %", fontsize=8.5)
        return figure

    failed = int((~drills["passed"].fillna(False)).sum())
    alt = f"{len(drills)} drills of {len(names)} scenarios, of which {failed} did not pass: times of each as points."
    return render(draw, "times", "How long it takes", alt)


def parts_of_drills(history: History) -> Picture:
    """Where the minutes go: every drill's seconds for each part, the longest at the top, with the median as a bar."""
    steps = history.steps
    medians = {str(name): middle(list(found["seconds"])).median or 0 for name, found in steps.groupby("step")}
    names = sorted(medians, key=lambda name: medians[name])

    def draw(size: Size) -> Figure:
        height = ABOVE_INCHES + max(1, len(names)) * ROW_INCHES + BELOW_INCHES
        figure = Figure(figsize=(size.width, height))
        left = LABELS_INCHES[size.narrow] - 0.5
        box = (left / size.width, BELOW_INCHES / height, (size.width - left - 0.2) / size.width)
        axes = figure.add_axes((*box, 1 - (ABOVE_INCHES + BELOW_INCHES) / height))
        axes.barh(
            range(len(names)), [medians[name] for name in names], color=SKY, height=0.62, hatch="//", edgecolor="white"
        )
        for row, name in enumerate(names):
            values = list(steps[steps["step"] == name]["seconds"])
            axes.plot(values, [row] * len(values), "|", color=VERMILLION, markersize=8, markeredgewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, max(1, len(names)) - 0.4)
        axes.set_xlabel("seconds; a line for each drill, the bar is the median")
        axes.set_title("Which part takes the time")
        return figure

    longest = names[-1] if names else "none"
    return render(
        draw, "parts", "Which part takes the time", f"Seconds of each part of the drills; longest: {longest}."
    )
