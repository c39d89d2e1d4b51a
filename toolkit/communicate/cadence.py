"""When the next update is due, which were made and which were missed: the playbook's 'Update Frequency'.

An update is promised for at most so many minutes after the one before; the declaration counts from the opening. One
that has not been made when it is due is missed, and the next is due one interval later. A severity that changes
changes the interval from there on. After the resolution one more is due: that it is over.

In a sandbox nothing is sent, and a draft counts; a minute of the playbook takes as long as the target says there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from toolkit.analysis import fields
from toolkit.incident import SEVERITY_CHANGED, State, severity_in
from toolkit.journal import Entry
from toolkit.playbook import Playbook, Severity

DUE, MISSED = "update.due", "update.missed"
REMIND_BEFORE = 0.2  # of the interval: three minutes of fifteen, so that it can still be made
MADE_KINDS = ("update.sent", "update.copied")


@dataclass(frozen=True)
class Promise:
    """An update that was or is due at `due` (UTC). `made`: when it was, None when not. `severity` set the interval."""

    due: datetime
    severity: Severity
    made: datetime | None
    missed: bool


@dataclass(frozen=True)
class Cadence:
    """All promises in order. `next` is the one still open; None before the opening and when all is told."""

    past: tuple[Promise, ...]
    next: Promise | None
    remind_at: datetime | None

    @property
    def made(self) -> int:
        return sum(each.made is not None for each in self.past)

    @property
    def missed(self) -> int:
        return sum(each.missed for each in self.past)


@dataclass(frozen=True)
class Clock:
    """How long the playbook's minutes take (`minute_s`, seconds), and whether a draft counts as made."""

    minute_s: float = 60.0
    drafts_count: bool = False


REAL = Clock()


def clock_for(playbook: Playbook, *, drill: bool) -> Clock:
    """The clock of an emergency, or of a drill: as the playbook's sandbox says."""
    scaled = next((each.monitoring.minute_s for each in playbook.targets.values() if each.sandbox), REAL.minute_s)
    return Clock(scaled, drafts_count=True) if drill else REAL


def cadence_of(playbook: Playbook, entries: Sequence[Entry], now: datetime, clock: Clock = REAL) -> Cadence:
    """The promises up to `now`."""
    opened = next((entry for entry in entries if entry.kind == "incident.opened"), None)
    if opened is None:
        return Cadence((), None, None)
    made = list(_made(entries, clock))
    end = next((entry.at for entry in entries if entry.kind == f"incident.{State.RESOLVED}"), None)
    past: list[Promise] = []
    since = opened.at
    while end is None or since < end:
        due, severity = _due_after(playbook, entries, since, clock)
        in_time = next((at for at in made if since < at <= due), None)
        if in_time is None and now <= due:
            open_one = Promise(due, severity, None, missed=False)
            return Cadence(tuple(past), open_one, due - (due - since) * REMIND_BEFORE)
        past.append(Promise(due, severity, in_time, missed=in_time is None))
        since = in_time or due
    return Cadence(tuple(past), None, None)


def marks_to_make(cadence: Cadence, entries: Sequence[Entry], now: datetime) -> Iterator[tuple[str, dict[str, str]]]:
    """What is to be journaled now and is not yet: that one is due, that one was missed. Kind and data of each."""
    known = {(entry.kind, fields.text(entry.data, "due")) for entry in entries if entry.kind in (DUE, MISSED)}
    for promise in cadence.past:
        if promise.missed and (MISSED, _text(promise.due)) not in known:
            yield MISSED, _told(promise)
    coming = cadence.next
    if coming and cadence.remind_at and now >= cadence.remind_at and (DUE, _text(coming.due)) not in known:
        yield DUE, _told(coming)


def _told(promise: Promise) -> dict[str, str]:
    return {"due": _text(promise.due), "severity": promise.severity}


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _made(entries: Sequence[Entry], clock: Clock) -> Iterator[datetime]:
    """When each update was made: told inside for the first time, one way or another."""
    seen: set[str] = set()
    counting = (*MADE_KINDS, "update.drafted") if clock.drafts_count else MADE_KINDS
    for entry in entries:
        name = fields.text(entry.data, "update")
        if entry.kind in counting and name and name not in seen and _is_read_inside(entry):
            seen.add(name)
            yield entry.at


def _is_read_inside(entry: Entry) -> bool:
    """A pager's event and what goes outside keep no promise to the team."""
    return entry.data.get("outside") is not True and fields.text(entry.data, "by") != "pagerduty"


def _due_after(
    playbook: Playbook, entries: Sequence[Entry], since: datetime, clock: Clock
) -> tuple[datetime, Severity]:
    """One interval after `since`. Where the severity changes meanwhile, by the new one, but not before the change."""
    severity = severity_in([entry for entry in entries if entry.at <= since]) or Severity.P3
    due = since + _interval(playbook, severity, clock)
    for entry in entries:
        if entry.kind == SEVERITY_CHANGED and since < entry.at < due:
            severity = Severity(str(entry.data["to"]))
            due = max(entry.at, since + _interval(playbook, severity, clock))
    return due, severity


def _interval(playbook: Playbook, severity: Severity, clock: Clock) -> timedelta:
    return timedelta(seconds=playbook.severity[severity].update_every_minutes * clock.minute_s)
