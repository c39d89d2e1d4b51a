"""What lasted: notebooks that ran, steps that were carried out, signals that stood, requests that failed. For pictures.

An activity has two entries, its begin and its end. One without an end is told as unfinished, and lasts no longer than
the evidence does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.analysis import words
from toolkit.analysis.fields import text
from toolkit.analysis.phases import Mark, Phases
from toolkit.analysis.sources import Evidence
from toolkit.analysis.telling import RESPONDER, role
from toolkit.journal import Entry

FACILITATOR, TRAFFIC, MONITOR, RUNNER, NOTEBOOKS = "facilitator", "traffic", "monitor", "runner", "notebooks"
LANES = (FACILITATOR, TRAFFIC, MONITOR, RESPONDER, RUNNER, NOTEBOOKS)


@dataclass(frozen=True)
class Activity:
    """`begin` and `end` are UTC; `finished` is False where no end was recorded. `label` is short, `what` is whole."""

    lane: str
    begin: datetime
    end: datetime
    label: str
    what: str
    finished: bool = True


@dataclass(frozen=True)
class _Pairing:
    """Which entry begins an activity, which ends it, and by which field they belong together.

    Without a lane of its own it is in that of whoever began it.
    """

    lane: str | None
    begins: str
    ends: tuple[str, ...]
    key: str | None
    label: str


_IN_JOURNAL = (
    _Pairing(MONITOR, "signal.raised", ("signal.cleared",), "signal", "{signal}"),
    _Pairing(None, "backup.begun", ("backup.made", "backup.failed"), None, "backup"),
    _Pairing(None, "step.begun", ("step.done", "step.failed", "step.skipped"), "step", "{step}"),
    _Pairing(NOTEBOOKS, "notebook.started", ("notebook.finished", "notebook.failed"), "notebook", "{notebook}"),
)
_IN_FACILITATORS = (_Pairing(FACILITATOR, "fault.begun", ("fault.done",), None, "fault"),)


def find_activities(evidence: Evidence, phases: Phases) -> tuple[Activity, ...]:
    """All of them, in order of their begin."""
    last = max((state.last for state in evidence.states if state.last), default=None)
    found: list[Activity] = [*_failing(phases, last)]
    if last is not None:
        found += _paired(evidence.journal, _IN_JOURNAL, last)
        found += _paired(evidence.facilitator, _IN_FACILITATORS, last)
    return tuple(sorted(found, key=lambda activity: activity.begin))


def _failing(phases: Phases, last: datetime | None) -> Iterator[Activity]:
    """From the onset to the recovery, as far as the requests show them."""
    began, recovered = phases.moments[Mark.BEGAN], phases.moments[Mark.RECOVERED]
    if began.at and began.earliest and (end := recovered.at or last):
        yield Activity(TRAFFIC, began.at, end, "failing", began.how, recovered.at is not None)


def _paired(entries: Sequence[Entry], pairings: Sequence[_Pairing], last: datetime) -> Iterator[Activity]:
    for pairing in pairings:
        for place, entry in enumerate(entries):
            if entry.kind == pairing.begins:
                yield _activity(entry, entries[place + 1 :], pairing, last)


def _activity(begin: Entry, later: Sequence[Entry], pairing: _Pairing, last: datetime) -> Activity:
    key = pairing.key
    named: dict[str, Any] = {key: text(begin.data, key) or "?"} if key else {}
    label = pairing.label.format(**named)

    def belongs(entry: Entry) -> bool:
        return entry.kind in (*pairing.ends, pairing.begins) and (
            key is None or text(entry.data, key) == text(begin.data, key)
        )

    end = next((entry for entry in later if belongs(entry)), None)
    finished = end is not None and end.kind in pairing.ends
    until = end.at if end else last
    what = text(begin.data, "what") or label
    seconds = words.duration((until - begin.at).total_seconds())
    return Activity(pairing.lane or role(begin.actor), begin.at, until, label, f"{what}, {seconds}", finished)
