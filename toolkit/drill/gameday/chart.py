"""The live chart: requests per second, the share that fails, the 95th percentile; as any dashboard would show them.

It draws what `watching` found and knows nothing of what broke.
"""

import io
from datetime import datetime
from typing import TYPE_CHECKING

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from toolkit.report.canvas import BLACK, BLUE, GREY, PURPLE, SKY, STYLE, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES, DOTS_PER_INCH = (9.6, 4.1), 100
LEAST_SHARE, LEAST_MS = 10.0, 100.0


def draw(
    frame: pd.DataFrame, now: datetime, seconds: float, *, limit: float, opened: datetime | None, over: datetime | None
) -> bytes:
    """A PNG of the last `seconds` before `now` (UTC). `limit` is the playbook's share of failures; `opened` and `over`
    mark the incident."""
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, facecolor="white")
        panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.0, 1.2, 1.0))
        figure.subplots_adjust(left=0.055, right=0.985, top=0.94, bottom=0.115, hspace=0.5)
        frame = pd.concat([frame, frame.tail(1).assign(begin=now)], ignore_index=True)  # the last bin reaches up to now
        ago = (frame["begin"] - pd.Timestamp(now)).dt.total_seconds()
        _requests(panels[0], ago, frame["per_s"])
        _failing(panels[1], ago, frame["failed_share"] * 100, limit * 100)
        _latency(panels[2], ago, frame["p95_ms"])
        for panel in panels:
            panel.set_xlim(-seconds, 0)
            _mark(panel, opened, now, seconds, "opened", named=panel is panels[0])
            _mark(panel, over, now, seconds, "resolved", named=panel is panels[0])
        panels[-1].set_xlabel(f"seconds before {now:%H:%M:%S} UTC")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    return picture.getvalue()


def _requests(axes: "Axes", ago: "pd.Series[float]", per_s: "pd.Series[float]") -> None:
    axes.set_title("Requests per second")
    axes.fill_between(ago, per_s, step="post", color=SKY, alpha=0.5, linewidth=0)
    axes.step(ago, per_s, where="post", color=BLUE, linewidth=1.2)
    axes.set_ylim(0, max(float(per_s.max()) * 1.25 if len(per_s) else 0, 5))


def _failing(axes: "Axes", ago: "pd.Series[float]", share: "pd.Series[float]", limit: float) -> None:
    axes.set_title("Share of requests that fail, %")
    axes.fill_between(ago, share.fillna(0), step="post", facecolor=VERMILLION, alpha=0.35, hatch="////", linewidth=0)
    axes.step(ago, share, where="post", color=VERMILLION, linewidth=1.4)
    axes.axhline(limit, color=BLACK, linewidth=0.9, linestyle="--")
    axes.annotate(
        f"limit {limit:g} %", (1.0, limit), xycoords=("axes fraction", "data"), xytext=(-2, 2),
        textcoords="offset points", ha="right", va="bottom", fontsize=7.5,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
    )  # fmt: skip
    highest = float(share.max()) if share.notna().any() else 0.0
    axes.set_ylim(0, min(max(highest * 1.15, limit * 1.6, LEAST_SHARE), 104))


def _latency(axes: "Axes", ago: "pd.Series[float]", p95: "pd.Series[float]") -> None:
    axes.set_title("95th percentile of the response time, ms")
    axes.plot(ago, p95, color=PURPLE, linewidth=1.4)
    axes.set_ylim(0, max(float(p95.max()) * 1.2 if p95.notna().any() else 0, LEAST_MS))


def _mark(axes: "Axes", at: datetime | None, now: datetime, seconds: float, what: str, *, named: bool) -> None:
    """A line where the incident was opened or resolved, as far as it is in view."""
    if at is None or (ago := (now - at).total_seconds()) > seconds:
        return
    axes.axvline(-ago, color=GREY, linewidth=1.0, linestyle=(0, (2, 2)))
    if named:
        right = ago < seconds * 0.1
        axes.annotate(
            what, (-ago, 1.0), xycoords=("data", "axes fraction"), xytext=(-3 if right else 3, -1),
            textcoords="offset points", ha="right" if right else "left", va="top", fontsize=7.5, color=BLACK,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
        )  # fmt: skip
