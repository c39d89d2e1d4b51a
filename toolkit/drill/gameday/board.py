"""The board of a game day in JupyterLab: the incident's clock, live charts, what to do next, buttons for hint and end.

It brings itself up to date from a thread, until the game day has ended, `stop` is called, or another board is shown.
Where nobody can click (papermill), it is one picture and one table. It knows no more than the player may.
"""

import threading
import time
from collections.abc import Callable
from html import escape
from os.path import relpath
from pathlib import Path
from typing import Self

from toolkit.clock import utc_now
from toolkit.drill.gameday import current
from toolkit.drill.gameday.chart import draw
from toolkit.drill.gameday.current import Standing, look
from toolkit.drill.gameday.steps import Step, steps
from toolkit.drill.gameday.watching import lately
from toolkit.errors import ToolkitError
from toolkit.incident import State
from toolkit.journal import Tail
from toolkit.notebook.checklists import somebody_can_click
from toolkit.notebook.display import show_markdown, show_table
from toolkit.playbook import Playbook, load_playbook

EVERY_S, CHART_EVERY_S = 1.0, 3.0  # a chart takes a fifth of a second of a core, which the sandbox needs, too
SPAN_S, BIN_S = 240.0, 2
WELL, BAD = "#0072B2", "#D55E00"
_CLOCK = "border-left:6px solid {tint};padding:.6em 1em;background:rgba(128,128,128,.10);font-size:1.05em"

_shown: "Board | None" = None


def show_board(operator: str, *, live: bool = True) -> "Board | None":
    """Show the game day that runs, or the last one. UsageError where there was none.

    `live` and in JupyterLab: as widgets, which is returned; else a picture, a table, and None.
    """
    global _shown  # noqa: PLW0603  (a cell that is run again must end what it had shown)
    book = load_playbook()
    standing = look()
    _tell_the_steps(standing)
    if _shown is not None:
        _shown.stop()
    if not live or not somebody_can_click():
        _show_once(standing, book)
        return None
    from IPython.display import display

    _shown = Board(operator, book)
    display(_shown.widget)  # type: ignore[no-untyped-call]
    _shown.start()
    return _shown


def _tell_the_steps(standing: Standing) -> None:
    """Links to the notebooks whose parameters are set, and those parameters."""
    told = [f"Incident: `{standing.state.folder}` · target: `sandbox`", ""]
    if (sheets := standing.state.sheets) is not None and sheets.exists():
        names = sorted(path for path in sheets.glob("0*.ipynb"))
        links = " · ".join(f"[{path.stem}]({Path(relpath(path)).as_posix()})" for path in names)
        told = [f"Notebooks of this game day, with their parameters set: {links}", "", *told]
    show_markdown("\n".join(told))


def _show_once(standing: Standing, book: Playbook) -> None:
    from IPython.display import Image, display

    entries = standing.incident.journal.entries()
    display(Image(data=_picture(standing, book), alt=_in_words(standing)))  # type: ignore[no-untyped-call]
    show_table([{"figure": name, "now": value} for name, value in standing.figures().items()])
    for_now = [(("✓" if each.done else ""), each) for each in steps(entries, ended=standing.state.ended)]
    show_table([{"": mark, "step": each.what, "notebook": each.notebook} for mark, each in for_now])


def _in_words(standing: Standing) -> str:
    return "; ".join(f"{name}: {value}" for name, value in standing.figures().items())


def _picture(standing: Standing, book: Playbook) -> bytes:
    now, incident = utc_now(), standing.incident
    return draw(
        lately(standing.state.folder / "ledger.sqlite", now, SPAN_S, BIN_S),
        now,
        SPAN_S,
        limit=book.thresholds.error_rate,
        opened=incident.moment(State.OPEN),
        over=incident.moment(State.RESOLVED),
    )


