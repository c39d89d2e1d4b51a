"""`toolkit acknowledge`, `role` and `note`: who has it, who does what, and what people saw. One journal entry each."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.acting import Operator, PlaybookPath
from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.which_incident import OfIncident, incident_at
from toolkit.clock import utc_now

if TYPE_CHECKING:
    from toolkit.incident import Incident
    from toolkit.journal import Entry
    from toolkit.on_call import Role
    from toolkit.playbook import Playbook

ACKNOWLEDGE_EXAMPLES = examples(
    'toolkit acknowledge --operator "DevOps Lead"', 'toolkit acknowledge "Looking at migration 9" --json'
)
ROLE_EXAMPLES = examples(
    'toolkit role lead "DevOps Lead"', 'toolkit role scribe "Product Owner"', "toolkit role", "toolkit role --json"
)
NOTE_EXAMPLES = examples(
    'toolkit note "The error began with the deployment of 03:00"',
    'toolkit note --from-users "Three tickets: the dashboard is empty"',
)


def acknowledge(
    why: Annotated[str, typer.Argument(metavar="[REASON]", help="What you do now, in a sentence.")] = "",
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Say that you have it. Nobody else is called from then on. Saying it again changes nothing."""
    from toolkit.incident import State
    from toolkit.playbook import load_playbook

    book, found = load_playbook(playbook or None), incident_at(incident)
    new = found.advance(State.ACKNOWLEDGED, why or "somebody has it", actor=operator)
    clock = _clock_told(book, found)
    if json:
        print_json({"incident": str(found.folder), "acknowledged": new, "state": found.state, "clock": clock})
        return
    typer.echo(f"{found.id}: {'acknowledged' if new else f'it is {found.state} already'}. {clock}")
    if new:
        typer.echo(f'Next: toolkit role lead "{operator}"; toolkit update draft; 01_assess')


def role(
    which: Annotated[str, typer.Argument(metavar="[lead|communications|scribe]", help="Without it: all.")] = "",
    who: Annotated[str, typer.Argument(metavar="[WHO]", help="Who takes it, as a role.")] = "",
    incident: OfIncident = None,
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Say who leads, who tells others, and who writes down; or show it."""
    from toolkit.on_call import Role, roles_in, take_role

    found = incident_at(incident)
    if which:
        take_role(found, _role(which), who, actor=operator)
    held = roles_in(found.journal.entries())
    if json:
        print_json({"incident": str(found.folder), "roles": {each: held.get(each) for each in Role}})
        return
    for each in Role:
        typer.echo(f"{each.in_words:15} {held.get(each, '– nobody')}")


def note(
    text: Annotated[str, typer.Argument(help="What was seen, thought or told. No names of customers.")],
    from_users: Annotated[bool, typer.Option("--from-users", help="It is what users report.")] = False,
    incident: OfIncident = None,
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Write something into the incident's journal; it stands in the timeline of the post-mortem."""
    from toolkit.on_call import add_note

    found = incident_at(incident)
    entry = add_note(found, text, actor=operator, from_users=from_users)
    if json:
        print_json({"incident": str(found.folder), "entry": entry.seq, "kind": entry.kind})
    else:
        typer.echo(f"{found.id}: entry {entry.seq}, {entry.at:%H:%M:%S} UTC")


def call_lines(book: "Playbook", entries: "Sequence[Entry]") -> Iterator[str]:
    """Whom to call now and with which number, and whom after that. Nothing when somebody has it."""
    from toolkit.incident import State, state_in
    from toolkit.on_call import escalations, numbers

    if state_in(entries) is not State.OPEN:
        return
    now = utc_now()
    for each in escalations(book, entries):
        when = "call now" if each.due.at <= now else f"from {each.due.at:%H:%M:%S} UTC, unless somebody acknowledges"
        yield f"{when}:"
        for role_name, number in numbers(book, each.roles).items():
            yield f"  {role_name}: {number}"


def _role(word: str) -> "Role":
    from toolkit.errors import UsageError
    from toolkit.on_call import Role

    try:
        return Role(word)
    except ValueError:
        raise UsageError(f"There is no role {word!r}", next=f"use {', '.join(Role)}") from None


def _clock_told(book: "Playbook", incident: "Incident") -> str:
    from toolkit.analysis import words
    from toolkit.on_call import response_clock

    clock = response_clock(book, incident.journal.entries())
    if clock is None or clock.answered is None:
        return ""
    took = words.duration((clock.answered - clock.due.since).total_seconds())
    limit = f"within {words.duration(clock.due.limit_s)}" if clock.due.limit_s else "at once"
    late = clock.late_by(clock.answered)
    over = f", {words.duration(late.total_seconds())} late" if late else ""
    return f"Answered after {took}; {clock.due.severity} is to be answered {limit}{over}."
