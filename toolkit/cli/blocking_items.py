"""The checklist's blocking items at a terminal: asked for before the backup and the rehearsal cost their minutes."""

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from toolkit.incident import Incident
    from toolkit.playbook import Playbook
    from toolkit.rollback.plan import Plan

DONE = "done"


def answer_items(incident: "Incident", playbook: "Playbook", plan: "Plan", reason: str, *, operator: str) -> None:
    """At a terminal, each open item is ticked or overridden by what is typed, in the operator's name.

    RollbackError where nobody can be asked and no `reason` was given; UsageError for 'done' where a check says no.
    Nothing was made by then.
    """
    from toolkit.checklist import load_checklists, override, tick
    from toolkit.rollback.gate import refusal, would_wait_for

    waiting = would_wait_for(incident, playbook, plan)
    if not waiting or reason:
        return
    if not sys.stdin.isatty():
        raise refusal(waiting, incident, plan)
    lists = load_checklists(playbook)
    for each in waiting:
        why = f" ({each.evidence})" if each.evidence else ""
        said = typer.prompt(f"{each.item.text}?{why} Type '{DONE}', or why it stays open", err=True).strip()
        if said.lower() == DONE:
            tick(incident, playbook, lists, each.item.id, by=operator)
        else:
            override(incident, lists, each.item.id, by=operator, reason=said, plan=plan.id)
