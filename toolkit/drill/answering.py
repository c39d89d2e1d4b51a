"""The drill's person: whoever answers, in a drill that runs unattended, what only a person can answer.

It answers no more than a destructive step waits for, and each answer says that it was given in a drill: that nobody was
told is part of the record. What a check answers, and what the rollback makes itself, is left to them.
"""

from toolkit.checklist import load_checklists, open_blocking, tick
from toolkit.checklist.standing import ItemState, evidence_of
from toolkit.incident import Incident
from toolkit.playbook import Playbook

MADE_BY_THE_ROLLBACK = ("backup", "target", "rehearsal")
PLAYED = "played in a drill: nobody outside it was asked or told"


def answer_in_drill(incident: Incident, playbook: Playbook, *, by: str) -> list[str]:
    """Tick what is open and blocks; returns the items' ids."""
    lists = load_checklists(playbook)
    waiting = [
        each.item.id
        for each in open_blocking(lists, evidence_of(incident, playbook))
        if each.state is ItemState.OPEN and each.item.fact not in MADE_BY_THE_ROLLBACK
    ]
    for id in waiting:
        tick(incident, playbook, lists, id, by=by, note=PLAYED)
    return waiting
