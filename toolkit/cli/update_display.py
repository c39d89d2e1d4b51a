"""How drafts and promises look at a terminal, and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from toolkit.communicate.outbox import By, Delivery, Draft
    from toolkit.communicate.reminding import Standing


def show_draft(draft: "Draft", folder: Path) -> None:
    """The text as it is to be copied, with nothing around it but what has to be said."""
    outside = [each for each in draft.deliveries if each.audience.outside]
    typer.echo(f"{draft.id}, drafted {draft.at:%H:%M:%S} UTC\n")
    typer.echo(draft.message.inside)
    if outside and draft.message.outside != draft.message.inside:
        typer.echo(f"\nFor outside ({', '.join(each.audience.name for each in outside)}):\n")
        typer.echo(draft.message.outside)
    typer.echo("")
    for where, gaps in (("", draft.message.gaps), ("outside: ", draft.message.outside_gaps if outside else ())):
        if gaps:
            options = ", ".join(
                f"--{gap.replace('_', '-')}" for gap in gaps if gap in ("impact", "resolution", "on_call")
            )
            typer.echo(f"{where}not known: {', '.join(gaps)}" + (f" (say it: {options})" if options else ""))
    show_fates(draft, {})
    typer.echo(f"The text is in {folder / 'outbox' / f'{draft.id}.txt'}")
    if draft.message.drill:
        typer.echo("A drill's: it is sent to nobody.")


def show_fates(draft: "Draft", missing: "Mapping[By, str]") -> None:
    """One line for each audience: what became of it, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (draft.id, "for", "by", "what became of it"):
        table.add_column(name, overflow="fold")
    for each in draft.deliveries:
        outside = " (outside)" if each.audience.outside else ""
        table.add_row(each.id.rpartition(".")[2], each.audience.name + outside, each.audience.by, _fate(each, missing))
    Console().print(table)


def show_list(drafts: "Sequence[Draft]") -> None:
    """One line for each draft: when, and how many deliveries came to what."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("draft", "at (UTC)", "severity", "what became of it"):
        table.add_column(name, overflow="fold")
    for each in drafts:
        fates = Counter(str(delivery.fate) for delivery in each.deliveries)
        told = ", ".join(f"{count} {fate}" for fate, count in fates.items())
        table.add_row(each.id, f"{each.at:%H:%M:%S}", each.message.severity, told)
    Console().print(table)


def draft_as_json(draft: "Draft", missing: "Mapping[By, str] | None" = None) -> dict[str, Any]:
    from toolkit.communicate.delivery import why_not

    message = draft.message
    return {
        "draft": draft.id,
        "at": draft.at,
        "kind": message.kind,
        "severity": message.severity,
        "drill": message.drill,
        "text": message.inside,
        "outside_text": message.outside,
        "not_known": list(message.gaps),
        "not_known_outside": list(message.outside_gaps),
        "deliveries": [
            {
                "id": each.id,
                "to": each.audience.name,
                "by": each.audience.by,
                "outside": each.audience.outside,
                "fate": each.fate,
                "why": why_not(each, missing or {}),
                "reference": each.reference,
                "not_before": each.not_before,
            }
            for each in draft.deliveries
        ],
    }


def show_due(standing: "Standing", *, ring: bool = False) -> None:
    cadence = standing.cadence
    kept = f"{cadence.made} made, {cadence.missed} missed"
    if cadence.next is None:
        typer.echo(f"No update is due. {kept}.")
        return
    left = (cadence.next.due - standing.at).total_seconds()
    bell = "\a" if ring else ""
    typer.echo(
        f"{bell}The next update is due at {cadence.next.due:%H:%M:%S} UTC, in {left / 60:.0f} min "
        f"({cadence.next.severity}). {kept}. toolkit update draft"
    )


def due_as_json(standing: "Standing") -> dict[str, Any]:
    cadence = standing.cadence
    return {
        "at": standing.at,
        "next_due": cadence.next.due if cadence.next else None,
        "severity": cadence.next.severity if cadence.next else None,
        "made": cadence.made,
        "missed": cadence.missed,
        "promises": [vars(each) for each in cadence.past],
    }


def _fate(delivery: "Delivery", missing: "Mapping[By, str]") -> str:
    from toolkit.communicate.delivery import why_not

    why = why_not(delivery, missing)
    again = f", again from {delivery.not_before:%H:%M:%S} UTC" if delivery.not_before else ""
    return f"{delivery.fate}{again}" + (f": {why}" if why else "")
