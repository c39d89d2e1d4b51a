"""`toolkit checklist`: what is answered, open, due; and the words by which people say that something is done."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import REPORTS, Json, examples, print_json
from toolkit.cli.which_incident import OfIncident, incident_at
from toolkit.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.checklist import Checklists, Standing
    from toolkit.incident import Incident
    from toolkit.playbook import Playbook

app = typer.Typer(help="The playbook's checklists of an incident: look, tick, override.", no_args_is_help=True)

PlaybookPath = Annotated[str, typer.Option("--playbook", help="The playbook of the service.")]
By = Annotated[str, typer.Option("--by", help="Your name: it is journaled with the time.")]
ItemId = Annotated[str, typer.Argument(help="The item's id, as `show` prints it.")]


@app.command(name="list", epilog=examples("toolkit checklist list", "toolkit checklist list --incident DIR --json"))
def list_(incident: OfIncident = None, playbook: PlaybookPath = "", json: Json = False) -> None:
    """Every list with how many of its items are settled, and which still block a destructive step."""
    found, _, _, standing = _look(incident, playbook)
    rows = [
        _summary(name, [s for s in standing if s.checklist == name])
        for name in dict.fromkeys(s.checklist for s in standing)
    ]
    if json:
        print_json(
            {"incident": str(found.folder), "lists": rows, "blocking": [s.item.id for s in standing if s.blocking]}
        )
        return
    _tell([{key: str(value) for key, value in row.items()} for row in rows])
    _tell_blocking(standing)


@app.command(epilog=examples("toolkit checklist show pre-rollback", "toolkit checklist show post-incident --json"))
def show(
    name: Annotated[str, typer.Argument(help="A list's name, as `list` prints it.")],
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """One list: each item, who or what answered it, when, and with which evidence."""
    found, _, _, standing = _look(incident, playbook, name)
    now = utc_now()
    if json:
        print_json({"incident": str(found.folder), "list": name, "items": [_told(each) for each in standing]})
        return
    for group in dict.fromkeys(each.group for each in standing):
        typer.echo(f"\n{group}" if group else "")
        _tell([each.row(now) for each in standing if each.group == group])
    _tell_blocking(standing)


@app.command(epilog=examples("toolkit checklist tick pre.stakeholders --by 'Jo Doe'"))
def tick(
    item: ItemId,
    by: By,
    note: Annotated[str, typer.Option("--note", help="What others should know of it. No names of customers.")] = "",
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Say that an item is done. What a check answers cannot be ticked."""
    from toolkit import checklist

    found, book, lists = _open(incident, playbook)
    checklist.tick(found, book, lists, item, by=by, note=note)
    _answer(found, book, lists, item, json)


@app.command(epilog=examples("toolkit checklist untick pre.stakeholders --by 'Jo Doe'"))
def untick(
    item: ItemId,
    by: By,
    note: Annotated[str, typer.Option("--note", help="Why it is taken back.")] = "",
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Take back what was ticked or overridden. The journal keeps both."""
    from toolkit import checklist

    found, book, lists = _open(incident, playbook)
    checklist.untick(found, lists, item, by=by, note=note)
    _answer(found, book, lists, item, json)


@app.command(epilog=examples("toolkit checklist override pre.impact --by 'Jo Doe' --reason 'the log is down too'"))
def override(
    item: ItemId,
    by: By,
    reason: Annotated[str, typer.Option("--reason", help="Why it may stay open. It is in the report.")],
    incident: OfIncident = None,
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """Say why an item may stay open, so that a destructive step need not wait for it."""
    from toolkit import checklist

    found, book, lists = _open(incident, playbook)
    checklist.override(found, lists, item, by=by, reason=reason)
    _answer(found, book, lists, item, json)


@app.command(epilog=examples("toolkit checklist due", "toolkit checklist due --reports reports/incidents --json"))
def due(
    reports: Annotated[Path, typer.Option(help="The folder that holds the incidents' folders.")] = REPORTS
    / "incidents",
    playbook: PlaybookPath = "",
    json: Json = False,
) -> None:
    """What is to be done after each incident: due, or overdue. Exit code 3 when something is overdue."""
    from toolkit.checklist import due_items, load_checklists
    from toolkit.checklist.standing import evidence_of
    from toolkit.playbook import load_playbook

    book, now = load_playbook(playbook or None), utc_now()
    lists = load_checklists(book)
    rows = [
        {"incident": each.id, **_told(item), "overdue": item.overdue(now)}
        for each in _incidents(reports)
        for item in due_items(lists, evidence_of(each, book))
    ]
    late = sum(bool(row["overdue"]) for row in rows)
    if json:
        print_json({"due": rows, "overdue": late})
    else:
        _tell(
            [
                {
                    "incident": str(r["incident"]),
                    "due": f"{'OVERDUE since ' if r['overdue'] else ''}{r['due']}",
                    "item": str(r["text"]),
                    "id": str(r["id"]),
                }
                for r in rows
            ]
        )
        typer.echo(f"{len(rows)} items are to be done, {late} of them are overdue.")
    raise typer.Exit(3 if late else 0)


def _open(folder: Path | None, playbook: str) -> "tuple[Incident, Playbook, Checklists]":
    from toolkit.checklist import load_checklists
    from toolkit.playbook import load_playbook

    book = load_playbook(playbook or None)
    return incident_at(folder), book, load_checklists(book)


def _incidents(home: Path) -> "list[Incident]":
    from toolkit.incident import JOURNAL_FILE, Incident

    return [Incident(path.parent) for path in sorted(home.glob(f"*/{JOURNAL_FILE}"))]


def _look(folder: Path | None, playbook: str, *names: str) -> "tuple[Incident, Playbook, Checklists, list[Standing]]":
    from toolkit.checklist import standings
    from toolkit.checklist.standing import evidence_of

    found, book, lists = _open(folder, playbook)
    return found, book, lists, standings(lists, evidence_of(found, book), names)


def _answer(found: "Incident", book: "Playbook", lists: "Checklists", item: str, json: bool) -> None:
    from toolkit.checklist import standings
    from toolkit.checklist.standing import evidence_of

    standing = standings(lists, evidence_of(found, book))
    mine = next(each for each in standing if each.item.id == item)
    if json:
        print_json({"incident": str(found.folder), **_told(mine)})
        return
    typer.echo(f"{mine.item.text}: {mine.state}")
    _tell_blocking(standing)


def _summary(name: str, standing: "Sequence[Standing]") -> dict[str, str | int]:
    return {
        "list": name,
        "items": len(standing),
        "settled": sum(each.settled for each in standing),
        "failed": sum(each.state == "failed" for each in standing),
        "overdue": sum(each.overdue(utc_now()) for each in standing),
        "blocking": ", ".join(each.item.id for each in standing if each.blocking),
    }


def _told(standing: "Standing") -> dict[str, object]:
    return {
        "id": standing.item.id,
        "text": standing.item.text,
        "list": standing.checklist,
        "state": standing.state.value,
        "blocks": standing.item.blocks,
        "by": standing.by,
        "at": standing.at,
        "evidence": standing.evidence,
        "due": f"{standing.due:%Y-%m-%dT%H:%MZ}" if standing.due else None,
    }


def _tell(rows: "Sequence[dict[str, str]]") -> None:
    from toolkit.columns import in_columns

    typer.echo(in_columns(rows))


def _tell_blocking(standing: "Sequence[Standing]") -> None:
    for each in standing:
        if each.blocking:
            typer.echo(f"A destructive step waits for {each.item.id}: {each.item.text}")
