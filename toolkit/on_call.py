"""Who has it: response clocks by severity, whom to call when nobody acknowledges, the roles of an incident, notes.

Pure where it judges: from an incident's journal and the playbook. A severity's clock runs from the moment at which the
incident was first so bad or worse, so that a severity that falls and rises again gives nobody more time. Numbers are
looked up in the playbook when they are shown and stand in no journal. It calls nobody itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from toolkit.errors import UsageError
from toolkit.incident import OPENED, SEVERITY_CHANGED, Incident, State, state_in
from toolkit.journal import Entry
from toolkit.playbook import Playbook, Severity
from toolkit.playbook.check import PLACEHOLDER

OVERDUE, ESCALATED = "response.overdue", "escalation.due"
ROLE_TAKEN, NOTED, USERS_REPORTED = "role.taken", "note.added", "users.reported"
ANSWERS = tuple(f"incident.{state}" for state in (State.ACKNOWLEDGED, State.MITIGATED, State.RESOLVED))
REAL_MINUTE_S = 60.0
NO_NUMBER = "no number in the playbook"


class Role(StrEnum):
    """The three of an incident, one person each."""

    LEAD = "lead"
    COMMUNICATIONS = "communications"
    SCRIBE = "scribe"

    @property
    def in_words(self) -> str:
        return "incident lead" if self is Role.LEAD else str(self.value)


@dataclass(frozen=True)
class Due:
    """A moment that a severity sets, UTC: `limit_s` after `since`, at which it became so bad."""

    severity: Severity
    since: datetime
    limit_s: float

    @property
    def at(self) -> datetime:
        return self.since + timedelta(seconds=self.limit_s)


@dataclass(frozen=True)
class ResponseClock:
    """By when somebody must answer, and when somebody did; `answered` None: nobody yet."""

    due: Due
    answered: datetime | None

    def late_by(self, now: datetime) -> timedelta | None:
        """How much later than allowed, so far; None when in time. A limit of nothing ('at once') is never late."""
        over = (self.answered or now) - self.due.at
        return over if over > timedelta(0) and self.due.limit_s > 0 else None


@dataclass(frozen=True)
class Escalation:
    """A level of the playbook's escalation, from 1, and when it is reached unless somebody answers before."""

    level: int
    roles: tuple[str, ...]
    due: Due


def minute_in(entries: Sequence[Entry]) -> float:
    """How many seconds a minute of the playbook takes for this incident, as its monitor said; 60 without one."""
    told = [entry.data.get("minute_s") for entry in entries if entry.kind == "monitor.started"]
    known = [float(each) for each in told if isinstance(each, int | float)]
    return known[-1] if known else REAL_MINUTE_S


def answered_at(entries: Sequence[Entry]) -> datetime | None:
    """When somebody first acknowledged, mitigated or resolved it."""
    return next((entry.at for entry in entries if entry.kind in ANSWERS), None)


def response_clock(playbook: Playbook, entries: Sequence[Entry]) -> ResponseClock | None:
    """The clock as it stands, or as it stood when somebody answered; None before the opening."""
    answered = answered_at(entries)
    minute_s = minute_in(entries)
    limits = {each: rule.respond_within_minutes * minute_s for each, rule in playbook.severity.items()}
    due = _earliest(_history(entries, answered), limits)
    return ResponseClock(due, answered) if due else None


def escalations(playbook: Playbook, entries: Sequence[Entry]) -> tuple[Escalation, ...]:
    """Every level that this incident comes to while nobody answers, by its time."""
    history, minute_s = _history(entries, answered_at(entries)), minute_in(entries)
    found = []
    for number, level in enumerate(playbook.escalation, start=1):
        limits = {severity: minutes * minute_s for severity, minutes in level.after_minutes.items()}
        if due := _earliest(history, limits):
            found.append(Escalation(number, level.roles, due))
    return tuple(sorted(found, key=lambda each: each.due.at))


def to_call(playbook: Playbook, entries: Sequence[Entry], now: datetime) -> tuple[Escalation, ...]:
    """Whom to call now: every level whose time has come, nobody having answered. () when somebody has it."""
    if state_in(entries) is not State.OPEN:
        return ()
    return tuple(each for each in escalations(playbook, entries) if each.due.at <= now)


