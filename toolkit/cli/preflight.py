"""`toolkit preflight`: what would make tonight's rollback fail, found today; as the notebook `00_preflight` does."""

import typer
from rich.console import Console

from toolkit.cli.options import REPORTS, Json, examples, print_json
from toolkit.cli.rollback_display import show_rows
from toolkit.cli.rollback_options import DatabaseUrlEnv, PlaybookPath, TargetName

EXAMPLES = examples("toolkit preflight --target sandbox", "toolkit preflight --target production --json")


def preflight(
    target: TargetName = "",
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Try credentials, rights, programs, backups, downs and a scratch server; nothing is changed on the target.

    Each line that does not pass names the next command. Exit code 0 when all pass, 3 otherwise.
    """
    from toolkit.adapters.systems import connect
    from toolkit.assess.preflight import preflight as look
    from toolkit.checks import Outcome, overall
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    systems = connect(book, book.target(target or None, database_url_env=database_url_env, database_only=True))
    found = look(systems, REPORTS)
    outcome = overall([each.result for each in found])
    if json:
        checks = [vars(each.result) | {"next": each.next} for each in found]
        print_json({"target": systems.target.name, "outcome": outcome, "checks": checks})
    else:
        show_rows(Console(), f"preflight of {systems.target.name}", [each.row() for each in found])
        typer.echo("Nothing was changed.")
    raise typer.Exit(0 if outcome is Outcome.PASS else 3)
