"""What all pictures share: colours, the time axis, numbered markers that never lie on each other, and SVG out of it.

Only matplotlib's object-oriented interface is used; nothing is left behind in its global state. Colours are Okabe and
Ito's, and no colour means anything alone: lines differ in style, areas in hatching, markers in form and number.
"""

import io
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLACK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#f1f1ee"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
WIDE_INCHES, NARROW_INCHES = 9.6, 4.4
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "toolkit",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Picture:
    """A figure as SVG, for wide and for narrow screens, with its title and its alternative text."""

    name: str
    title: str
    alt: str
    svg: str
    narrow_svg: str


@dataclass(frozen=True)
class Scale:
    """The time axis: seconds after `zero`, from `begin` to `end`."""

    zero: datetime
    begin: float
    end: float

    def x(self, moment: datetime) -> float:
        return (moment - self.zero).total_seconds()

    def shows(self, moment: datetime) -> bool:
        return self.begin <= self.x(moment) <= self.end

    @property
    def length(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True)
class Size:
    """How much room there is. `narrow` is for a phone held upright."""

    narrow: bool

    @property
    def width(self) -> float:
        return NARROW_INCHES if self.narrow else WIDE_INCHES

    @property
    def left(self) -> float:
        """Inches left of the axes."""
        return 0.62 if self.narrow else 0.95

    @property
    def right(self) -> float:
        return 0.32 if self.narrow else 0.55

    @property
    def axes_width(self) -> float:
        return self.width - self.left - self.right


def render(draw: Callable[[Size], Figure], name: str, title: str, alt: str) -> Picture:
    """Draw it for both widths, and leave matplotlib's settings as they were."""
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        wide, narrow = _svg(draw(Size(narrow=False))), _svg(draw(Size(narrow=True)))
    return Picture(name, title, alt, wide, narrow)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return compact(buffer.getvalue())


def compact(svg: str) -> str:
    """The same drawing in half the bytes: hundredths are enough, but for factors below one; indentation is none."""
    svg = re.sub(r"(?<![\d.])([1-9]\d*\.\d\d)\d+", r"\1", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", svg)


def time_axis(axes: "Axes", scale: Scale, size: Size, *, labels: bool) -> None:
    """Ticks at round times of day (UTC)."""
    wanted = 5 if size.narrow else 9
    step = next((step for step in TICK_STEPS_S if scale.length / step <= wanted), TICK_STEPS_S[-1])
    zero_of_day = (scale.zero - scale.zero.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    first = math.ceil((zero_of_day + scale.begin) / step)
    last = math.floor((zero_of_day + scale.end) / step)
    ticks = [n * step - zero_of_day for n in range(first, last + 1)]
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    axes.set_xlim(scale.begin, scale.end)
    axes.set_xticks(ticks)
    texts = [(scale.zero + timedelta(seconds=tick)).strftime(form) for tick in ticks]
    axes.set_xticklabels(texts if labels else [], fontsize=7.5)
    axes.tick_params(axis="x", length=3 if labels else 0)


def panel(figure: Figure, size: Size, top: float, height: float) -> "Axes":
    """Axes at `top` inches below the figure's top edge, `height` inches high."""
    width, total = figure.get_size_inches()
    box = (size.left / width, 1 - (top + height) / total, size.axes_width / width, height / total)
    return figure.add_axes(box)


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move sorted positions apart until none is nearer than `gap` to the next, staying within [low, high].

    Neighbours that collide move as one block around their middle. Where there is no room for all, the gap shrinks.
    """
    if not positions:
        return []
    gap = min(gap, (high - low) / max(len(positions) - 1, 1))
    blocks: list[list[int]] = []
    begins: list[float] = []
    for index, position in enumerate(positions):
        blocks.append([index])
        begins.append(min(max(position, low), high))
        while len(blocks) > 1 and begins[-1] < begins[-2] + gap * len(blocks[-2]):
            merged = blocks[-2] + blocks[-1]
            middle = sum(positions[i] - gap * n for n, i in enumerate(merged)) / len(merged)
            blocks[-2:], begins[-2:] = [merged], [min(max(middle, low), high - gap * (len(merged) - 1))]
    return [begin + gap * n for block, begin in zip(blocks, begins, strict=True) for n in range(len(block))]


def wrapped(text: str, inches: float, points: float) -> list[str]:
    """Lines that fit into a width: a character is about 0.56 of its size wide."""
    return textwrap.wrap(text.replace("`", ""), max(int(inches * 72 / (points * 0.56)), 12)) or [""]


def fits(text: str, inches: float, points: float) -> bool:
    return len(text) * points * 0.60 / 72 <= inches
