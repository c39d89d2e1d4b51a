"""`toolkit declare`: open an incident by hand, when somebody noticed before the monitor did."""

from typing import Annotated

import typer

from toolkit.cli.options import REPORTS, Json, examples, print_json
from toolkit.clock import utc_now
from toolkit.playbook import Severity, load_playbook

EXAMPLES = examples('toolkit declare P1 "Users report that the dashboard is empty"')


def declare(
    severity: Annotated[Severity, typer.Argument(help="P0 to P3, by the playbook's classification.")],
    reason: Annotated[str, typer.Argument(help="What was seen, in one sentence. No names of customers.")],
    playbook: Annotated[str, typer.Option(help="The playbook of the service.")] = "",
    operator: Annotated[str, typer.Option(help="Who declares it, as a role.")] = "responder",
    json: Json = False,
) -> None:
    """Open an incident and print its folder, which the notebooks take as parameter `incident`."""
    from toolkit.incident import Incident

    book = load_playbook(playbook or None)
    folder = REPORTS / "incidents" / f"{utc_now():%Y%m%dT%H%M%SZ}-{book.service.name}"
    rule = book.severity[severity]
    folder = folder.resolve()  # a notebook runs in a folder of its own
    folder.mkdir(parents=True)
    Incident(folder).open(severity, [reason], actor=operator)
    if json:
        print_json({"incident": str(folder), "severity": severity, "update_every_minutes": rule.update_every_minutes})
        return
    typer.echo(f"{folder}\n{severity}: {rule.title}. An update is due every {rule.update_every_minutes} minutes.")
