"""`toolkit salvage`: what downs have destroyed and was copied first; list it, and put it back."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolkit.cli.acting import Act, Confirm, Execute, IncidentFolder, Operator, PlaybookPath, TargetName, database_of
from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.rollback_display import show_rows

if TYPE_CHECKING:
    from toolkit.rollback.salvage import Salvaged

app = typer.Typer(help="List what downs destroyed, and put it back.", no_args_is_help=True)

OfIncident = Annotated[str, typer.Option("--of", help="Only what this incident salvaged, by the name of its folder.")]


@app.command(
    name="list",
    epilog=examples(
        "toolkit salvage list --target sandbox", "toolkit salvage list --of INCIDENT --target sandbox --json"
    ),
)
def list_salvage(target: TargetName = "", playbook: PlaybookPath = "", of: OfIncident = "", json: Json = False) -> None:
    """What was copied, of which table, how many rows, where it stands, and whether it went back. No value is shown."""
    from toolkit.rollback.salvage import list_salvaged

    found = list_salvaged(database_of(target, playbook).database, of or None)
    if json:
        print_json({"salvaged": [vars(each) for each in found]})
        return
    show_rows(Console(), "salvaged", [_row(each) for each in found])
    if not found:
        typer.echo("Nothing was salvaged.")


@app.command(
    name="put-back",
    epilog=examples(
        "toolkit salvage put-back INCIDENT --target sandbox",
        "toolkit salvage put-back INCIDENT --version 9 --target sandbox --incident FOLDER --execute",
    ),
)
def put_salvage_back(
    of: Annotated[str, typer.Argument(metavar="INCIDENT", help="Whose salvage, by the name of the incident's folder.")],
    version: Annotated[int | None, typer.Option("--version", help="Only what this migration's down took.")] = None,
    only: Annotated[list[int] | None, typer.Option("--id", help="Only this copy, by its number in the list.")] = None,
    target: TargetName = "",
    playbook: PlaybookPath = "",
    incident: IncidentFolder = None,
    operator: Operator = "responder",
    execute: Execute = False,
    confirm: Confirm = "",
    json: Json = False,
) -> None:
    """Put back what downs took, once their migrations were applied again: in one transaction, each copy once.

    It writes over what the migration puts there, so it goes back before writes are let in again.
    """
    from toolkit.rollback.salvage import list_salvaged, put_back_in

    words = ("toolkit", "salvage", "put-back", of, *(("--version", str(version)) if version is not None else ()))
    words += tuple(word for each in only or () for word in ("--id", str(each)))
    act = Act(target, playbook, incident, operator, confirm, words)
    systems = act.systems()
    wanted = [
        each
        for each in list_salvaged(systems.database, of)
        if each.put_back_at is None and version in (None, each.version) and (not only or each.id in only)
    ]
    going = [each for each in wanted if each.put_back]
    if not json:
        show_rows(Console(), "salvaged and not put back", [_row(each) for each in wanted])
    if not execute or not going:
        act.told_dry(f"{len(going)} copies go back", json=json, copies=[vars(each) for each in wanted])
        return
    numbers = [each.id for each in going]
    with act.begun(systems, "salvage.put_back", f"put back the salvage of {of}", copies=numbers) as (journal, lease):
        with systems.database.writing() as conn:
            lease.guard(conn)
            done = put_back_in(conn, of, target=systems.target.name, only=numbers)
        told = [str(each) for each in done]
        journal.record("salvage.put_back", {"copies": numbers, "rows": sum(each.rows for each in done)}, actor=operator)
    if json:
        print_json({"executed": True, "put_back": told})
    else:
        typer.echo("Put back: " + ("; ".join(told) or "nothing"))


def _row(each: "Salvaged") -> dict[str, str]:
    at = each.put_back_at
    return {
        "id": str(each.id),
        "incident": each.incident,
        "migration": str(each.version),
        "what": str(each),
        "put back": f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "no" if each.put_back else f"by hand: {each.note}",
    }
