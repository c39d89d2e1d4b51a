"""Where a statement comes from: a letter for the source, and a position in it that a reader can follow.

    J12        entry 12 of the incident's journal
    F3         entry 3 of the facilitator's journal (drills only)
    L340       line 340 of the service's log
    R812–R901  rows 812 to 901 of the recorded requests
    R          all of them
    E          the senders' ledger of events (drills only)

Positions count from 1. Whatever the analysis says carries at least one of these, or says that it was not measured.
"""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    JOURNAL = "J"
    FACILITATOR = "F"
    LOG = "L"
    REQUESTS = "R"
    EVENTS = "E"


@dataclass(frozen=True, order=True)
class Reference:
    """One position (`first`), a span (`first` to `last`, both included), or a whole source (neither)."""

    source: Source
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.first is None:
            return self.source.value
        if self.last is None or self.last == self.first:
            return f"{self.source}{self.first}"
        return f"{self.source}{self.first}–{self.source}{self.last}"

    @property
    def ends(self) -> tuple[int, ...]:
        """The positions at its ends: none for a whole source, else one or two."""
        return tuple(dict.fromkeys(end for end in (self.first, self.last) if end is not None))

    @property
    def span(self) -> tuple[int | None, int | None]:
        """First and last position; the same twice for one position."""
        return self.first, self.first if self.last is None else self.last


References = tuple[Reference, ...]
