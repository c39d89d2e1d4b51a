"""How an incident stands, from its journal alone: clock, severity, phase, who has it, what is due, the last steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from toolkit.analysis import fields
from toolkit.assess.decision import ABOUT
from toolkit.checklist import ItemState, load_checklists, standings
from toolkit.checklist.standing import evidence_of
from toolkit.communicate.cadence import Clock, cadence_of
from toolkit.communicate.phases import phase_of
from toolkit.incident import OPENED, Incident, State, severity_in, state_in
from toolkit.journal import Entry
from toolkit.on_call import response_clock, roles_in, to_call
from toolkit.playbook import Playbook

STEPS = ("step.begun", "step.done", "step.skipped", "step.failed", "step.undone", "step.blocked", "plan.interrupted")
SHOWN = 5
MEANWHILE = ("assessment", "safety", "pre-rollback", "during-rollback")  # lists by the moment that they are for
AFTERWARDS = ("post-rollback", "post-incident", "post-mortem")


@dataclass(frozen=True)
class IncidentStatus:
    """Times are UTC; None or '' where it does not apply. `attention` is what somebody should do now."""

    incident: str
    severity: str
    phase: str
    running_s: float | None
    roles: dict[str, str]
    decided: str
    next_update: datetime | None
    missed_updates: int
    open_items: tuple[str, ...]
    steps: tuple[str, ...]
    attention: tuple[str, ...]

    def rows(self, now: datetime) -> list[dict[str, str]]:
        """For a table of two columns."""
        clock = "not opened" if self.running_s is None else _clock(self.running_s)
        due = "none" if self.next_update is None else f"{self.next_update:%H:%M}Z ({_until(self.next_update, now)})"
        missed = f"; {self.missed_updates} missed" if self.missed_updates else ""
        told = {
            "incident": self.incident,
            "severity": self.severity or "none",
            "phase": self.phase or "not opened",
            "running for": clock,
            "who": ", ".join(f"{role}: {who}" for role, who in self.roles.items()) or "nobody took a role",
            "decision": self.decided or "none yet",
            "next update": due + missed,
            "open items": "\n".join(self.open_items) or "none",
            "last steps": "\n".join(self.steps) or "none",
            "attention": "\n".join(self.attention) or "nothing",
        }
        return [{"what": what, "how it stands": said} for what, said in told.items()]


def incident_status(incident: Incident, playbook: Playbook, now: datetime, clock: Clock) -> IncidentStatus:
    """As it stands at `now`. Raises JournalError, and UsageError for checklists that are none."""
    entries = incident.journal.entries()
    opened = next((entry.at for entry in entries if entry.kind == OPENED), None)
    over = next((entry.at for entry in entries if entry.kind == f"incident.{State.RESOLVED}"), None)
    cadence = cadence_of(playbook, entries, now, clock)
    decision = next((e for e in reversed(entries) if e.kind == "decision.made" and e.data.get("about") == ABOUT), None)
    return IncidentStatus(
        incident=incident.id,
        severity=severity_in(entries) or "",
        phase=phase_of(entries) or "",
        running_s=((over or now) - opened).total_seconds() if opened else None,
        roles={role.in_words: who for role, who in roles_in(entries).items()},
        decided=f"{decision.data['what']}, by {decision.data['by']}: {decision.data['why']}" if decision else "",
        next_update=cadence.next.due if cadence.next else None,
        missed_updates=cadence.missed,
        open_items=tuple(_open_items(incident, playbook, bool(over), now)),
        steps=tuple(_step(entry) for entry in [e for e in entries if e.kind in STEPS][-SHOWN:]),
        attention=tuple(_attention(playbook, entries, now)),
    )


def _open_items(incident: Incident, playbook: Playbook, over: bool, now: datetime) -> list[str]:
    """What blocks a destructive step, failed or is overdue, one by one; of all others of the current lists how many."""
    lists, wanted = load_checklists(playbook), AFTERWARDS if over else MEANWHILE
    names = [each.name for each in lists.checklist if each.name in wanted]
    found = standings(lists, evidence_of(incident, playbook), names) if names else []
    waiting = [each for each in found if not each.settled]
    first = [each for each in waiting if each.blocking or each.state is ItemState.FAILED or each.overdue(now)]
    said = [f"{each.item.text} ({each.state}{', blocks' if each.blocking else ''}): {each.item.id}" for each in first]
    rest = len(waiting) - len(first)
    return [*said, *([f"{rest} more: toolkit checklist list"] if rest else [])]


def _attention(playbook: Playbook, entries: Sequence[Entry], now: datetime) -> list[str]:
    """Whom to call because nobody answers, and how late the answer is."""
    if state_in(entries) is not State.OPEN:
        return []
    clock = response_clock(playbook, entries)
    late = clock.late_by(now) if clock and clock.answered is None else None
    said = [f"nobody has acknowledged, {_clock(late.total_seconds())} late"] if late else []
    return [*said, *(f"call {', '.join(each.roles)}" for each in to_call(playbook, entries, now))]


def _step(entry: Entry) -> str:
    why = fields.text(entry.data, "error") or fields.text(entry.data, "why") or ""
    what = entry.kind.partition(".")[2]
    return f"{entry.at:%H:%M:%S}Z {fields.text(entry.data, 'step') or 'the plan'} {what}{f': {why}' if why else ''}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def _until(due: datetime, now: datetime) -> str:
    left = (due - now).total_seconds()
    return f"in {_clock(left)}" if left >= 0 else f"{_clock(-left)} ago"