def mark_due(playbook: Playbook, incident: Incident, entries: Sequence[Entry], now: datetime, *, actor: str) -> int:
    """Journal what became due and is not journaled yet; how many entries. Raises JournalError."""
    marks = list(_marks(playbook, entries, now))
    for kind, data in marks:
        incident.record(kind, data, actor=actor)
    return len(marks)


def _marks(playbook: Playbook, entries: Sequence[Entry], now: datetime) -> Iterator[tuple[str, dict[str, object]]]:
    known = {entry.data.get("level") for entry in entries if entry.kind == ESCALATED}
    for each in to_call(playbook, entries, now):
        if each.level not in known:
            yield ESCALATED, _told(each.due, minute_in(entries)) | _whom(playbook, each)
    clock = response_clock(playbook, entries)
    overdue = clock is not None and clock.answered is None and clock.late_by(now) is not None
    if clock and overdue and all(entry.kind != OVERDUE for entry in entries):
        yield OVERDUE, _told(clock.due, minute_in(entries))


def _told(due: Due, minute_s: float) -> dict[str, object]:
    minutes = round(due.limit_s / minute_s, 2)
    return {"severity": due.severity, "after_minutes": minutes, "minute_s": minute_s, "due": due.at.isoformat()}


def _whom(playbook: Playbook, each: Escalation) -> dict[str, object]:
    silent = [contact.role for contact in playbook.contacts_of(each.roles) if not _given(contact.phone)]
    return {"level": each.level, "roles": list(each.roles), "without_number": silent}


def numbers(playbook: Playbook, roles: Sequence[str]) -> dict[str, str]:
    """How each role is called, by role: the number and the name, as far as the playbook has them."""
    found = {}
    for contact in playbook.contacts_of(tuple(roles)):
        name = f" ({contact.name})" if _given(contact.name) else ""
        found[contact.role] = f"{contact.phone}{name}" if _given(contact.phone) else f"{NO_NUMBER}{name}"
    return found


def take_role(incident: Incident, role: Role, who: str, *, actor: str) -> str | None:
    """Journal who has a role; whoever had it before. UsageError for nobody, and before the opening."""
    if not who.strip():
        raise UsageError(f"Nobody was named as {role.in_words}", state="nothing was changed")
    entries = incident.journal.entries()
    _require_open(incident, entries)
    before = roles_in(entries).get(role)
    if before != who:
        incident.record(ROLE_TAKEN, {"role": role, "who": who, "who_before": before}, actor=actor)
    return before


def roles_in(entries: Sequence[Entry]) -> dict[Role, str]:
    """Who has which role now."""
    return {
        Role(entry.data["role"]): str(entry.data["who"])
        for entry in entries
        if entry.kind == ROLE_TAKEN and entry.data.get("role") in list(Role)
    }


def add_note(incident: Incident, text: str, *, actor: str, from_users: bool = False) -> Entry:
    """Journal what somebody saw, thought or was told by users. UsageError without words."""
    if not text.strip():
        raise UsageError("There is nothing to note", state="nothing was written")
    return incident.record(USERS_REPORTED if from_users else NOTED, {"text": text.strip()}, actor=actor)


def _require_open(incident: Incident, entries: Sequence[Entry]) -> None:
    if state_in(entries) is None:
        raise UsageError(f"Incident {incident.id} was never opened", next="declare it: toolkit declare")


def _history(entries: Sequence[Entry], until: datetime | None) -> list[tuple[datetime, Severity]]:
    """Each severity that it had, from when, up to the answer."""
    said = {OPENED: "severity", SEVERITY_CHANGED: "to"}
    found = [(entry.at, Severity(entry.data[said[entry.kind]])) for entry in entries if entry.kind in said]
    return [each for each in found if until is None or each[0] <= until]


def _earliest(history: Sequence[tuple[datetime, Severity]], limits: Mapping[Severity, float]) -> Due | None:
    """The first moment that any severity from the present one down sets. None where none of them sets one."""
    if not history:
        return None
    now = history[-1][1]
    dues = []
    for severity, limit_s in limits.items():
        since = next((at for at, had in history if had.value <= severity.value), None)
        if since is not None and not severity.worse_than(now):
            dues.append(Due(severity, since, limit_s))
    return min(dues, key=lambda due: (due.at, due.severity.value), default=None)


def _given(value: str) -> bool:
    return bool(value.strip()) and not PLACEHOLDER.search(value)
