"""How each item stands: passed or failed by a fact, ticked or overridden by a person, or open; and when it is due.

Derived from the journal alone, each time anew. A fact that says no outweighs a tick; only an override outweighs it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from toolkit.checklist.evidence import NOT_KNOWN, Answer, Evidence
from toolkit.checklist.facts import FACTS
from toolkit.checklist.lists import Checklists, Item
from toolkit.checks import Finding, Outcome
from toolkit.incident import Incident
from toolkit.journal import Entry
from toolkit.playbook import Playbook

TICKED, UNTICKED, OVERRIDDEN = "checklist.ticked", "checklist.unticked", "checklist.overridden"
SAID = (TICKED, UNTICKED, OVERRIDDEN)
VERIFIED, RESOLVED = "verification.made", "incident.resolved"
SHOWN = 3
TOOLKIT = "toolkit"


class ItemState(StrEnum):
    PASSED = "passed"
    TICKED = "ticked"
    OVERRIDDEN = "overridden"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True)
class Standing:
    """One item: its list and group, how it stands, by whom or what and since when (UTC), and until when it is due."""

    checklist: str
    group: str
    item: Item
    state: ItemState
    evidence: str
    by: str = ""
    at: datetime | None = None
    due: datetime | None = None
    seq: int | None = None  # the journal's entry that says so

    @property
    def settled(self) -> bool:
        return self.state not in (ItemState.OPEN, ItemState.FAILED)

    @property
    def blocking(self) -> bool:
        return self.item.blocks and not self.settled

    def overdue(self, now: datetime) -> bool:
        return not self.settled and self.due is not None and now > self.due

    def row(self, now: datetime) -> dict[str, str]:
        """For a table: what a person reads first comes first."""
        return {
            "": SYMBOLS[self.state],
            "item": self.item.text,
            "by": self.by,
            "how it is known": self.evidence,
            "when": f"{self.at:%Y-%m-%d %H:%M}Z" if self.at else self._when(now),
            "id": self.item.id,
        }

    def _when(self, now: datetime) -> str:
        if self.due is None or self.settled:
            return "blocks" if self.blocking else ""
        return f"{'OVERDUE since' if self.overdue(now) else 'due'} {self.due:%Y-%m-%d %H:%M}Z"


SYMBOLS: Mapping[ItemState, str] = {
    ItemState.PASSED: "✓ passed",
    ItemState.TICKED: "✓ ticked",
    ItemState.OVERRIDDEN: "! overridden",
    ItemState.FAILED: "✗ FAILED",
    ItemState.OPEN: "☐ open",
}


def evidence_of(incident: Incident, playbook: Playbook, planned: Mapping[str, object] | None = None) -> Evidence:
    """What the facts look at, as it is now."""
    return Evidence(incident.journal.entries(), playbook, incident.folder, planned)


def standings(lists: Checklists, seen: Evidence, names: Iterable[str] = ()) -> list[Standing]:
    """Every item of these lists, or of all, in their order. UsageError for a list that is not there."""
    wanted = [lists.named(name) for name in names] or list(lists.checklist)
    said = _latest_said(seen.entries)
    resolved = next((entry.at for entry in seen.entries if entry.kind == RESOLVED), None)
    return [
        _standing(lists, seen, checklist.name, group, item, said, resolved)
        for checklist in wanted
        for group, item in checklist.items()
    ]


def open_blocking(lists: Checklists, seen: Evidence) -> list[Standing]:
    """The items that a destructive step waits for, and that are neither answered nor overridden."""
    return [each for each in standings(lists, seen) if each.blocking]


def due_items(lists: Checklists, seen: Evidence) -> list[Standing]:
    """What is to be done later and is not done yet, the earliest first. Empty until the incident is resolved."""
    found = [each for each in standings(lists, seen) if each.due is not None and not each.settled]
    return sorted(found, key=lambda each: (each.due is None, each.due))


def _latest_said(entries: Sequence[Entry]) -> Mapping[str, Entry]:
    return {str(entry.data["item"]): entry for entry in entries if entry.kind in SAID}


def _standing(
    lists: Checklists,
    seen: Evidence,
    checklist: str,
    group: str,
    item: Item,
    said: Mapping[str, Entry],
    resolved: datetime | None,
) -> Standing:
    asked = lists.item(item.id)
    due = resolved + timedelta(hours=item.due_hours) if resolved and item.due_hours is not None else None
    judged = _judged(answer_of(asked, seen), said.get(asked.id), seen)
    return Standing(checklist, group, item, judged.state, judged.evidence, judged.by, judged.at, due, judged.seq)


@dataclass(frozen=True)
class _Judged:
    state: ItemState
    evidence: str
    by: str = ""
    at: datetime | None = None
    seq: int | None = None


def _judged(answer: Answer, said: Entry | None, seen: Evidence) -> _Judged:
    found, at, seq = answer.finding, answer.at, answer.seq
    if answer.passes:
        return _Judged(ItemState.PASSED, found.evidence, TOOLKIT, at, seq)
    if said is not None and said.kind == OVERRIDDEN and _still_holds(said, seen):
        return _Judged(ItemState.OVERRIDDEN, str(said.data["reason"]), str(said.data["by"]), said.at, said.seq)
    if found.outcome is Outcome.FAIL:
        return _Judged(ItemState.FAILED, found.evidence, TOOLKIT, at, seq)
    if answer.excused_by:
        return _Judged(ItemState.OVERRIDDEN, found.evidence, answer.excused_by, at, seq)
    if said is not None and said.kind == TICKED:
        return _Judged(ItemState.TICKED, str(said.data.get("note") or ""), str(said.data["by"]), said.at, said.seq)
    return _Judged(ItemState.OPEN, "" if answer is NOT_KNOWN else found.evidence)


def _still_holds(said: Entry, seen: Evidence) -> bool:
    """An override that was given for one plan is none for the next."""
    given_for = said.data.get("plan")
    return not given_for or seen.planned is None or given_for == seen.planned.get("plan")


def answer_of(item: Item, seen: Evidence) -> Answer:
    """What the journal says of an item; NOT_KNOWN for one that only a person can answer."""
    if item.fact:
        return FACTS[item.fact](seen)
    if not item.checks and not item.areas:
        return NOT_KNOWN
    entry = seen.latest(VERIFIED)
    checks = entry.data.get("checks", ()) if entry else ()
    mine = [each for each in checks if _concerns(item, str(each.get("name")), str(each.get("area")))]
    if entry is None or not mine:
        return NOT_KNOWN
    outcomes = {str(each.get("outcome")) for each in mine}
    outcome = next((each for each in (Outcome.FAIL, Outcome.UNKNOWN) if each in outcomes), Outcome.PASS)
    wrong = [f"{each['name']}: {each['outcome']}" for each in mine if each.get("outcome") != Outcome.PASS]
    told = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
    return Answer(Finding(outcome, told or f"{len(mine)} checks of the verification passed"), entry.at, seq=entry.seq)


def _concerns(item: Item, name: str, area: str) -> bool:
    return area in item.areas or any(fnmatchcase(name, pattern) for pattern in item.checks)
