"""`toolkit status`: the playbook's `--status-only`, with the incident's clock and what is due; once, or live."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.rollback_display import COLOURS
from toolkit.cli.rollback_options import DatabaseUrlEnv, PlaybookPath, TargetName
from toolkit.cli.which_incident import OfIncident

if TYPE_CHECKING:
    from toolkit.assess.incident_status import IncidentStatus
    from toolkit.assess.standing import Standing

EXAMPLES = examples("toolkit status --target sandbox", "toolkit status --target production --incident DIR --watch")
Watch = Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")]
Every = Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks with --watch.")]


def status(
    target: TargetName = "",
    incident: OfIncident = None,
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    watch: Watch = False,
    every: Every = 5.0,
    json: Json = False,
) -> None:
    """How the target and the incident stand, in 5 seconds whatever is down. Nothing is changed.

    The incident is the one that is named, or the only one that is open. Exit code 0 when all is well, 3 otherwise.
    """
    from toolkit.checks import Outcome, overall

    if watch and not json:
        _live(lambda: _render(*_look(target, incident, database_url_env, playbook)), every)
        return
    seen, about = _look(target, incident, database_url_env, playbook)
    if json:
        told: dict[str, Any] = {"target": seen.target, "checks": [vars(each) for each in seen.results]}
        print_json(told | {"incident": vars(about) if about else None})
    else:
        Console().print(_render(seen, about))
        typer.echo("Nothing was changed.")
    raise typer.Exit(0 if overall(seen.results) is Outcome.PASS else 3)


def _look(
    target: str, folder: OfIncident, database_url_env: str, playbook: str
) -> "tuple[Standing, IncidentStatus | None]":
    from toolkit.adapters.systems import connect
    from toolkit.assess.incident_status import incident_status
    from toolkit.assess.standing import standing
    from toolkit.cli.which_incident import incident_at
    from toolkit.clock import utc_now
    from toolkit.communicate.cadence import Clock
    from toolkit.errors import UsageError
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    systems = connect(book, book.target(target or None, database_url_env=database_url_env, database_only=True))
    try:
        found = incident_at(folder)
    except UsageError:
        if folder is not None:
            raise
        return standing(systems), None
    clock = Clock(systems.target.monitoring.minute_s, drafts_count=systems.target.sandbox)
    seen = standing(systems)
    return seen, incident_status(found, book, utc_now(), clock)


def _render(seen: "Standing", about: "IncidentStatus | None") -> RenderableType:
    from toolkit.clock import utc_now

    now = utc_now()
    parts: list[RenderableType] = [Text(f"{now:%Y-%m-%d %H:%M:%S} UTC", "dim")]
    if about is not None:
        parts.append(_table("incident", about.rows(now)))
    else:
        parts.append(Text("no incident is open here; --incident names one"))
    return Group(*parts, _table(seen.target, seen.rows()))


def _table(title: str, rows: list[dict[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(said, COLOURS.get(said, "")) for said in row.values()))
    return table


def _live(render: Any, every_s: float) -> None:
    """Until Ctrl-C, which is how one leaves it."""
    from rich.live import Live

    with Live(render(), auto_refresh=False, console=Console()) as live:
        while True:
            time.sleep(every_s)
            live.update(render(), refresh=True)
