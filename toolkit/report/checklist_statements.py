"""The post-mortem's words on the checklists: what was answered, by whom, what was overridden and why, what is due.

Derived from the journal as everywhere else, and the same each time it is written: whether something is overdue by now
is for `toolkit checklist due` to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.analysis import Analysis, words
from toolkit.analysis.discretion import discreet
from toolkit.analysis.entries import cite, first
from toolkit.analysis.references import Reference, Source
from toolkit.checklist import Checklists, ItemState, Standing, load_checklists, standings
from toolkit.checklist.evidence import Evidence
from toolkit.checklist.standing import RESOLVED
from toolkit.report.citations import Citations, markdown

BEFORE = ("deployment-readiness",)  # not of an incident


@dataclass(frozen=True)
class ListSum:
    """One list in figures. `open`: the texts of what nobody and nothing answered."""

    title: str
    items: int
    passed: int
    ticked: int
    overridden: int
    failed: int
    open: tuple[str, ...]


class ChecklistStatements:
    """Sentences and rows in Markdown. `cite` remembers what they cite."""

    def __init__(self, analysis: Analysis, citations: Citations) -> None:
        self._cite, self._playbook = citations, analysis.playbook
        self._lists: Checklists = load_checklists(analysis.playbook)
        evidence = analysis.evidence
        seen = Evidence(evidence.journal, analysis.playbook, evidence.folder, documented=True)
        self._resolved = first(evidence.journal, RESOLVED)
        names = [each.name for each in self._lists.checklist if each.name not in BEFORE]
        self._standings: Sequence[Standing] = standings(self._lists, seen, names)

    def sums(self) -> list[ListSum]:
        names = dict.fromkeys(each.checklist for each in self._standings)
        return [self._sum(name, [s for s in self._standings if s.checklist == name]) for name in names]

    def told(self) -> list[Standing]:
        """What a reader must see: each item that blocks, each that was ticked or overridden, each that failed; once."""
        states = (ItemState.TICKED, ItemState.OVERRIDDEN, ItemState.FAILED)
        found = [each for each in self._standings if each.item.blocks or each.state in states]
        return list({self._lists.item(each.item.id).id: each for each in found}.values())

    def row(self, standing: Standing) -> str:
        """`| how | item | by | when | how it is known |`."""
        when = words.clock(standing.at) if standing.at else "–"
        known = markdown(discreet(standing.evidence)) if standing.evidence else "–"
        cited = f" {self._cite(Reference(Source.JOURNAL, standing.seq))}" if standing.seq is not None else ""
        blocks = " (blocks)" if standing.item.blocks else ""
        who, what = markdown(standing.by) or "–", markdown(standing.item.text)
        return f"| {standing.state} | {what}{blocks} | {who} | {when} | {known}{cited} |"

    def due(self) -> list[str]:
        """What is to be done after the incident and is not, with its time, which counts from the resolution."""
        if self._resolved is None:
            return []
        found = [each for each in self._standings if each.due is not None and not each.settled]
        since = self._cite(cite(self._resolved))
        return [
            f"{markdown(each.item.text)} (`{each.item.id}`): due {each.due:%Y-%m-%d %H:%M} UTC {since}"
            for each in sorted(found, key=lambda each: str(each.due))
        ]

    def _sum(self, name: str, mine: Sequence[Standing]) -> ListSum:
        counted = {state: sum(each.state is state for each in mine) for state in ItemState}
        return ListSum(
            self._lists.named(name).title,
            len(mine),
            counted[ItemState.PASSED],
            counted[ItemState.TICKED],
            counted[ItemState.OVERRIDDEN],
            counted[ItemState.FAILED],
            tuple(each.item.text for each in mine if each.state is ItemState.OPEN),
        )
