"""The post-mortem's sentences on who was told what and when, and how the promised updates were kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from toolkit.analysis import Analysis, words
from toolkit.analysis.entries import cite, every
from toolkit.analysis.references import Reference
from toolkit.communicate.cadence import MISSED, Cadence, Promise, cadence_of, clock_for
from toolkit.communicate.outbox import DRAFTED, Draft, Fate, drafts
from toolkit.report.citations import Citations

TOLD = (Fate.SENT, Fate.COPIED)
NAMED = 10


@dataclass(frozen=True)
class Row:
    """One text of the outbox: who got it, and who did not."""

    name: str
    at: datetime
    severity: str
    told: str
    not_told: str
    reference: Reference


class CommunicationStatements:
    """Sentences and cells in Markdown. `cite` remembers what they cite."""

    def __init__(self, analysis: Analysis, citations: Citations) -> None:
        self._analysis, self._cite = analysis, citations
        self._entries = analysis.evidence.journal
        self._drill = analysis.response.drill is not None
        self._drafts = drafts(self._entries)

    def cadence(self) -> Iterator[str]:
        """The promises of the playbook, and how they were kept up to the end of the evidence."""
        if not self._entries or self._analysis.response.opening is None:
            yield "Updates: not measured. The journal tells of no incident that was opened."
            return
        clock = clock_for(self._analysis.playbook, drill=self._drill)
        kept = cadence_of(self._analysis.playbook, self._entries, self._entries[-1].at, clock)
        if drill := self._analysis.response.drill:
            minute, cited = words.duration(clock.minute_s), self._cite(drill.reference)
            yield f"In this drill a minute of the playbook took {minute}. Drafts counted; nothing was sent {cited}."
        yield self._counted(kept)
        missed = [each for each in kept.past if each.missed]
        yield from (self._missed(each) for each in missed[:NAMED])
        if len(missed) > NAMED:
            yield f"{len(missed) - NAMED} more were missed after these {self._opening()}."

    def rows(self) -> list[Row]:
        """Every text that was drafted and not withdrawn before anybody got it."""
        seen = zip(self._drafts, every(self._entries, DRAFTED), strict=True)
        return [
            Row(draft.id, draft.at, draft.message.severity, self._told(draft), self._not_told(draft), cite(entry))
            for draft, entry in seen
            if self._drill or any(each.fate is not Fate.WITHDRAWN for each in draft.deliveries)
        ]

    def _counted(self, kept: Cadence) -> str:
        if not kept.past:
            return f"No update had been due when the evidence ends {self._opening()}."
        due = words.plural(len(kept.past), "update")
        made = [each for each in kept.past if each.made]
        cited = [cite(entry) for entry in self._entries if any(entry.at == each.made for each in made)]
        counted = f"{due} due, {kept.made} made in time, {kept.missed} missed"
        return f"{counted} {self._cite(cited) or self._opening()}."

    def _missed(self, promise: Promise) -> str:
        marks = [
            cite(entry)
            for entry in every(self._entries, MISSED)
            if entry.data.get("due") == promise.due.isoformat(timespec="seconds")
        ]
        cited = self._cite(marks) or self._opening()
        return f"Due at {words.clock(promise.due)} ({promise.severity}) and not made {cited}."

    def _opening(self) -> str:
        """What the first promise counts from."""
        opening = self._analysis.response.opening
        return self._cite(opening.references[:1]) if opening else ""

    def _told(self, draft: Draft) -> str:
        told = [each.audience.name for each in draft.deliveries if each.fate in TOLD]
        return "nobody: a drill" if draft.message.drill else ", ".join(told) or "nobody"

    def _not_told(self, draft: Draft) -> str:
        others = [each for each in draft.deliveries if each.fate not in TOLD]
        if draft.message.drill:
            return ", ".join(each.audience.name for each in others)
        return ", ".join(f"{each.audience.name} ({each.fate})" for each in others) or "–"
