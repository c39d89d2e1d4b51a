"""Impact began → detected → acknowledged → mitigated → resolved: when, how that is known, and how long each took.

Each moment comes from the strongest evidence for it: the requests themselves for when the impact began and ended, the
journal for what people and the monitor declared. Where the two contradict each other, both stand, and it is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from toolkit.analysis import fields, words
from toolkit.analysis.entries import cite, first
from toolkit.analysis.references import References, Source
from toolkit.analysis.response import Drill
from toolkit.analysis.traffic import Traffic
from toolkit.journal import Entry

TOLERANCE = timedelta(seconds=2)


class Mark(StrEnum):
    """The moments, in the order in which they are expected."""

    FAULT = "fault put in"
    BEGAN = "impact began"
    DETECTED = "detected"
    ACKNOWLEDGED = "acknowledged"
    RECOVERED = "errors ended"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"


DURATIONS: Mapping[str, tuple[Mark, Mark]] = {
    "time to detect": (Mark.BEGAN, Mark.DETECTED),
    "time to acknowledge": (Mark.BEGAN, Mark.ACKNOWLEDGED),
    "time to mitigate": (Mark.BEGAN, Mark.MITIGATED),
    "time to resolve": (Mark.BEGAN, Mark.RESOLVED),
}


@dataclass(frozen=True)
class Moment:
    """`at` is UTC, None where it was not measured; `how` says how it is known, or why not.

    `earliest` and `latest` bound a moment that was estimated (about 95 %).
    """

    mark: Mark
    at: datetime | None
    how: str
    references: References = ()
    earliest: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True)
class Conflict:
    """Two pieces of evidence that do not agree, in a sentence, for people to look at."""

    what: str
    references: References


@dataclass(frozen=True)
class Phases:
    moments: Mapping[Mark, Moment]
    conflicts: tuple[Conflict, ...]

    def at(self, mark: Mark) -> datetime | None:
        moment = self.moments.get(mark)
        return moment.at if moment else None

    def seconds(self, begin: Mark, end: Mark) -> float | None:
        """Seconds between two moments; None where one was not measured, or they come in the wrong order."""
        from_, to = self.at(begin), self.at(end)
        if from_ is None or to is None or to < from_:
            return None
        return (to - from_).total_seconds()

    def duration(self, name: str) -> float | None:
        """One of DURATIONS, in seconds."""
        return self.seconds(*DURATIONS[name])

    def cited(self, *marks: Mark) -> References:
        """The references of these moments, as far as they were measured."""
        found = [self.moments[mark] for mark in marks if mark in self.moments]
        return tuple(dict.fromkeys(ref for moment in found if moment.at for ref in moment.references))


def find_phases(journal: Sequence[Entry], traffic: Traffic | None, drill: Drill | None) -> Phases:
    """Read the moments off the journal and the requests."""
    moments = [
        *_fault(drill),
        _began(journal, traffic),
        _declared(journal, Mark.DETECTED, "incident.opened", "the incident was opened"),
        _declared(journal, Mark.ACKNOWLEDGED, "incident.acknowledged", "it was acknowledged"),
        _recovered(traffic),
        _declared(journal, Mark.MITIGATED, "incident.mitigated", "mitigation was declared"),
        _declared(journal, Mark.RESOLVED, "incident.resolved", "resolution was declared"),
    ]
    by_mark = {moment.mark: moment for moment in moments}
    return Phases(by_mark, tuple(_conflicts(by_mark)))


def _fault(drill: Drill | None) -> list[Moment]:
    if drill is None:
        return []
    if drill.begun is None:
        return [Moment(Mark.FAULT, None, "the facilitator's journal does not tell of a fault")]
    how = "the facilitator began to put the fault in"
    return [Moment(Mark.FAULT, drill.begun.at, how, (cite(drill.begun, Source.FACILITATOR),))]


def _began(journal: Sequence[Entry], traffic: Traffic | None) -> Moment:
    """The onset in the requests; else, at the latest, the first signal of the monitor."""
    stretch = traffic.main if traffic else None
    if traffic and stretch and stretch.onset:
        at, earliest, latest = traffic.times(stretch.onset)
        how = f"{traffic.scan.why}, against {words.share(traffic.scan.rate_elsewhere)} of the others"
        return Moment(Mark.BEGAN, at, how, (traffic.cite(stretch.begin, stretch.end),), earliest, latest)
    why_not = _why_not(traffic)
    raised = first(journal, "signal.raised")
    if raised is None:
        return Moment(Mark.BEGAN, None, why_not)
    how = f"at the latest: the monitor raised `{fields.text(raised.data, 'signal') or 'a signal'}`. {why_not}"
    return Moment(Mark.BEGAN, raised.at, how, (cite(raised),))


def _why_not(traffic: Traffic | None) -> str:
    if traffic is None:
        return "no record of requests is there to measure an onset in"
    stretch = traffic.main
    return "; ".join(stretch.unclear) if stretch else traffic.scan.why


def _recovered(traffic: Traffic | None) -> Moment:
    stretch = traffic.main if traffic else None
    if traffic is None or stretch is None or stretch.recovery is None:
        return Moment(Mark.RECOVERED, None, _why_not(traffic))
    at, earliest, latest = traffic.times(stretch.recovery)
    how = "the stretch of failing requests ended"
    return Moment(Mark.RECOVERED, at, how, (traffic.cite(stretch.end - 1), traffic.cite(stretch.end)), earliest, latest)


def _declared(journal: Sequence[Entry], mark: Mark, kind: str, how: str) -> Moment:
    entry = first(journal, kind)
    if entry is None:
        return Moment(mark, None, f"the journal holds no `{kind}`")
    return Moment(mark, entry.at, how, (cite(entry),))


def _conflicts(moments: Mapping[Mark, Moment]) -> list[Conflict]:
    """Orders in time that cannot be, or that somebody should be able to explain."""
    found = []
    impossible = [
        (Mark.FAULT, Mark.BEGAN, "The requests began to fail {by} before the fault was put in."),
        (Mark.BEGAN, Mark.DETECTED, "The incident was opened {by} before the requests show an onset."),
        (Mark.DETECTED, Mark.ACKNOWLEDGED, "It was acknowledged {by} before it was opened."),
        (Mark.ACKNOWLEDGED, Mark.MITIGATED, "Mitigation was declared {by} before it was acknowledged."),
        (Mark.RECOVERED, Mark.MITIGATED, "Mitigation was declared {by} before the errors ended."),
        (Mark.RECOVERED, Mark.RESOLVED, "Resolution was declared {by} before the errors ended."),
        (Mark.MITIGATED, Mark.RESOLVED, "Resolution was declared {by} before mitigation."),
    ]
    for early, late, said in impossible:
        before, after = moments.get(early), moments.get(late)
        if before is None or after is None or before.at is None or after.at is None:
            continue
        if (by := _gap(before, after)) > TOLERANCE:
            what = said.format(by=words.duration(by.total_seconds()))
            found.append(Conflict(what, before.references + after.references))
    return found


def _gap(before: Moment, after: Moment) -> timedelta:
    """How long `after` lies before what should have come first, within the bounds of what was estimated."""
    assert before.at and after.at
    should = before.earliest or before.at
    return should - (after.latest or after.at)
