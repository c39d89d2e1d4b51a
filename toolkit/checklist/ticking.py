"""What people say of items, journaled with their name: ticked, taken back, or overridden with a reason.

Nobody ticks what a check has answered: a pass needs no tick, and a fail wants a reason.
"""

from toolkit.checklist.lists import Checklists, Item
from toolkit.checklist.standing import OVERRIDDEN, TICKED, UNTICKED, answer_of, evidence_of
from toolkit.checks import Outcome
from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.journal import Entry
from toolkit.playbook import Playbook


def tick(incident: Incident, playbook: Playbook, lists: Checklists, id: str, *, by: str, note: str = "") -> Entry:
    """Say that an item is done. UsageError for one that a check answers, and without a name."""
    item = lists.item(id)
    answer = answer_of(item, evidence_of(incident, playbook))
    if answer.passes:
        raise UsageError(f"{id} is answered by a check: {answer.finding.evidence}", state="nothing was changed")
    if answer.finding.outcome is Outcome.FAIL:
        raise UsageError(
            f"A check says no to {id}: {answer.finding.evidence}",
            state="nothing was changed",
            next=f"mend that; or say why it may stay so: toolkit checklist override {id} --reason REASON --by NAME",
        )
    return _record(incident, TICKED, item, by, **({"note": note} if note else {}))


def untick(incident: Incident, lists: Checklists, id: str, *, by: str, note: str = "") -> Entry:
    """Take back what was ticked or overridden."""
    return _record(incident, UNTICKED, lists.item(id), by, **({"note": note} if note else {}))


def override(incident: Incident, lists: Checklists, id: str, *, by: str, reason: str, plan: str = "") -> Entry:
    """Say why an item may stay open. With a `plan` it holds for that plan alone. UsageError without a reason."""
    if not reason.strip():
        raise UsageError(f"Why may {id} stay open?", state="nothing was changed", next="give a --reason")
    return _record(incident, OVERRIDDEN, lists.item(id), by, reason=reason, **({"plan": plan} if plan else {}))


def _record(incident: Incident, kind: str, item: Item, by: str, **more: str) -> Entry:
    if not by.strip():
        raise UsageError(f"Who says so of {item.id}?", state="nothing was changed", next="give a name: --by NAME")
    return incident.record(kind, {"item": item.id, "text": item.text, "by": by, **more}, actor=by)
