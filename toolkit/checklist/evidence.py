"""What facts look at, and how they answer. A fact never looks at a target: what was not journaled is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit.checks import Finding, Outcome, unknown
from toolkit.journal import Entry
from toolkit.playbook import Playbook


@dataclass(frozen=True)
class Evidence:
    """What facts look at. `planned`: a plan that is about to be carried out, as the journal would keep it.
    `documented`: the post-mortem is being written."""

    entries: Sequence[Entry]
    playbook: Playbook
    folder: Path
    planned: Mapping[str, object] | None = None
    documented: bool = False

    def latest(self, *kinds: str) -> Entry | None:
        return next((entry for entry in reversed(self.entries) if entry.kind in kinds), None)

    def every(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    @property
    def plan(self) -> Mapping[str, object] | None:
        entry = self.latest("plan.made")
        return self.planned if self.planned is not None else (entry.data if entry else None)


@dataclass(frozen=True)
class Answer:
    """A fact's finding, with the entry that it rests on (`at`, UTC, and `seq`). Where somebody decided otherwise, who:
    then it is excused."""

    finding: Finding
    at: datetime | None = None
    excused_by: str = ""
    seq: int | None = None

    @property
    def passes(self) -> bool:
        return self.finding.outcome is Outcome.PASS


def said(entry: Entry | None, finding: Finding) -> Answer:
    return Answer(finding, entry.at if entry else None, seq=entry.seq if entry else None)


NOT_KNOWN = Answer(unknown("nothing in the journal tells"))
