"""`toolkit drill due`: what practice is due by the playbook's schedule, and, asked to, doing it unattended."""

import shlex
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.options import REPORTS, Json, examples, print_json
from toolkit.clock import utc_now

if TYPE_CHECKING:
    from toolkit.analysis.due import Due

EXAMPLES = examples("toolkit drill due", "toolkit drill due --run", "toolkit drill due --as-of 2027-01-31 --json")


def due(
    as_of: Annotated[str, typer.Option(help="A day, YYYY-MM-DD, in place of today (UTC).")] = "",
    reports: Annotated[
        list[Path] | None, typer.Option(help="Where drills lie, with all that is below; without any, reports/.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Do what is overdue or due soon, one after the other.")] = False,
    playbook: Annotated[str, typer.Option(help="The playbook of the service.")] = "",
    json: Json = False,
) -> None:
    """Monthly, quarterly and yearly practice, by the playbook's schedule and what was done. What did not pass does not
    count.

    Exit code 1 when something is overdue; with `--run`, when something is overdue still.
    """
    from toolkit.analysis.due import Standing

    places = reports or [REPORTS]
    found, unread = _standing(playbook, places, as_of)
    if run:
        for each in found:
            if each.standing is not Standing.KEPT:
                _carry_out(each)
        found, unread = _standing(playbook, places, as_of)
    overdue = [each for each in found if each.standing is Standing.OVERDUE]
    if json:
        print_json({"overdue": len(overdue), "due": [each.row() for each in found], "unread": unread})
    else:
        _tell(found, unread)
    raise typer.Exit(1 if overdue else 0)


def _standing(playbook: str, places: list[Path], as_of: str) -> "tuple[list[Due], list[str]]":
    from toolkit.analysis.due import what_is_due
    from toolkit.analysis.practised import read_practised
    from toolkit.errors import UsageError
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    if not book.drills:
        raise UsageError("The playbook has no schedule", state="nothing was done", next="add [[drills]] to it")
    practised, unread = read_practised(places)
    return what_is_due(book.drills, practised, _day(as_of)), unread


def _day(text: str) -> date:
    from toolkit.errors import UsageError

    if not text:
        return utc_now().astimezone(UTC).date()
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise UsageError(f"{text!r} is no day", state="nothing was done", next="write it as 2027-01-31") from None


def _carry_out(each: "Due") -> None:
    """In a process of its own; what it says goes on. One at a time on this machine: two would measure each other."""
    from filelock import FileLock, Timeout

    from toolkit.errors import UsageError
    from toolkit.places import runtime_home

    words = shlex.split(each.command)[1:]
    typer.echo(f"{each.schedule.title}: {each.command}", err=True)
    try:
        with FileLock(runtime_home() / "practice.lock", timeout=0):
            subprocess.run([sys.executable, "-m", "toolkit", *words], stdout=sys.stderr, check=False)
    except Timeout:
        raise UsageError(
            "Practice runs already on this machine", state="nothing was begun", next="wait until it has ended"
        ) from None


def _tell(found: "list[Due]", unread: list[str]) -> None:
    rows = [each.row() for each in found]
    table = Table(*map(str, rows[0]))
    for row in rows:
        table.add_row(*map(str, row.values()))
    console = Console()
    console.print(table)
    for trouble in unread:
        console.print(f"Not read, and not counted: {trouble}", soft_wrap=True, highlight=False)
