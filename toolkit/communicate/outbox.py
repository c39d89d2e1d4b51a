"""Drafts, and what became of each. Kept in the incident's journal; a copy of each text stands in the folder `outbox`.

A draft is one of the three texts in two voices, for inside and for outside, and a delivery for each audience. What
happened to a delivery is read off the journal, so that a terminal, a notebook and the monitor see the same, and one
that was begun by a process that died is known as just that.

    drafted ──► sending ──► sent
                   ├──────► waiting    refused for now; to be tried again, not before a moment
                   ├──────► refused    for good
                   └──────► unsure     perhaps sent: nobody sends it again without looking
    drafted ──► copied (a person posted it)      drafted ──► withdrawn
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from toolkit.analysis import fields
from toolkit.clock import parse_utc
from toolkit.communicate.templates import Kind, Said
from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.journal import Entry
from toolkit.playbook import Severity

FOLDER = "outbox"
NOTHING_SAID = Said()
DRAFTED, SENDING, SENT, WAITING, REFUSED = (
    f"update.{what}" for what in ("drafted", "sending", "sent", "waiting", "refused")
)
UNSURE, COPIED, WITHDRAWN, SETTLED = (f"update.{what}" for what in ("unsure", "copied", "withdrawn", "settled"))


class By(StrEnum):
    """What carries a message. `HAND`: nothing is configured, so a person copies the text."""

    SLACK = "slack"
    MAIL = "mail"
    STATUSPAGE = "statuspage"
    PAGERDUTY = "pagerduty"
    NOTICE = "notice"
    HAND = "by hand"


class Fate(StrEnum):
    """What became of a delivery."""

    DRAFTED = "drafted"
    SENDING = "sending"
    SENT = "sent"
    WAITING = "waiting"
    REFUSED = "refused"
    UNSURE = "perhaps sent"
    COPIED = "copied by hand"
    WITHDRAWN = "withdrawn"


OPEN = (Fate.DRAFTED, Fate.WAITING, Fate.REFUSED)


@dataclass(frozen=True)
class Audience:
    """Who is told: a name for people, what carries it, and the key by which the playbook knows where to."""

    name: str
    by: By
    key: str = ""
    outside: bool = False

    @property
    def is_read_inside(self) -> bool:
        """Whether people of ours read the text there. Nobody reads a pager's."""
        return not self.outside and self.by is not By.PAGERDUTY


@dataclass(frozen=True)
class Delivery:
    """One draft for one audience. `why` and `reference` are the provider's; `not_before` is when to try again, UTC."""

    id: str
    audience: Audience
    fate: Fate = Fate.DRAFTED
    attempts: int = 0
    reference: str = ""
    why: str = ""
    not_before: datetime | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Wanted:
    """What a draft says. `gaps` are the fields that are not known, for inside and for outside; `status` is Statuspage's
    word; `said` is what a person gave for it."""

    kind: Kind
    subject: str
    public_subject: str
    status: str
    severity: Severity
    inside: str
    outside: str
    notice: str = ""  # inside the application; '' takes it away
    gaps: tuple[str, ...] = ()
    outside_gaps: tuple[str, ...] = ()
    drill: bool = False
    said: Said = NOTHING_SAID


@dataclass(frozen=True)
class Draft:
    """One message in the outbox."""

    id: str
    at: datetime
    message: Wanted
    deliveries: tuple[Delivery, ...]

    @property
    def kind(self) -> Kind:
        return self.message.kind

    def text_for(self, audience: Audience) -> str:
        if audience.by is By.NOTICE:
            return self.message.notice
        return self.message.outside if audience.outside else self.message.inside

    def gaps_for(self, audience: Audience) -> tuple[str, ...]:
        return self.message.outside_gaps if audience.outside else self.message.gaps


def put(incident: Incident, wanted: Wanted, audiences: Sequence[Audience], *, actor: str) -> Draft:
    """Journal a draft and write its texts into the folder. JournalError when it cannot be journaled."""
    number = sum(entry.kind == DRAFTED for entry in incident.journal.entries()) + 1
    name = f"{number}-{wanted.kind}"
    told = {"update": name, **asdict(wanted), "audiences": [asdict(each) for each in audiences]}
    incident.record(DRAFTED, told, actor=actor)
    draft = find(incident, name)
    write_text(incident.folder / FOLDER / f"{name}.txt", wanted.inside)
    if any(each.outside for each in audiences):
        write_text(incident.folder / FOLDER / f"{name}.public.txt", wanted.outside)
    return draft


def drafts(entries: Sequence[Entry]) -> list[Draft]:
    """All of them in order, each delivery with what became of it."""
    found: dict[str, Draft] = {}
    for entry in entries:
        name = fields.text(entry.data, "update")
        if entry.kind == DRAFTED and name:
            found[name] = _drafted(entry, name)
        elif name in found and entry.kind.startswith("update."):
            found[name] = _changed(found[name], entry)
    return list(found.values())


