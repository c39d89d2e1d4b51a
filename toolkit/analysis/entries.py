"""Picking entries of a journal by their kind, and citing them."""

from collections.abc import Iterable

from toolkit.analysis.references import Reference, Source
from toolkit.journal import Entry


def cite(entry: Entry, source: Source = Source.JOURNAL) -> Reference:
    return Reference(source, entry.seq)


def every(entries: Iterable[Entry], *kinds: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind in kinds]


def first(entries: Iterable[Entry], *kinds: str) -> Entry | None:
    return next(iter(every(entries, *kinds)), None)


def latest(entries: Iterable[Entry], *kinds: str) -> Entry | None:
    return next(iter(reversed(every(entries, *kinds))), None)
