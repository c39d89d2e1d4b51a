"""How it was answered: what was recommended and what was done against the answer key, and how the playbook was kept.

Read off both journals and the playbook; it runs nothing. What was done counts, not what was said: a plan that was
carried out, or what was put right by hand.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from toolkit.checklist import ItemState, load_checklists, standings
from toolkit.checklist.standing import evidence_of
from toolkit.communicate.cadence import cadence_of, clock_for
from toolkit.drill.scenario import Scenario
from toolkit.errors import ToolkitError
from toolkit.incident import FACILITATOR_FILE, Incident
from toolkit.journal import Entry, Journal
from toolkit.on_call import response_clock
from toolkit.playbook import Playbook

BY_HAND = "action.by_hand"
LOOKED = "hypothesis.looked"


class Decision(BaseModel):
    """The first assessment's recommendation and all that was done, in order, each as a kind of answer; '' and () for
    none. The verdicts are the answer key's: 'right', 'wrong', 'not in the key'; that on what was done is 'right' where
    its last part was. `at` is when the first of it began, UTC.
    """

    model_config = ConfigDict(frozen=True)

    recommended: str = ""
    recommendation: str = ""
    done: tuple[str, ...] = ()
    verdict: str = ""
    at: datetime | None = None


class Kept(BaseModel):
    """How the playbook was kept. `answered_in_time` is None where nobody did. `checklist` counts items by state."""

    model_config = ConfigDict(frozen=True)

    updates_made: int = 0
    updates_missed: int = 0
    answered_in_time: bool | None = None
    checklist: Mapping[str, int] = {}

    @property
    def settled(self) -> int:
        """The items that a check passed, or that a person ticked or overrode."""
        return sum(self.checklist.get(each, 0) for each in (ItemState.PASSED, ItemState.TICKED, ItemState.OVERRIDDEN))


def decision(scenario: Scenario, incident: Incident) -> Decision:
    """What was decided, by the incident's journal."""
    entries = incident.journal.entries()
    recommended = next((_recommended(each) for each in entries if each.kind == "assessment.made"), "")
    acts = [(each.at, kind) for each in entries if (kind := _done(each))]
    done = tuple(kind for _, kind in acts) or (("wait",) if recommended else ())
    return Decision(
        recommended=recommended,
        recommendation=scenario.verdict(recommended) if recommended else "",
        done=done,
        verdict=scenario.verdict(done[-1]) if done else "",
        at=acts[0][0] if acts else None,
    )


def _recommended(entry: Entry) -> str:
    options: Sequence[Mapping[str, Any]] = entry.data.get("options") or ()
    return next((str(each["kind"]) for each in options if each.get("recommended")), "")


def _done(entry: Entry) -> str:
    """The kind of answer that this entry carries out; '' where it carries out none."""
    if entry.kind == BY_HAND:
        return "fix-forward"
    return str(entry.data["kind"]) if entry.kind == "plan.made" and entry.data.get("execute") else ""


def kept(playbook: Playbook, incident: Incident, now: datetime) -> Kept:
    """How the playbook was kept until `now` (UTC)."""
    entries = incident.journal.entries()
    promised = cadence_of(playbook, entries, now, clock_for(playbook, drill=True))
    clock = response_clock(playbook, entries)
    answered = clock is not None and clock.answered is not None
    try:
        items = standings(load_checklists(playbook), evidence_of(incident, playbook))
    except ToolkitError:  # a service whose checklists cannot be read has none to keep
        items = []
    states = [each.state for each in items]
    return Kept(
        updates_made=promised.made,
        updates_missed=promised.missed,
        answered_in_time=clock.late_by(now) is None if clock is not None and answered else None,
        checklist={state.value: states.count(state) for state in ItemState},
    )


def looks(folder: Path) -> dict[str, bool]:
    """Whether the steady-state hypothesis held before, during and after the fault, by the facilitator's journal."""
    entries = Journal(folder / FACILITATOR_FILE, folder.name).entries()
    return {str(each.data["when"]): bool(each.data["holds"]) for each in entries if each.kind == LOOKED}
