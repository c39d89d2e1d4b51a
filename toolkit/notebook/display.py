"""How results look in a notebook: a banner, tables, verdicts, pictures. Under papermill and in JupyterLab alike.

Outcomes are told by a symbol and a word, never by colour alone. It renders; it measures and decides nothing.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from IPython.display import HTML, Markdown, display

from toolkit.checks import CheckResult, Outcome, overall, tally
from toolkit.redaction import redact

SYMBOLS = {Outcome.PASS: "✓ pass", Outcome.FAIL: "✗ FAIL", Outcome.UNKNOWN: "? unknown"}
_TINTS = {Outcome.PASS: "#0072B2", Outcome.FAIL: "#D55E00", Outcome.UNKNOWN: "#8a6d00"}
_BOX = "border-left:6px solid {tint};padding:.6em 1em;margin:.3em 0;background:rgba(128,128,128,.10);font-size:1.05em"


def box(text: str, tint: str = "#0072B2") -> None:
    """A paragraph that must be seen. `text` may hold the inline HTML of this module's callers only."""
    display(HTML(f'<div style="{_BOX.format(tint=tint)}">{redact(text)}</div>'))  # type: ignore[no-untyped-call]


def banner(
    *,
    service: str,
    target: str,
    production: bool,
    incident: str,
    state: str,
    severity: str,
    running_s: float | None,
    next_update: str = "",
) -> None:
    """Where one is: target, incident, state. Production is told in words and in another colour."""
    where = f"<b>PRODUCTION</b> ({escape(target)})" if production else f"{escape(target)}, not production"
    clock = "" if running_s is None else f" &middot; running for {duration(running_s)}"
    clock += f" &middot; {escape(next_update)}" if next_update else ""
    box(
        f"{escape(service)} on {where}<br>incident {escape(incident)}: <b>{escape(state)}</b>, "
        f"severity <b>{escape(severity)}</b>{clock}",
        "#D55E00" if production else "#0072B2",
    )


def duration(seconds: float) -> str:
    """`48 s`, `3 min 05 s`, `2 h 04 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def show_table(rows: pd.DataFrame | Sequence[Mapping[str, object]]) -> None:
    """A table without an index, its text wrapped and left-aligned."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    style = frame.style.hide(axis="index")
    style = style.set_table_styles(
        [{"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: normal"}]
    )
    html, plain = style.to_html(escape=True), frame.to_string(index=False)
    display({"text/html": redact(html), "text/plain": redact(plain)}, raw=True)  # type: ignore[no-untyped-call]


def show_checks(results: Sequence[CheckResult]) -> None:
    """What did not pass first, then the rest; and the sum, in which unknown is not passed."""
    order = {Outcome.FAIL: 0, Outcome.UNKNOWN: 1, Outcome.PASS: 2}
    rows = [
        {"outcome": SYMBOLS[result.outcome], "area": result.area, "check": result.name, "evidence": result.evidence}
        for result in sorted(results, key=lambda result: order[result.outcome])
    ]
    counts = tally(results)
    verdict = overall(results)
    box(
        f"<b>{SYMBOLS[verdict]}</b>: {counts['pass']} passed, {counts['fail']} failed, {counts['unknown']} unknown",
        _TINTS[verdict],
    )
    show_table(rows)


def show_markdown(text: str) -> None:
    display(Markdown(redact(text)))  # type: ignore[no-untyped-call]


def show_svg(svg: str | bytes, alt: str) -> None:
    """A picture with its alternative text, in any kernel, whatever its plotting settings."""
    data = b64encode(svg.encode() if isinstance(svg, str) else svg).decode()
    picture = f'<img style="max-width:100%;background:#fff" alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'
    display({"text/html": picture, "text/plain": alt}, raw=True)  # type: ignore[no-untyped-call]
