"""`toolkit migration`: how the migrations stand, and how far one came that stopped half-way. It only reads."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.rollback_display import Progress, show_rows
from toolkit.cli.rollback_options import DatabaseUrlEnv, PlaybookPath, TargetName

if TYPE_CHECKING:
    from toolkit.adapters.systems import Systems
    from toolkit.rollback.migrations import Migration

app = typer.Typer(help="Look at the migrations of a target; nothing is changed.", no_args_is_help=True)


@app.command(
    epilog=examples("toolkit migration status --target sandbox", "toolkit migration status --target production --json")
)
def status(
    target: TargetName = "",
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """What the state table says, held against the folder: applied, waiting, missing, changed, and who holds the lock.

    Exit code 0 when table and folder agree, 3 when they do not.
    """
    from dataclasses import asdict

    from toolkit.rollback.migrations import read_folder
    from toolkit.rollback.state_tables import read_state

    systems = _systems(target, database_url_env, playbook)
    folder = read_folder(systems.target.migrations)
    state = read_state(systems.database, folder, systems.playbook.database.state_table)
    told = state.differences()
    if json:
        print_json({"target": systems.target.name, **asdict(state), "differences": told})
    else:
        typer.echo(f"{state.tool}, {state.schema}.{state.table} on {systems.target.name}: {state.said}")
        rows = [_row(folder.migrations[each], "applied") for each in state.applied if each in folder.migrations]
        rows += [_row(folder.migrations[each], "waiting") for each in state.pending if each in folder.migrations]
        show_rows(Console(), "migrations", rows)
        for each in told:
            typer.echo(f"- {each}")
        if state.dirty:
            typer.echo(f"Next: toolkit migration diagnose --target {systems.target.name}")
    raise typer.Exit(3 if told else 0)


@app.command(
    epilog=examples(
        "toolkit migration diagnose --target sandbox",
        "toolkit migration diagnose --migration 9 --target production --json",
    )
)
def diagnose(
    migration: Annotated[
        str, typer.Option("--migration", help="One of the folder; without it, the one that the state table names.")
    ] = "",
    target: TargetName = "",
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """How far a migration came, and the statements that finish it or undo it; nothing is run on the target.

    The schema before it and after each of its statements is built on a scratch server and held against the live one.
    Exit code 0 when it can be told, 3 when it cannot.
    """
    from rich.markdown import Markdown

    from toolkit.rollback import diagnosis
    from toolkit.rollback.half_applied import Verdict

    systems = _systems(target, database_url_env, playbook)
    version = _version(systems, migration) if migration else None
    with Progress(Console(stderr=json)) as progress:
        found = diagnosis.diagnose(systems, version, advance=progress)
    if json:
        ways = {"finished": found.finished, "undone": found.undone}
        recorded = {way: {"said": each.said, "statements": list(each.statements)} for way, each in ways.items()}
        print_json({"target": systems.target.name, **found.to_json(), "recorded": recorded})
    else:
        Console().print(Markdown(found.heading()))
        show_rows(Console(), "what is there", found.rows())
        typer.echo("Nothing was changed.")
    raise typer.Exit(3 if found.verdict is Verdict.UNKNOWN else 0)


def _version(systems: "Systems", name: str) -> int:
    from toolkit.errors import UsageError
    from toolkit.rollback.migrations import read_folder

    folder = read_folder(systems.target.migrations)
    found = folder.named(name)
    if found is None:
        latest = ", ".join(folder.migrations[each].label for each in folder.versions[-10:])
        raise UsageError(f"There is no migration {name!r}", state="nothing was done", next=f"name one of {latest}")
    return found.version


def _row(migration: "Migration", how: str) -> dict[str, str]:
    down = migration.down_problem or "it has one"
    return {"migration": migration.label, "name": migration.name, "is": how, "down": down}


def _systems(target: str, database_url_env: str, playbook: str) -> "Systems":
    from toolkit.adapters.systems import connect
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    return connect(book, book.target(target or None, database_url_env=database_url_env, database_only=True))
