"""One timeline out of all sources, for people: time, who or what acted, the kind of event, a sentence, its evidence.

Journals tell what was done; the requests add when they began and ceased to fail and when another deployment answered;
the service's log adds when each class of error was first written down. It orders by time and repairs no clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from toolkit.analysis.entries import cite
from toolkit.analysis.impact import Impact
from toolkit.analysis.phases import Mark, Phases
from toolkit.analysis.references import Reference, References, Source
from toolkit.analysis.telling import EventKind, role, tell
from toolkit.journal import Entry

CLASSES_TOLD = 3


@dataclass(frozen=True)
class Event:
    """`at` is UTC. `actor` is a role. `mark` is set where the event is one of the incident's moments."""

    at: datetime
    actor: str
    kind: EventKind
    sentence: str
    references: References
    mark: Mark | None = None


def merge_timeline(
    journal: Sequence[Entry], facilitator: Sequence[Entry], phases: Phases, impact: Impact | None
) -> tuple[Event, ...]:
    """All events in order of time."""
    marks = {ref: mark for mark, moment in phases.moments.items() for ref in moment.references if moment.at}
    events = [
        *_told(journal, Source.JOURNAL, marks),
        *_told(facilitator, Source.FACILITATOR, marks),
        *_measured(phases),
        *(_deployments(impact) if impact else ()),
        *(_first_errors(impact) if impact else ()),
    ]
    return tuple(sorted(events, key=lambda event: event.at))


def _told(entries: Sequence[Entry], source: Source, marks: dict[Reference, Mark]) -> Iterator[Event]:
    for entry in entries:
        if told := tell(entry):
            reference = cite(entry, source)
            yield Event(entry.at, role(entry.actor), *told, (reference,), marks.get(reference))


def _measured(phases: Phases) -> Iterator[Event]:
    """The turns that the requests show. A moment that rests on the journal is told there already."""
    said = {
        Mark.BEGAN: "requests began to fail",
        Mark.RECOVERED: "requests ceased to fail",
    }
    for mark, what in said.items():
        moment = phases.moments[mark]
        if moment.at and moment.earliest:
            yield Event(
                moment.at,
                "traffic",
                EventKind.KEY_MOMENT,
                f"{what.capitalize()}: {moment.how}.",
                moment.references,
                mark,
            )


def _deployments(impact: Impact) -> Iterator[Event]:
    """When a deployment took over, and when one ceased to answer. Overlaps and returns show in the pictures."""
    kind, until = EventKind.KEY_MOMENT, max((share.last for share in impact.deployments), default=None)
    for number, share in enumerate(impact.deployments):
        first, last = (Reference(share.reference.source, end) for end in share.reference.span)
        if number:
            said = f"Deployment `{share.deployment}` answered for the first time."
            yield Event(share.first, "platform", kind, said, (first,))
        if share.last != until:
            said = f"Deployment `{share.deployment}` answered for the last time."
            yield Event(share.last, "platform", kind, said, (last,))


def _first_errors(impact: Impact) -> Iterator[Event]:
    for failure in impact.logged[:CLASSES_TOLD]:
        said = f": {failure.message}" if failure.message else ""
        sentence = f"The service logged {failure.title} for the first time{said.rstrip('.')}."
        yield Event(
            failure.first, "service", EventKind.DIAGNOSIS, sentence, (Reference(Source.LOG, failure.reference.first),)
        )
