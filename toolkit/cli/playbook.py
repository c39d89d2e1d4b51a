"""`toolkit playbook`: is it filled in, and what does it say? Both read the file alone, and answer at once."""

from typing import Annotated

import typer

from toolkit.cli.options import Json, examples, print_json
from toolkit.clock import utc_now

app = typer.Typer(help="The playbook of the service: check it, show a section.", no_args_is_help=True)

PlaybookPath = Annotated[str, typer.Option("--playbook", help="The playbook of the service.")]


@app.command(epilog=examples("toolkit playbook check", "toolkit playbook check --playbook other.toml --json"))
def check(playbook: PlaybookPath = "", json: Json = False) -> None:
    """Say for every key what is wrong, missing, a placeholder or past its date, where it stands, and what to write.

    Exit code 0 when there is nothing to write, 1 otherwise.
    """
    from toolkit.playbook import find_playbook
    from toolkit.playbook.check import check_playbook

    file = find_playbook(playbook or None)
    faults = check_playbook(file, utc_now().date())
    if json:
        print_json({"playbook": str(file), "good": not faults, "keys": [fault.row() for fault in faults]})
    else:
        for fault in faults:
            typer.echo(f"{file}:{fault.line}: {fault}")
        typer.echo(f"{len(faults)} keys are to be written." if faults else "Every key is filled in and in date.")
    raise typer.Exit(1 if faults else 0)


@app.command(
    epilog=examples("toolkit playbook show contacts", "toolkit playbook show severity", "toolkit playbook show links")
)
def show(
    section: Annotated[str, typer.Argument(help="contacts, severity, channels, links, or any other section.")],
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Show a section of the playbook. It needs no network, and no other section of the file to be right."""
    from toolkit.playbook import find_playbook
    from toolkit.playbook.showing import show_section

    file = find_playbook(playbook or None)
    blocks = show_section(file, section)
    if json:
        print_json({"playbook": str(file), section: {block.title: list(block.rows) for block in blocks}})
        return
    typer.echo("\n\n".join(block.text() for block in blocks))
    typer.echo(f"\nFrom {file}")
