"""From an incident's journal to a draft in its outbox: which text, for whom, with what is known. It sends nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from toolkit.clock import utc_now
from toolkit.communicate.audiences import audiences_of
from toolkit.communicate.cadence import Clock, clock_for
from toolkit.communicate.facts import Facts, facts_of
from toolkit.communicate.outbox import NOTHING_SAID, WITHDRAWN, Draft, Fate, Wanted, drafts, put
from toolkit.communicate.phases import WORDS, Phase
from toolkit.communicate.templates import Kind, Said, fill
from toolkit.errors import UsageError
from toolkit.incident import FACILITATOR_FILE, Incident, severity_in
from toolkit.journal import Entry
from toolkit.playbook import Playbook

SUBJECTS = {Kind.INITIAL: "incident declared", Kind.UPDATE: "incident update", Kind.RESOLVED: "incident resolved"}
DECLARED = (Fate.SENT, Fate.COPIED, Fate.UNSURE, Fate.SENDING)


def draft_message(
    playbook: Playbook,
    incident: Incident,
    *,
    actor: str,
    said: Said = NOTHING_SAID,
    kind: Kind | None = None,
) -> Draft:
    """Draft the text that is due, or the one that is named. What nobody had sent yet is withdrawn: this one is newer.

    UsageError before the incident is opened, and for a resolution of one that is not resolved. JournalError.
    """
    entries, now = incident.journal.entries(), utc_now()
    drill = is_drill(playbook, incident, entries)
    clock = clock_for(playbook, drill=drill)
    facts = facts_of(playbook, entries, said, next_due=_next_due(playbook, entries, clock, now), now=now)
    if facts is None:
        raise UsageError(
            f"Incident {incident.id} was never opened", state="nothing was drafted", next="declare it: toolkit declare"
        )
    earlier = drafts(entries)
    kind = kind or kind_due(earlier, facts.phase, drill=drill)
    if kind is Kind.RESOLVED and facts.phase is not Phase.RESOLVED:
        raise UsageError(
            f"The incident is {facts.phase}, not resolved: nobody is told that it is over",
            state="nothing was drafted",
            next="04_verify resolves it when every check passes; toolkit update draft tells how it stands",
        )
    audiences = audiences_of(playbook, kind, facts, entries, earlier, now)
    wanted = _wanted(playbook, kind, facts, drill, said)
    for old in () if drill else earlier:  # a drill's count as made
        if all(each.fate is Fate.DRAFTED for each in old.deliveries):
            incident.record(WITHDRAWN, {"update": old.id, "why": "a newer one was drafted"}, actor=actor)
    return put(incident, wanted, audiences, actor=actor)


def kind_due(earlier: Sequence[Draft], phase: Phase, *, drill: bool) -> Kind:
    """Which of the three comes next: the declaration until it was made, that it is over after the resolution."""
    if phase is Phase.RESOLVED:
        return Kind.RESOLVED
    made = [draft for draft in earlier if drill or any(each.fate in DECLARED for each in draft.deliveries)]
    return Kind.UPDATE if made else Kind.INITIAL


def is_drill(playbook: Playbook, incident: Incident, entries: Sequence[Entry]) -> bool:
    """Whether this is a drill: a facilitator's journal beside it, or a sandbox as its target."""
    if (incident.folder / FACILITATOR_FILE).exists():
        return True
    names = {str(entry.data.get("target")) for entry in entries if entry.data.get("target")}
    return any(playbook.targets[name].sandbox for name in names if name in playbook.targets)


def _next_due(playbook: Playbook, entries: Sequence[Entry], clock: Clock, now: datetime) -> datetime | None:
    """When the one after this is due."""
    severity = severity_in(entries)
    if severity is None:
        return None
    return now + timedelta(seconds=playbook.severity[severity].update_every_minutes * clock.minute_s)


def _wanted(playbook: Playbook, kind: Kind, facts: Facts, drill: bool, said: Said) -> Wanted:
    inside, outside = fill(kind, facts.inside, drill=drill), fill(kind, facts.outside, drill=drill)
    severity = facts.severity_for(kind)
    return Wanted(
        kind=kind,
        subject=f"[{severity}] {playbook.service.title}: {SUBJECTS[kind]}",
        public_subject=f"{playbook.service.title}: {SUBJECTS[kind]}",
        status=WORDS[facts.phase].statuspage,
        severity=severity,
        inside=inside.text,
        outside=outside.text,
        notice="" if kind is Kind.RESOLVED else f"{(facts.outside.impact or '').rstrip('.')}. We are working on it.",
        gaps=inside.gaps,
        outside_gaps=outside.gaps,
        drill=drill,
        said=said,
    )