class Board:
    """The widgets. `widget` is to be displayed; `start` begins to bring it up to date."""

    def __init__(self, operator: str, book: Playbook) -> None:
        import ipywidgets as widgets

        self._operator, self._book = operator, book
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = threading.Lock()
        self.clock, self.next, self.told = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.chart = widgets.Image(format="png", layout={"max_width": "100%", "min_height": "200px"})
        wide = {"width": "auto"}
        self.hint = widgets.Button(description="Give me a hint", layout=wide)
        self.finish = widgets.Button(description="Finish the game day", layout=wide, button_style="")
        self.sure = widgets.Button(description="Yes, end it", layout={"width": "auto", "display": "none"})
        self.hint.on_click(lambda _button: self._ask(self._give_hint))
        self.finish.on_click(lambda _button: self._make_sure())
        self.sure.on_click(lambda _button: self._ask(self._finish))
        buttons = widgets.HBox([self.hint, self.finish, self.sure])
        self.widget = widgets.VBox([self.clock, self.chart, self.next, buttons, self.told])
        self._journal: Tail | None = None
        self._drawn = -CHART_EVERY_S
        self.refresh()

    def start(self) -> Self:
        """Go on by itself from now."""
        thread = threading.Thread(target=self._go_on, name="gameday-board", daemon=True)
        self._thread = thread
        thread.start()
        return self

    def stop(self) -> None:
        """Leave it as it is. Safe to repeat; returns when the thread has ended."""
        self._stopped.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _go_on(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                ended = self.refresh().phase != "running"
            except (ToolkitError, OSError) as error:
                self.clock.value = _boxed(escape(str(error)), BAD)
                ended = isinstance(error, ToolkitError)
            if ended:
                self._stopped.set()

    def refresh(self) -> Standing:
        """Look, and show it. UsageError where there is no game day."""
        standing = look()
        if self._journal is None:
            self._journal = Tail(standing.incident.journal)
        self.clock.value = _clock(standing)
        if time.monotonic() - self._drawn >= CHART_EVERY_S or standing.phase != "running":
            self.chart.value, self._drawn = _picture(standing, self._book), time.monotonic()
        self.next.value = _list(steps(self._journal.entries(), ended=standing.state.ended))
        over = standing.phase != "running"
        self.hint.disabled = over
        self.finish.disabled = standing.phase == "ended"
        return standing

    def _make_sure(self) -> None:
        resolved = look().incident.state is State.RESOLVED
        self.sure.layout.display = ""
        self._tell("End it? " + ("" if resolved else "<b>The incident is not resolved.</b>"), WELL if resolved else BAD)

    def _ask(self, what: Callable[[], None]) -> None:
        """One thing at a time; what is refused is shown, and breaks nothing."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            what()
        except ToolkitError as error:
            self._tell(escape(str(error)), BAD)
        finally:
            self._busy.release()

    def _give_hint(self) -> None:
        given = current.hint(self._operator)
        told = f"<b>Hint {given['hints']}</b>, at {given['cost_s']:g} s: {escape(given['hint'])} ({given['left']} left)"
        self._tell(told, WELL)

    def _finish(self) -> None:
        self.sure.layout.display = "none"
        self._tell("The traffic stops, what is left is delivered, every event is looked for …", WELL)
        score, folder = current.finish(self._operator)
        self.stop()
        self.refresh()
        rows = "".join(
            f"<tr><td>{escape(str(r['figure']))}</td><td>{escape(str(r['value']))}</td></tr>" for r in score.rows()
        )
        verdict = "passed" if score.passed else f"not passed: {escape(score.outcome)}"
        report = f"<p>Report: <code>{escape(str(folder / 'postmortem.html'))}</code></p>"
        self._tell(f"<b>The score: {verdict}</b><table>{rows}</table>{report}", WELL if score.passed else BAD)

    def _tell(self, html: str, tint: str) -> None:
        self.told.value = _boxed(html, tint)


def _boxed(html: str, tint: str) -> str:
    return f'<div style="{_CLOCK.format(tint=tint)}">{html}</div>'


def _clock(standing: Standing) -> str:
    """The clock large, the rest beside it. Colour alone tells nothing."""
    said = standing.figures()
    state, clock = standing.incident.state, said.pop("its clock")
    head = f"Incident {escape(str(state))} · {clock}" if state else "No incident is open. Watch."
    rest = " · ".join(f"{name}: <b>{escape(value)}</b>" for name, value in said.items() if name != "incident")
    trouble = f"<br>Trouble: {escape(standing.state.trouble)}" if standing.state.trouble else ""
    announced = " · ".join(f"{escape(what)}: {escape(text)}" for what, text in standing.state.told.items())
    told = f"<br>Announced: {announced}" if announced else ""
    calm = state in (None, State.RESOLVED)
    return _boxed(f'<span style="font-size:1.6em"><b>{head}</b></span><br>{rest}{told}{trouble}', WELL if calm else BAD)


def _list(every: list[Step]) -> str:
    """What is done, what is next (▶), what comes later."""
    following = next((number for number, each in enumerate(every) if not each.done), None)
    rows = []
    for number, each in enumerate(every):
        mark = "✓" if each.done else "▶" if number == following else "·"
        what = f"<b>{escape(each.what)}</b>" if number == following else escape(each.what)
        where = f" <code>{each.notebook}</code>" if each.notebook else ""
        rows.append(f"<li style='list-style:none'>{mark} {what.replace('`', '')}{where}</li>")
    return f"<b>What next</b><ul style='margin:.2em 0;padding:0'>{''.join(rows)}</ul>"
