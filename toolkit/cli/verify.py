"""`toolkit verify`: the notebook `04_verify` at a terminal. Every check of the playbook: pass, fail or unknown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from toolkit.cli.options import Json, answer, examples
from toolkit.cli.rollback_display import show_rows
from toolkit.cli.rollback_options import PlaybookPath, TargetName

if TYPE_CHECKING:
    from toolkit.errors import ToolkitError
    from toolkit.verify import Verification

EXAMPLES = examples(
    "toolkit verify --target sandbox --incident DIR",
    'toolkit verify --target production --vouch "a quiet day, nobody complains"',
)


def verify(
    target: TargetName = "",
    playbook: PlaybookPath = "",
    incident: Annotated[
        Path | None, typer.Option("--incident", help="The incident's folder; without it, this is a good day's.")
    ] = None,
    operator: Annotated[str, typer.Option("--operator", help="Who looks, as a role.")] = "responder",
    vouch: Annotated[
        str, typer.Option("--vouch", help="The first time: why the present state is held for sound.")
    ] = "",
    json: Json = False,
) -> None:
    """Make every check of the playbook. Synthetic webhooks are sent, and what they left is removed again.

    When all pass, this is recorded as the last stable version, and the incident is resolved. Exit code 3 otherwise.
    """
    from toolkit.adapters.systems import connect
    from toolkit.clock import utc_now
    from toolkit.errors import ToolkitError
    from toolkit.incident import Incident
    from toolkit.playbook import load_playbook
    from toolkit.rollback.pairing import remember_queries
    from toolkit.verify import verify as look_at_everything

    book = load_playbook(playbook or None)
    systems = connect(book, book.target(target or None))
    good_day = book.folder / "reports" / "verifications" / f"{utc_now():%Y%m%dT%H%M%SZ}-{systems.target.name}"
    if incident is None:
        good_day.mkdir(parents=True)
    found = Incident.at(incident) if incident else Incident(good_day)
    made = look_at_everything(systems, found, actor=operator, vouch=vouch)
    error: ToolkitError | None = None
    try:
        made.conclude()
        found.record("queries.remembered", {"told": remember_queries(systems)}, actor=operator)
    except ToolkitError as failure:
        error = failure
    _show(made, error, json)


def _show(made: "Verification", error: "ToolkitError | None", json: bool) -> None:
    from toolkit.checks import tally

    if json:
        told = {"incident": str(made.incident.folder), "outcome": made.outcome, "tally": tally(made.results)}
        answer(told | {"checks": [vars(result) for result in made.results]}, error)
        return
    rows = [
        {"outcome": each.outcome.value, "check": each.name, "evidence": each.evidence, "s": f"{each.seconds:.1f}"}
        for each in sorted(made.results, key=lambda each: ("fail", "unknown", "pass").index(each.outcome.value))
    ]
    show_rows(Console(), f"verification of {made.systems.target.name}", rows)
    show_rows(Console(), "the steady state", made.steady_state_rows())
    if error:
        raise error
    typer.echo(f"{len(rows)} checks; recorded as the last stable version. Evidence: {made.incident.folder}")
