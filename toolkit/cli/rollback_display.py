"""How a rollback shows at a terminal: tables, and a progress bar for whatever takes long."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import rich.progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"pass": "green", "fail": "bold red", "unknown": "yellow"}
HIDDEN = ("area",)


def show_rows(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table; nothing for no rows."""
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=len(rows[0]) > 4)
    names = [name for name in rows[0] if name not in HIDDEN]
    for name in names:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(str(row.get(name, "")), COLOURS.get(str(row.get(name)), "")) for name in names))
    console.print(table)


class Progress:
    """Bars with what is left. Called with what is being done, how much of it is done, of how much (None: unknown)."""

    def __init__(self, console: Console) -> None:
        columns = (
            rich.progress.SpinnerColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        self._bars = rich.progress.Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, what: str, done: float, of: float | None) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=of)
        self._bars.update(self._tasks[what], completed=done, total=of)
