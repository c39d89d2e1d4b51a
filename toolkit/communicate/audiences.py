"""Who is told what: the playbook's channels and rules against an incident's severity and age.

The incident's room and its own channel hear everything; the other rooms that it is declared and that it is over. People
by their role, the status page, customers and the notice inside the application follow the playbook's rules for the
severity. Whoever was told once is told that it is over, whatever the severity has become.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from toolkit.analysis import fields
from toolkit.analysis.entries import latest
from toolkit.communicate.facts import Facts
from toolkit.communicate.outbox import Audience, By, Draft, Fate
from toolkit.communicate.phases import Phase
from toolkit.communicate.templates import Kind
from toolkit.journal import Entry
from toolkit.playbook import Playbook, Severity
from toolkit.playbook.check import PLACEHOLDER

CHANNEL_OPENED = "channel.opened"
OWN_CHANNEL, CUSTOMERS, STATUS_PAGE, NOTICE, PAGER = "channel", "customers", "status page", "in-app notice", "pager"
OUTAGE = Severity.P0  # what the playbook calls an outage is P0; less is a degradation
TOLD = (Fate.SENT, Fate.COPIED, Fate.UNSURE, Fate.SENDING)


def audiences_of(
    playbook: Playbook, kind: Kind, facts: Facts, entries: Sequence[Entry], earlier: Sequence[Draft], now: datetime
) -> tuple[Audience, ...]:
    """Everybody who is to be told by this message, the incident's room first."""
    severity = facts.severity_for(kind)
    found = [*_rooms(playbook, kind, severity), *_own_channel(entries)]
    found += _people(playbook, severity)
    found += _pager(playbook, kind, facts, earlier)
    found += _outside(playbook, kind, facts, now)
    if kind is Kind.RESOLVED:
        found += [each.audience for draft in earlier for each in draft.deliveries if each.fate in TOLD]
    return tuple(dict.fromkeys(found))


def addresses_of(playbook: Playbook, audience: Audience) -> tuple[str, ...]:
    """Where to, for the sender: a channel, addresses, the page's components. () where the playbook has none (any more).

    They are looked up when a message is sent and stand in no journal."""
    channels = playbook.channels
    match audience.by:
        case By.SLACK if audience.name == OWN_CHANNEL:
            return (audience.key,)
        case By.SLACK:
            room = channels.slack.rooms.get(audience.key) if channels.slack else None
            return (room.name,) if room else ()
        case By.MAIL if audience.key == CUSTOMERS:
            return _given(channels.mail.customers if channels.mail else "")
        case By.MAIL:
            return _mail_of(playbook, audience.key)
        case By.STATUSPAGE:
            return channels.status_page.components if channels.status_page else ()
        case By.PAGERDUTY:
            return (playbook.service.name,)
    return ()


def _rooms(playbook: Playbook, kind: Kind, severity: Severity) -> Iterator[Audience]:
    chat = playbook.channels.slack
    if chat is None:
        yield Audience("the team", By.HAND, "team")
        return
    keys = sorted(chat.rooms, key=lambda key: key != chat.incident_room)
    for key in keys:
        if key == chat.incident_room or (kind is not Kind.UPDATE and severity in chat.rooms[key].severities):
            yield Audience(chat.rooms[key].name, By.SLACK, key)


def _own_channel(entries: Sequence[Entry]) -> Iterator[Audience]:
    opened = latest(entries, CHANNEL_OPENED)
    if opened and (name := fields.text(opened.data, "id")):
        yield Audience(OWN_CHANNEL, By.SLACK, name)


def _people(playbook: Playbook, severity: Severity) -> Iterator[Audience]:
    for group in playbook.communication.stakeholders:
        if severity in group.severities:
            reachable = playbook.channels.mail and _mail_of(playbook, group.audience)
            yield Audience(group.audience, By.MAIL if reachable else By.HAND, group.audience)


def _pager(playbook: Playbook, kind: Kind, facts: Facts, earlier: Sequence[Draft]) -> Iterator[Audience]:
    """Paged at the declaration; told once that somebody has it."""
    pager = playbook.channels.pagerduty
    if pager is None or facts.severity not in pager.severities or kind is Kind.RESOLVED:
        return
    taken = facts.phase is not Phase.OPEN
    known = any(
        draft.kind is kind and each.audience.by is By.PAGERDUTY for draft in earlier for each in draft.deliveries
    )
    if kind is Kind.INITIAL or (taken and not known):
        yield Audience(PAGER, By.PAGERDUTY)


def _outside(playbook: Playbook, kind: Kind, facts: Facts, now: datetime) -> Iterator[Audience]:
    rules, channels = playbook.communication, playbook.channels
    if facts.severity_for(kind) in rules.status_page:
        yield Audience(STATUS_PAGE, By.STATUSPAGE if channels.status_page else By.HAND, outside=True)
    after = rules.mail_after_minutes
    lasting = facts.phase not in (Phase.MITIGATED, Phase.RESOLVED)
    if after is not None and lasting and facts.worst is OUTAGE and now - facts.opened >= timedelta(minutes=after):
        reachable = channels.mail and _given(channels.mail.customers)
        yield Audience(CUSTOMERS, By.MAIL if reachable else By.HAND, CUSTOMERS, outside=True)
    if kind is not Kind.RESOLVED and facts.severity in rules.in_app:
        yield Audience(NOTICE, By.NOTICE, outside=True)


def _mail_of(playbook: Playbook, group: str) -> tuple[str, ...]:
    """The addresses of a group's roles, as far as the playbook has them."""
    roles = next((each.roles for each in playbook.communication.stakeholders if each.audience == group), ())
    return tuple(mail for each in playbook.contacts if each.role in roles for mail in _given(each.email))


def _given(value: str) -> tuple[str, ...]:
    """The value; () where it is empty or still a placeholder."""
    return (value.strip(),) if value.strip() and not PLACEHOLDER.search(value) else ()
