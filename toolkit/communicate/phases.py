"""One table of where an incident stands: our states and what the rollback is at, beside the words of others for it.

The playbook's template knows three, Statuspage four. Nothing else translates between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from toolkit.analysis import fields
from toolkit.incident import State, state_in
from toolkit.journal import Entry


class Phase(StrEnum):
    """Where an incident stands, from its journal."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    IDENTIFIED = "identified"  # an assessment recommends something, or somebody decided
    MITIGATING = "mitigating"  # a plan is being carried out
    MITIGATED = "mitigated"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Words:
    """A phase as the playbook's update and Statuspage call it."""

    template: str
    statuspage: str


WORDS = {
    Phase.OPEN: Words("Investigating", "investigating"),
    Phase.ACKNOWLEDGED: Words("Investigating", "investigating"),
    Phase.IDENTIFIED: Words("Investigating", "identified"),
    Phase.MITIGATING: Words("Mitigating", "identified"),
    Phase.MITIGATED: Words("Mitigating", "monitoring"),
    Phase.RESOLVED: Words("Resolved", "resolved"),
}


def phase_of(entries: Sequence[Entry]) -> Phase | None:
    """Where the incident stands; None before it was opened."""
    state = state_in(entries)
    if state is not State.ACKNOWLEDGED:
        return Phase(state.value) if state else None
    if any(entry.kind == "plan.made" and entry.data.get("execute") for entry in entries):
        return Phase.MITIGATING
    return Phase.IDENTIFIED if any(_names_a_way(entry) for entry in entries) else Phase.ACKNOWLEDGED


def _names_a_way(entry: Entry) -> bool:
    if entry.kind == "assessment.made":
        return fields.text(fields.within(entry.data, "recommendation"), "kind") not in (None, "none")
    return entry.kind == "decision.made"
