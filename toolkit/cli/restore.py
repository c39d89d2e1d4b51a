"""`toolkit restore`: what a restore left behind, its conflicts, and undoing its swap."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolkit.cli.acting import Act, Confirm, Execute, IncidentFolder, Operator, PlaybookPath, TargetName, database_of
from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.rollback_display import show_rows

if TYPE_CHECKING:
    from toolkit.adapters.conflicts import Conflict

app = typer.Typer(help="What a restore left behind: list it, settle it, remove it, undo it.", no_args_is_help=True)

Mark = Annotated[str, typer.Argument(help="A restore's mark, as `toolkit restore leftovers` lists it.")]


@app.command(epilog=examples("toolkit restore leftovers --target sandbox"))
def leftovers(target: TargetName = "", playbook: PlaybookPath = "", json: Json = False) -> None:
    """The damaged data that was kept, and copies that never came in. Nothing of it is removed by itself."""
    from toolkit.rollback.restore.discarding import leftovers as find

    rows = [each.row() for each in find(database_of(target, playbook).database)]
    if json:
        print_json({"leftovers": rows})
        return
    show_rows(Console(), "left behind", rows)
    typer.echo("Remove one with `toolkit restore discard MARK`." if rows else "Nothing was left behind.")


@app.command(
    epilog=examples(
        "toolkit restore discard 1a2b3c4d --target sandbox",
        "toolkit restore discard 1a2b3c4d --target sandbox --incident FOLDER --execute",
    )
)
def discard(
    mark: Mark,
    target: TargetName = "",
    playbook: PlaybookPath = "",
    incident: IncidentFolder = None,
    operator: Operator = "responder",
    execute: Execute = False,
    confirm: Confirm = "",
    json: Json = False,
) -> None:
    """Remove the damaged data of a restore for good, and a copy of it that stands beside."""
    from toolkit.rollback.restore.discarding import discard as remove
    from toolkit.rollback.restore.discarding import leftovers as find
    from toolkit.rollback.restore.discarding import require_kept

    act = Act(target, playbook, incident, operator, confirm, ("toolkit", "restore", "discard", mark))
    systems = act.systems()
    names = [name for each in require_kept(find(systems.database), mark) for name in each.names]
    if not execute:
        act.told_dry(f"{', '.join(names)} would be removed for good", json=json, names=names)
        return
    with act.begun(systems, "restore.discard", f"discard restore {mark}", names=names) as (journal, lease):
        removed = remove(systems.database, mark, guard=lease.guard)
        journal.record("restore.discarded", {"mark": mark, "names": removed}, actor=operator)
    if json:
        print_json({"executed": True, "removed": removed})
    else:
        typer.echo(f"Removed: {', '.join(removed)}")


@app.command(
    name="put-back",
    epilog=examples(
        "toolkit restore put-back 1a2b3c4d --target sandbox",
        "toolkit restore put-back 1a2b3c4d --target sandbox --incident FOLDER --execute",
    ),
)
def put_back(
    mark: Mark,
    target: TargetName = "",
    playbook: PlaybookPath = "",
    incident: IncidentFolder = None,
    operator: Operator = "responder",
    execute: Execute = False,
    confirm: Confirm = "",
    json: Json = False,
) -> None:
    """Undo a swap: the damaged data is live again, the restored data stands beside.

    Refused where something was written since, for that is in the restored data only.
    """
    from toolkit.rollback.restore.putting_back import put_back as undo
    from toolkit.rollback.restore.putting_back import swap_to_undo

    act = Act(target, playbook, incident, operator, confirm, ("toolkit", "restore", "put-back", mark))
    systems = act.systems()
    swapped = swap_to_undo(systems.database, mark)
    if not execute:
        act.told_dry(f"the {swapped.way} of swap {mark} are exchanged again", json=json, way=swapped.way)
        return
    with act.begun(systems, "restore.put_back", f"put back swap {mark}", way=swapped.way) as (journal, lease):
        said = undo(act.around(systems, journal, lease), swapped)
        journal.record("restore.put_back", {"mark": mark, "outcome": said}, actor=operator)
    if json:
        print_json({"executed": True, "outcome": said})
    else:
        typer.echo(f"Done: {said}. Next: verify all of it (04_verify).")


@app.command(epilog=examples("toolkit restore conflicts --target sandbox", "toolkit restore conflicts --json"))
def conflicts(target: TargetName = "", playbook: PlaybookPath = "", json: Json = False) -> None:
    """What the merge of a restore could not decide, row by row: table, key, column and reason. Never a value.

    Exit code 3 while one is undecided.
    """
    from toolkit.adapters.conflicts import undecided

    with database_of(target, playbook).database.reading() as conn:
        found = undecided(conn)
    rows = [_row(each) for each in found]
    if json:
        print_json({"undecided": rows})
    else:
        show_rows(Console(), "undecided", rows)
        typer.echo("Settle them with `toolkit restore settle MARK REASON`." if rows else "No conflict is undecided.")
    raise typer.Exit(3 if rows else 0)


@app.command(
    epilog=examples(
        'toolkit restore settle 1a2b3c4d "looked at, the live values are right" --target sandbox',
        'toolkit restore settle 1a2b3c4d "put in by hand" --table public.events --incident FOLDER --execute',
    )
)
def settle(
    mark: Annotated[str, typer.Argument(help="The mark that stands beside a conflict.")],
    reason: Annotated[str, typer.Argument(help="What was looked at, and what came of it.")],
    table: Annotated[str, typer.Option("--table", help="Only the conflicts of this table.")] = "",
    target: TargetName = "",
    playbook: PlaybookPath = "",
    incident: IncidentFolder = None,
    operator: Operator = "responder",
    execute: Execute = False,
    confirm: Confirm = "",
    json: Json = False,
) -> None:
    """Say that a restore's conflicts were looked at. They stay on record, with the reason."""
    from toolkit.adapters.conflicts import settle as mark_settled
    from toolkit.adapters.conflicts import undecided

    words = ("toolkit", "restore", "settle", mark, reason, *(("--table", table) if table else ()))
    act = Act(target, playbook, incident, operator, confirm, words)
    systems = act.systems()
    with systems.database.reading() as conn:
        found = [each for each in undecided(conn, mark) if table in ("", each.table)]
    if not execute or not found:
        act.told_dry(f"{len(found)} conflicts are settled", json=json, conflicts=[_row(each) for each in found])
        return
    with act.begun(systems, "conflicts.settle", f"settle conflicts of {mark}", reason=reason) as (journal, lease):
        with systems.database.writing() as conn:
            lease.guard(conn)
            count = mark_settled(conn, mark, f"{operator}: {reason}", table=table or None)
        journal.record("conflicts.settled", {"mark": mark, "count": count, "reason": reason}, actor=operator)
    if json:
        print_json({"executed": True, "settled": count})
    else:
        typer.echo(f"{count} conflicts are settled.")


def _row(each: "Conflict") -> dict[str, str]:
    key = ", ".join(f"{name}={value}" for name, value in each.key.items())
    return {"mark": each.mark, "table": each.table, "key": key, "column": each.column, "reason": each.reason}
