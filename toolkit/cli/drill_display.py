"""What a drill shows while it runs, and the table at its end. At a terminal live, elsewhere a line for each phase."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toolkit.drill.ledger import live
from toolkit.drill.line import Drill
from toolkit.drill.score import Score

WINDOW_S = 3.0
BAR = 24
MUST_BE_ZERO = ("lost", "duplicated", "unexpected", "effects missing or doubled")


class _Screen:
    """Rendered anew four times a second: the phases so far, the error rate just now, the time since the start."""

    def __init__(self, drill: Drill) -> None:
        self.drill, self.began, self.phase = drill, time.monotonic(), "starting"

    def __rich__(self) -> RenderableType:
        phases = Table.grid(padding=(0, 2))
        for name, seconds in self.drill.phases.items():
            phases.add_row(Text("✓", "green"), name, f"{seconds:.1f} s")
        phases.add_row(Text("▶", "cyan"), Text(self.phase, "bold"), "")
        elapsed = time.monotonic() - self.began
        title = Text(f"{self.drill.scenario.title}  ·  seed {self.drill.seed}  ·  {elapsed:.0f} s", "bold")
        return Group(title, phases, self._error_rate())

    def _error_rate(self) -> Text:
        rates = live(self.drill.folder / "ledger.sqlite", WINDOW_S)
        if rates.error_rate is None:
            return Text("no traffic yet", "dim")
        filled = round(BAR * min(1.0, rates.error_rate))
        bar = "█" * filled + "░" * (BAR - filled)
        state = self.drill.incident.state if self.drill.incident.journal.path.exists() else None
        told = f"failing {bar} {rates.error_rate:6.1%} of {rates.requests / WINDOW_S:.0f} requests/s"
        return Text(f"{told}   incident: {state or 'none'}", "red" if rates.error_rate > 0.02 else "")


@contextlib.contextmanager
def follow(drill: Drill, console: Console) -> Iterator[None]:
    """Show the drill's phases while the block runs."""
    screen = _Screen(drill)
    if console.is_terminal:

        def enter(phase: str, _drill: Drill) -> None:
            screen.phase = phase

        drill.watch = enter
        with Live(screen, console=console, refresh_per_second=4, transient=True):
            yield
        return

    def tell(phase: str, _drill: Drill) -> None:
        console.print(f"{time.monotonic() - screen.began:6.1f} s  {phase}", highlight=False)

    drill.watch = tell
    yield


def summary(score: Score, folder: Path, console: Console) -> None:
    """The table at the end: times, requests, what became of the events, the checks, and where the report is."""
    table = Table(title=f"{score.scenario}, seed {score.seed}", show_header=False, title_style="bold")
    table.add_column(style="dim")
    table.add_column(justify="right")
    for row in score.rows():
        wrong = row["figure"] in MUST_BE_ZERO and row["value"]
        table.add_row(str(row["figure"]), Text(str(row["value"]), "bold red" if wrong else ""))
    console.print(table)
    if score.stopped_by:
        console.print(f"Stopped: {score.stopped_by}", style="red", highlight=False)
    verdict = Text("passed", "bold green") if score.passed else Text("not passed", "bold red")
    report = folder / "postmortem.html"
    where = f"Report: {report}" if report.exists() else f"No report could be written; the evidence is in {folder}"
    console.print(Text("Drill "), verdict, Text(f". {where}"), sep="", soft_wrap=True)
