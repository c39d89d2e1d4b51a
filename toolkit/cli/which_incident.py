"""Which incident a command is about: the one that is named, or the only one that is open."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import REPORTS

if TYPE_CHECKING:
    from toolkit.incident import Incident

OfIncident = Annotated[
    Path | None, typer.Option("--incident", help="The incident's folder; without it, the only one that is open.")
]


def incident_at(folder: Path | None) -> "Incident":
    """UsageError where none is named and not exactly one is open."""
    from toolkit.clock import utc_now
    from toolkit.errors import UsageError
    from toolkit.incident import Incident, incidents_at_hand

    if folder is not None:
        return Incident.at(folder)
    found = incidents_at_hand(REPORTS / "incidents", utc_now())
    if len(found) == 1:
        return found[0]
    named = " or ".join(str(each.folder) for each in found)
    raise UsageError(
        f"{len(found)} incidents are open" if found else f"No incident is open in {REPORTS / 'incidents'}",
        state="nothing was done",
        next=f"name one: --incident {named}" if found else "name one with --incident, or open one: toolkit declare",
    )
