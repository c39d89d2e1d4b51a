"""`toolkit trends`: what drills and real incidents say over time, as `11_trends` shows it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.options import REPORTS, Json, examples, print_json

EXAMPLES = examples("toolkit trends", "toolkit trends reports/campaigns/20261201T030000Z --json")


def trends(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders with drills, campaigns or incidents; without any, reports/.")
    ] = None,
    json: Json = False,
) -> None:
    """The playbook's four metrics, drills and real incidents apart; times by scenario; what became slower; which part
    takes the time. Where there are too few to tell, it says how many more it takes."""
    from toolkit.analysis.history import read_history
    from toolkit.analysis.trends import by_scenario, metrics, parts, since_last_version
    from toolkit.errors import UsageError

    history = read_history(folders or [REPORTS])
    if not len(history.events):
        raise UsageError(
            f"There is neither a drill nor an incident in {', '.join(map(str, folders or [REPORTS]))}",
            state="nothing was done",
            next="make drill, or name other folders",
        )
    told = {
        "metrics": metrics(history),
        "scenarios": by_scenario(history),
        "since the version before": since_last_version(history),
        "parts": parts(history),
    }
    if json:
        counts = history.events["kind"].value_counts().to_dict()
        print_json(told | {"counted": {str(kind): int(n) for kind, n in counts.items()}, "unread": history.unread})
        return
    console = Console()
    for title, rows in told.items():
        if rows:
            table = Table(*map(str, rows[0]), title=title, title_justify="left")
            for row in rows:
                table.add_row(*(str(value) for value in row.values()))
            console.print(table)
    for trouble in history.unread:
        console.print(f"Not read: {trouble}", soft_wrap=True, highlight=False)
