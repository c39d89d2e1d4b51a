"""`toolkit update`: tell people how it stands. Draft, look, send; and when the next one is due."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.acting import Operator, PlaybookPath, TargetName
from toolkit.cli.options import Json, examples, print_json
from toolkit.cli.update_display import draft_as_json, due_as_json, show_draft, show_due, show_fates, show_list
from toolkit.cli.which_incident import OfIncident, incident_at

if TYPE_CHECKING:
    from toolkit.communicate.outbox import Draft
    from toolkit.communicate.templates import Kind

app = typer.Typer(help="Tell people how it stands: draft, show, send, and when one is due.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="[DRAFT]", help="Its id or number; without it, the newest.")]
Impact = Annotated[str, typer.Option(help="What users notice, in a sentence, for inside. No names of customers.")]
PublicImpact = Annotated[str, typer.Option(help="The same for outside: status page, customers, notice.")]
Resolution = Annotated[str, typer.Option(help="What resolved it, in a sentence.")]
OnCall = Annotated[str, typer.Option(help="Who is on call, as a role.")]
To = Annotated[list[str] | None, typer.Option("--to", help="Only to this audience, as `show` names it; repeatable.")]


@app.command(
    epilog=examples(
        "toolkit update draft",
        'toolkit update draft --impact "Half of the webhooks fail" --on-call "DevOps Lead"',
        "toolkit update draft resolved",
    )
)
def draft(
    kind: Annotated[str, typer.Argument(metavar="[initial|update|resolved]", help="Without it: what is due.")] = "",
    impact: Impact = "",
    public_impact: PublicImpact = "",
    resolution: Resolution = "",
    on_call: OnCall = "",
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Write the text from the journal, show it and who would get it. Nothing is sent. What is not known says so.

    What you say here holds for the texts after it, too, until you say otherwise.
    """
    from toolkit.communicate.drafting import draft_message
    from toolkit.communicate.templates import Said
    from toolkit.playbook import load_playbook

    said = Said(impact=impact, public_impact=public_impact, resolution=resolution, on_call=on_call)
    found = incident_at(incident)
    made = draft_message(load_playbook(playbook or None), found, actor=operator, said=said, kind=_kind(kind))
    if json:
        print_json(draft_as_json(made))
    else:
        show_draft(made, found.folder)


@app.command(epilog=examples("toolkit update show", "toolkit update show 2 --json"))
def show(which: Which = "", incident: OfIncident = None, json: Json = False) -> None:
    """Show a draft as it is to be read or copied, and what became of it."""
    from toolkit.communicate.outbox import find

    found = incident_at(incident)
    made = find(found, which)
    if json:
        print_json(draft_as_json(made))
    else:
        show_draft(made, found.folder)


@app.command(
    epilog=examples(
        "toolkit update send --target production",
        'toolkit update send --target production --to "#incidents" --yes',
        "toolkit update send 2-update --again --target production",
    )
)
def send(
    which: Which = "",
    to: To = None,
    target: TargetName = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="You looked: what was perhaps sent is not there. Send it once more.")
    ] = False,
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Send a draft to everybody who has not got it. What was sent is not sent again, whoever asks and however often.

    Exit code 0 when everybody was told, 1 when something was refused or has to wait, 3 when something was perhaps sent
    or is for a person to copy.
    """
    from toolkit.communicate.access import access_to
    from toolkit.communicate.delivery import Post, send_draft
    from toolkit.communicate.outbox import find
    from toolkit.playbook import load_playbook
    from toolkit.playbook.environment import target_named

    found, book = incident_at(incident), load_playbook(playbook or None)
    access = access_to(book, target_named(target))
    made = find(found, which)
    if not json:
        show_draft(made, found.folder)
    _ask(made, yes)
    made = send_draft(
        found, made, Post(book, access.senders, operator, sandbox=access.sandbox), only=to or (), again=again
    )
    if json:
        print_json(draft_as_json(made, access.missing))
    else:
        show_fates(made, access.missing)
    raise typer.Exit(_exit_code(made, to or ()))


@app.command(epilog=examples("toolkit update copied", 'toolkit update copied 1 --to "Executives"'))
def copied(
    which: Which = "",
    to: To = None,
    incident: OfIncident = None,
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Say that you posted a draft by hand. It counts as made then, and is not sent any more."""
    from toolkit.communicate.outbox import mark_copied

    found = incident_at(incident)
    made = mark_copied(found, which, to or (), actor=operator)
    if json:
        print_json(draft_as_json(made))
    else:
        show_fates(made, {})


