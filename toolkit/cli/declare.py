"""`toolkit declare`: open an incident by hand, when somebody noticed before the monitor did, or set its severity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import REPORTS, Json, examples, print_json
from toolkit.clock import utc_now
from toolkit.playbook import Severity, load_playbook

if TYPE_CHECKING:
    from toolkit.incident import Incident

EXAMPLES = examples(
    'toolkit declare P1 "Users report that the dashboard is empty"',
    'toolkit declare P0 "Amounts are wrong, too" --incident reports/incidents/20261124T030000Z-churn-saver',
)


def declare(
    severity: Annotated[Severity, typer.Argument(help="P0 to P3, by the playbook's classification.")],
    reason: Annotated[str, typer.Argument(help="What was seen, in one sentence. No names of customers.")],
    incident: Annotated[
        Path | None, typer.Option("--incident", help="An open incident's folder: its severity becomes this one.")
    ] = None,
    another: Annotated[bool, typer.Option("--another", help="Open one although one is open.")] = False,
    playbook: Annotated[str, typer.Option(help="The playbook of the service.")] = "",
    operator: Annotated[str, typer.Option(help="Who declares it, as a role.")] = "responder",
    json: Json = False,
) -> None:
    """Open an incident and print its folder, which the notebooks take as parameter `incident`.

    With --incident an open one gets this severity; the monitor may raise it further, and does not lower it again.
    """
    from toolkit.cli.responding import call_lines
    from toolkit.incident import Incident

    book = load_playbook(playbook or None)
    rule = book.severity[severity]
    if incident is None:
        if not another:
            _refuse_beside_open(severity)
        found = _open(book.service.name, severity, reason, operator)
    else:
        found = Incident.at(incident)
        _change(found, severity, reason, operator)
    if json:
        told = {"incident": str(found.folder), "severity": severity, "update_every_minutes": rule.update_every_minutes}
        print_json(told | {"respond_within_minutes": rule.respond_within_minutes})
        return
    typer.echo(f"{found.folder}\n{severity}: {rule.title}. An update is due every {rule.update_every_minutes} minutes.")
    for line in call_lines(book, found.journal.entries()):
        typer.echo(line)


def _open(service: str, severity: Severity, reason: str, operator: str) -> "Incident":
    from toolkit.incident import Incident, new_folder

    folder = new_folder(REPORTS / "incidents", service, utc_now())
    folder.mkdir(parents=True)
    incident = Incident(folder)
    incident.open(severity, [reason], actor=operator)
    return incident


def _change(incident: "Incident", severity: Severity, reason: str, operator: str) -> None:
    from toolkit.errors import UsageError
    from toolkit.incident import State

    if incident.state in (None, State.RESOLVED):
        raise UsageError(
            f"Incident {incident.id} is {incident.state or 'not open'}",
            state="nothing was changed",
            next="declare another, without --incident",
        )
    incident.change_severity(severity, [reason], actor=operator)


def _refuse_beside_open(severity: Severity) -> None:
    """Two incidents for one outage divide those who work on it."""
    from toolkit.errors import UsageError
    from toolkit.incident import State, incidents_at_hand

    known = incidents_at_hand(REPORTS / "incidents", utc_now())
    if still_open := [each for each in known if each.state is not State.RESOLVED]:
        folder = still_open[-1].folder.resolve()
        raise UsageError(
            f"Incident {still_open[-1].id} is open already",
            state="nothing was opened",
            next=f"if it is the same, toolkit declare {severity} REASON --incident {folder}; if not, add --another",
        )