def find(incident: Incident, name: str = "") -> Draft:
    """A draft by its id or its number, or else the newest. UsageError where there is none."""
    known = drafts(incident.journal.entries())
    if not known:
        raise UsageError(f"Incident {incident.id} has no draft yet", next="toolkit update draft")
    if not name:
        return known[-1]
    for draft in known:
        if name in (draft.id, draft.id.partition("-")[0]):
            return draft
    raise UsageError(f"There is no draft {name!r}", next=f"use one of {', '.join(each.id for each in known)}")


def mark_copied(incident: Incident, name: str, only: Sequence[str], *, actor: str) -> Draft:
    """A person posted it: for whoever inside had not got it, or for `only` (audiences). UsageError, JournalError."""
    draft = find(incident, name)
    readers = [each.audience.name for each in draft.deliveries if each.audience.is_read_inside]
    wanted = [each for each in draft.deliveries if each.fate in OPEN and each.audience.name in (only or readers)]
    if not wanted:
        raise UsageError(f"{draft.id} has nothing left to be copied", state="nothing was changed")
    for each in wanted:
        note(incident, COPIED, draft, each, actor=actor)
    return find(incident, draft.id)


def settle(incident: Incident, delivery: str, *, sent: bool, actor: str) -> Draft:
    """A person looked whether what was perhaps sent is there. UsageError for a delivery that is not in doubt."""
    draft = find(incident, delivery.partition(".")[0])
    found = next((each for each in draft.deliveries if each.id == delivery), None)
    if found is None or found.fate not in (Fate.UNSURE, Fate.SENDING):
        raise UsageError(f"{delivery} is not in doubt", state="nothing was changed", next="toolkit update list")
    note(incident, SETTLED, draft, found, actor=actor, sent=sent)
    return find(incident, draft.id)


def note(incident: Incident, kind: str, draft: Draft, delivery: Delivery, *, actor: str, **told: object) -> None:
    """Journal what happens to a delivery. JournalError."""
    data = {"update": draft.id, "delivery": delivery.id, "to": delivery.audience.name, "by": delivery.audience.by}
    incident.record(kind, data | {"outside": delivery.audience.outside} | told, actor=actor)


def _drafted(entry: Entry, name: str) -> Draft:
    data = entry.data
    audiences = [
        Audience(str(each["name"]), By(each["by"]), str(each["key"]), outside=bool(each["outside"]))
        for each in fields.objects(data, "audiences")
    ]
    message = Wanted(
        kind=Kind(data["kind"]),
        subject=str(data["subject"]),
        public_subject=str(data["public_subject"]),
        status=str(data["status"]),
        severity=Severity(data["severity"]),
        inside=str(data["inside"]),
        outside=str(data["outside"]),
        notice=str(data.get("notice", "")),
        gaps=fields.texts(data, "gaps"),
        outside_gaps=fields.texts(data, "outside_gaps"),
        drill=bool(data["drill"]),
    )
    deliveries = tuple(Delivery(f"{name}.{number}", each) for number, each in enumerate(audiences, start=1))
    return Draft(name, entry.at, message, deliveries)


def _changed(draft: Draft, entry: Entry) -> Draft:
    wanted = fields.text(entry.data, "delivery")
    changed = [_after(each, entry) if wanted in (None, each.id) else each for each in draft.deliveries]
    return replace(draft, deliveries=tuple(changed))


def _after(before: Delivery, entry: Entry) -> Delivery:
    """A delivery after one more entry. What was sent stays sent, whatever a slower process says afterwards."""
    fate = {
        SENDING: Fate.SENDING,
        SENT: Fate.SENT,
        WAITING: Fate.WAITING,
        REFUSED: Fate.REFUSED,
        UNSURE: Fate.UNSURE,
        COPIED: Fate.COPIED,
        WITHDRAWN: Fate.WITHDRAWN,
        SETTLED: Fate.SENT if entry.data.get("sent") else Fate.DRAFTED,
    }.get(entry.kind)
    if fate is None or (before.fate is Fate.SENT and fate is not Fate.SENT):
        return before
    if fate is Fate.WITHDRAWN and before.fate not in OPEN:
        return before
    again = fields.text(entry.data, "not_before")
    return replace(
        before,
        fate=fate,
        attempts=before.attempts + (fate is Fate.SENDING),
        reference=fields.text(entry.data, "reference") or before.reference,
        not_before=parse_utc(again) if again else None,
        why=fields.text(entry.data, "why") or "",
        at=entry.at,
    )


def write_text(file: Path, text: str) -> None:
    """For people to copy. The journal has it too, so that a full disk takes nothing away."""
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    except OSError:
        return
