"""`toolkit assess` and `toolkit decide`: the notebook `01_assess` at a terminal, and the decision that follows it."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.rollback_display import show_rows
from toolkit.cli.rollback_options import DatabaseUrlEnv, PlaybookPath, TargetName
from toolkit.cli.which_incident import OfIncident, incident_at

if TYPE_CHECKING:
    from toolkit.assess import Assessment
    from toolkit.incident import Incident

EXAMPLES = examples("toolkit assess --target sandbox --incident DIR", "toolkit assess --target production --json")
DECIDE_EXAMPLES = examples(
    'toolkit decide migration --reason "the errors name what 9 brought" --by "DevOps Lead"',
    'toolkit decide wait --reason "it is getting better by itself" --by "Engineering Lead" --incident DIR',
)


def assess(
    target: TargetName = "",
    database_url_env: DatabaseUrlEnv = "",
    playbook: PlaybookPath = "",
    incident: OfIncident = None,
    operator: Annotated[str, typer.Option("--operator", help="Who looks, as a role.")] = "responder",
    json: Json = False,
) -> None:
    """What is going on, why, and what to do about it: within 5 seconds, read only, whatever is down.

    It is journaled in the incident. Exit code 0 when the status is all well, 3 when something is not, or is not known.
    """
    from toolkit.adapters.systems import connect
    from toolkit.assess import assess as look_and_reason
    from toolkit.checks import Outcome, overall
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    systems = connect(book, book.target(target or None, database_url_env=database_url_env, database_only=True))
    made = look_and_reason(systems, incident_at(incident), actor=operator)
    if json:
        print_json({"target": systems.target.name} | made.to_json())
    else:
        _show(made, systems.target.name)
    raise typer.Exit(0 if overall(made.status) is Outcome.PASS else 3)


def _show(made: "Assessment", target: str) -> None:
    from rich.markdown import Markdown

    console = Console()
    rows = [{"what": each.name, "outcome": each.outcome.value, "evidence": each.evidence} for each in made.status]
    show_rows(console, f"status of {target}", rows)
    show_rows(console, "how far it reaches", made.scope_rows())
    show_rows(console, "errors", made.error_rows())
    show_rows(console, "locks", made.lock_rows())
    show_rows(console, "what changed", made.change_rows())
    show_rows(console, "why", made.hypothesis_rows())
    show_rows(console, "what could be done (▶ recommended)", made.option_rows())
    console.print(Markdown(made.advice()))
    typer.echo("\nNothing was changed. Next: toolkit decide, with your reason")


def decide(
    option: Annotated[
        str, typer.Argument(help="migration, application, restore, emergency, fix-forward or wait.", show_default=False)
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, in a sentence.")],
    by: Annotated[str, typer.Option("--by", help="Who decides, as a role.")],
    to: Annotated[str, typer.Option("--to", help="A version, a deployment or a backup; without it, as advised.")] = "",
    incident: OfIncident = None,
    json: Json = False,
) -> None:
    """Journal what was decided after an assessment, by whom and why. It carries nothing out."""
    from toolkit.assess.decision import decide as journal_decision

    found = incident_at(incident)
    entry = journal_decision(found, option, reason=reason, by=by, target=to)
    if json:
        print_json({"incident": str(found.folder), **entry.data, "at": entry.at})
        return
    against = "" if entry.data["follows"] else f" The assessment recommends {entry.data['recommended']}."
    typer.echo(f"Journaled: {entry.data['what']}, by {by}.{against} Nothing was carried out.{_next(found, option)}")


def _next(incident: "Incident", option: str) -> str:
    from toolkit.analysis import fields

    made = incident.latest("assessment.made")
    options = fields.objects(made.data, "options") if made else ()
    command = next((fields.text(each, "command") for each in options if each.get("kind") == option), None)
    return f"\nNext: {command}" if command else ""