@app.command(
    epilog=examples("toolkit update settle 2-update.1 --sent", "toolkit update settle 2-update.1 --not-sent"),
)
def settle(
    delivery: Annotated[str, typer.Argument(help="The delivery's id, as `show` tells it.")],
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether it is there.")],
    incident: OfIncident = None,
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Say of what was perhaps sent whether it is there. What is not there can be sent again."""
    from toolkit.communicate.outbox import settle as settle_delivery

    made = settle_delivery(incident_at(incident), delivery, sent=sent, actor=operator)
    if json:
        print_json(draft_as_json(made))
    else:
        show_fates(made, {})


@app.command(
    epilog=examples("toolkit update ticket vercel --target production", "toolkit update ticket supabase --json")
)
def ticket(
    vendor: Annotated[str, typer.Argument(help="vercel or supabase.")],
    target: TargetName = "",
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Write what the vendor is to be told, with the facts filled in, for you to put into its support portal."""
    from toolkit.communicate.tickets import write_ticket
    from toolkit.playbook import load_playbook
    from toolkit.playbook.environment import target_named

    book, found = load_playbook(playbook or None), incident_at(incident)
    written = write_ticket(book, found, vendor, target_named(target), actor=operator)
    if json:
        print_json(vars(written))
    else:
        typer.echo(f"{written.subject}\n\n{written.text}\n\nWhere: {written.portal}\nThe text is in {written.file}")


@app.command(
    epilog=examples(
        "toolkit update channel --target production",
        'toolkit update channel --link "#inc-payments" --target production',
    )
)
def channel(
    link: Annotated[str, typer.Option(help="Use this channel, by its name or id, instead of opening one.")] = "",
    target: TargetName = "",
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """Open a channel for the incident, or link one that is there. It is told everything from then on."""
    from toolkit.communicate.channel import open_channel
    from toolkit.playbook import load_playbook
    from toolkit.playbook.environment import target_named

    book, found = load_playbook(playbook or None), incident_at(incident)
    there = open_channel(book, found, target_named(target), link=link, actor=operator)
    if json:
        print_json(vars(there))
    else:
        typer.echo(f"{there.name} ({there.id}): {'it was there' if there.was_there else 'opened'}")


@app.command(name="list", epilog=examples("toolkit update list", "toolkit update list --json"))
def list_updates(incident: OfIncident = None, json: Json = False) -> None:
    """All drafts of the incident, and what became of each."""
    from toolkit.communicate.outbox import drafts

    found = incident_at(incident)
    known = drafts(found.journal.entries())
    if json:
        print_json({"incident": found.id, "drafts": [draft_as_json(each) for each in known]})
        return
    show_list(known)
    if not known:
        typer.echo("Nothing was drafted. toolkit update draft")


@app.command(epilog=examples("toolkit update due", "toolkit update due --watch", "toolkit update due --json"))
def due(
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and ring when one is due, until all is told.")] = False,
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    operator: Operator = "responder",
    json: Json = False,
) -> None:
    """When the next update is due, and how the promises before it were kept; marks in the journal what was missed."""
    from toolkit.communicate.reminding import Reminder
    from toolkit.playbook import load_playbook

    reminder = Reminder(load_playbook(playbook or None), incident_at(incident), actor=operator)
    state = reminder.look()
    if json:
        print_json(due_as_json(state))
        return
    show_due(state)
    while watch and state.cadence.next is not None:
        state = reminder.wait()
        show_due(state, ring=True)


def _kind(word: str) -> "Kind | None":
    from toolkit.communicate.templates import Kind
    from toolkit.errors import UsageError

    if not word:
        return None
    try:
        return Kind(word)
    except ValueError:
        raise UsageError(f"There is no {word!r}", next=f"use {', '.join(Kind)}") from None


def _ask(made: "Draft", yes: bool) -> None:
    """Before something leaves: once, by a person at a terminal, or by --yes."""
    from toolkit.errors import UsageError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked", state="nothing was sent", next="look at it, then add --yes")
    outside = [each.audience.name for each in made.deliveries if each.audience.outside]
    if not typer.confirm(f"Send it{f' (also outside: {chr(44).join(outside)})' if outside else ''}?"):
        raise typer.Abort


def _exit_code(made: "Draft", only: "list[str] | tuple[str, ...]") -> int:
    from toolkit.communicate.outbox import Fate

    fates = {each.fate for each in made.deliveries if not only or {each.id, each.audience.name} & set(only)}
    if fates & {Fate.REFUSED, Fate.WAITING}:
        return 1
    return 3 if fates & {Fate.UNSURE, Fate.SENDING, Fate.DRAFTED} else 0
