"""What the journal knows that a message tells, for inside and for outside. What it does not know is None.

Inside hears what was seen and done. Outside hears that something is wrong, since when and whether it is over: no table,
no deployment, no error of ours, unless somebody wrote it for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from toolkit.analysis import fields, words
from toolkit.analysis.entries import every, first, latest
from toolkit.communicate.phases import WORDS, Phase, phase_of
from toolkit.communicate.running import running_in
from toolkit.communicate.templates import Kind, Said, Values
from toolkit.incident import severity_in, worst_severity_in
from toolkit.journal import Entry
from toolkit.on_call import Role, roles_in
from toolkit.playbook import Playbook, Severity

KEY_EVENTS = 6  # more than these nobody reads in a chat
DRAFTED = "update.drafted"
NOBODY_IN_PARTICULAR = ("monitor", "responder", "runner", "drill")


@dataclass(frozen=True)
class Facts:
    """What is known of an incident at a moment."""

    phase: Phase
    severity: Severity
    worst: Severity
    opened: datetime
    inside: Values
    outside: Values

    def severity_for(self, kind: Kind) -> Severity:
        """That it is over is told of the worst that it was; all else of what it is."""
        return self.worst if kind is Kind.RESOLVED else self.severity


def facts_of(
    playbook: Playbook, entries: Sequence[Entry], said: Said, *, next_due: datetime | None, now: datetime
) -> Facts | None:
    """Everything that a message could tell now; None before the incident was opened."""
    phase, severity, worst = phase_of(entries), severity_in(entries), worst_severity_in(entries)
    opened = first(entries, "incident.opened")
    if phase is None or severity is None or worst is None or opened is None:
        return None
    said = _with_what_was_said(entries, said)
    every_minutes = playbook.severity[severity].update_every_minutes
    over = phase is Phase.RESOLVED
    shared = Values(
        service=playbook.service.title,
        severity=str(worst if over else severity),
        time=moment(opened.at),
        minutes=f"{every_minutes:g}",
        on_call=said.on_call or _on_call(entries),
        status=WORDS[phase].template,
        next_update="none: it is resolved" if over else moment(next_due) if next_due else None,
        duration=_duration(entries, opened),
    )
    inside = replace(
        shared,
        impact=said.impact or _impact(entries),
        timeline=_timeline(entries, now, inside=True),
        resolution=said.resolution or _resolution(entries),
    )
    outside = replace(
        shared,
        on_call=playbook.service.owner,  # nobody's name goes outside
        impact=said.public_impact or _public_impact(playbook, entries, severity),
        timeline=_timeline(entries, now, inside=False),
        resolution=said.resolution or _public_resolution(entries),
    )
    return Facts(phase, severity, worst, opened.at, inside, outside)


def moment(at: datetime) -> str:
    """`2026-11-24 03:00 UTC`."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _with_what_was_said(entries: Sequence[Entry], said: Said) -> Said:
    """What somebody said for an earlier message holds until somebody says otherwise."""
    kept = {
        name: value for entry in every(entries, DRAFTED) for name, value in fields.within(entry.data, "said").items()
    }
    return Said(**{name: str(getattr(said, name) or kept.get(name) or "") for name in vars(said)})


def _impact(entries: Sequence[Entry]) -> str | None:
    """As the monitor or whoever declared it gave the reasons, the newest."""
    reasons = latest(entries, "incident.opened", "incident.severity")
    return "; ".join(fields.texts(reasons.data, "reasons")) or None if reasons else None


def _public_impact(playbook: Playbook, entries: Sequence[Entry], severity: Severity) -> str | None:
    """The playbook's own definition that the reasons begin with; None where they are somebody's free words."""
    said = _impact(entries) or ""
    return next((each for each in playbook.severity[severity].definitions if said.startswith(each)), None)


def _on_call(entries: Sequence[Entry]) -> str | None:
    """Who leads, else who acknowledged it. A program, and the word that stands for anybody, are nobody's name."""
    if lead := roles_in(entries).get(Role.LEAD):
        return lead
    taken = latest(entries, "incident.acknowledged")
    return taken.actor if taken and taken.actor not in NOBODY_IN_PARTICULAR else None


def _duration(entries: Sequence[Entry], opened: Entry) -> str | None:
    resolved = first(entries, "incident.resolved")
    if resolved is None:
        return None
    minutes = round((resolved.at - opened.at).total_seconds() / 60)
    return f"{words.plural(minutes // 60, 'hour')} {words.plural(minutes % 60, 'minute')}"


def _resolution(entries: Sequence[Entry]) -> str | None:
    done, resolved = latest(entries, "plan.done"), latest(entries, "incident.resolved")
    plan = next((e for e in every(entries, "plan.made") if done and e.data.get("plan") == done.data.get("plan")), None)
    parts = [
        fields.text(plan.data, "summary") if plan else None,
        fields.text(resolved.data, "why") if resolved else None,
    ]
    return "; ".join(part for part in parts if part) or None


def _public_resolution(entries: Sequence[Entry]) -> str | None:
    verified = latest(entries, "verification.made")
    if verified is None or verified.data.get("outcome") != "pass":
        return None
    rolled_back = latest(entries, "plan.done") is not None
    return "A change was rolled back, and the service was verified" if rolled_back else "The service was verified"


def _timeline(entries: Sequence[Entry], now: datetime, *, inside: bool) -> str | None:
    told = [(entry.at, what) for entry in entries if (what := _event(entry, inside=inside))]
    kept = told if len(told) <= KEY_EVENTS else [told[0], *told[-KEY_EVENTS + 1 :]]
    parts = [f"{at:%H:%M} {what}" for at, what in kept]
    if inside and (running := running_in(entries, now)):
        parts.append(f"now: {running.told(now)}")
    return "; ".join(parts) or None


def _event(entry: Entry, *, inside: bool) -> str | None:
    """A key event in a few words; None for what is none."""
    match entry.kind:
        case "incident.opened":
            return f"declared as {fields.text(entry.data, 'severity') or '?'}"
        case "incident.severity":
            return f"now {fields.text(entry.data, 'to') or '?'}"
        case "incident.acknowledged" | "incident.mitigated" | "incident.resolved":
            return entry.kind.removeprefix("incident.")
    return _work(entry) if inside else None


def _work(entry: Entry) -> str | None:
    match entry.kind:
        case "assessment.made":
            return fields.text(entry.data, "summary")
        case "backup.made":
            return "backup made"
        case "backup.failed":
            return "the backup failed"
        case "plan.made" if entry.data.get("execute"):
            return f"begun: {fields.text(entry.data, 'summary') or 'a rollback'}"
        case "plan.done":
            return "rollback carried out"
        case "plan.interrupted" | "plan.aborted":
            return f"rollback {entry.kind.removeprefix('plan.')}"
        case "step.failed":
            return f"step failed: {fields.text(entry.data, 'what') or fields.text(entry.data, 'step') or '?'}"
        case "verification.made":
            return f"verification: {fields.text(entry.data, 'outcome') or 'unknown'}"
    return None
