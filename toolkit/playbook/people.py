"""Who is told what, where and when: severities, contacts, escalation, channels, the rules of communication, drills.

Nothing here holds a secret. What a channel needs to be reached is named by target (`targets`), so that a drill can
never write where production does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from toolkit.playbook.section import Minutes, Section, Severity

Tier = Literal["primary", "escalation", "external"]


class SeverityRule(Section):
    """One severity: what it means, how fast to answer, how often to tell."""

    title: str
    definitions: Annotated[tuple[str, ...], Field(min_length=1)]
    respond_within_minutes: Annotated[int, Field(ge=0)]
    update_every_minutes: Annotated[int, Field(ge=1)]


class Contact(Section):
    """A role and how it is reached. `vendor`: of an external one, the word by which a ticket for it is asked."""

    role: str
    tier: Tier
    name: str = ""
    phone: str = ""
    slack: str = ""
    email: str = ""
    portal: str = ""
    vendor: Annotated[str, Field(pattern=r"^[a-z0-9-]*$")] = ""


class EscalationLevel(Section):
    """Whom to page when nobody has acknowledged, and after how many minutes by severity. A severity that is not named
    never comes to this level. `roles` are roles of contacts."""

    roles: Annotated[tuple[str, ...], Field(min_length=1)]
    after_minutes: Annotated[Mapping[Severity, Minutes], Field(min_length=1)]


class Room(Section):
    """A channel of the chat: its name there, what it is for, and at which severities it is told."""

    name: str
    purpose: str = ""
    severities: tuple[Severity, ...] = tuple(Severity)


class Chat(Section):
    """`incident_room`: the room, by its key in `rooms`, that an incident is run in. `incident_channel`: how a channel
    of its own is called, with `{incident}` filled in; '' opens none."""

    rooms: Annotated[Mapping[str, Room], Field(min_length=1)]
    incident_room: str
    incident_channel: str = ""


class StatusPage(Section):
    """`components`: what an incident concerns there, by the page's ids."""

    components: tuple[str, ...] = ()


class Mail(Section):
    """`sender` is who writes. `customers` is the list's address to which customers' mail goes."""

    sender: str
    customers: str = ""


class Pager(Section):
    """A pager is there. `severities`: at which of them it is used."""

    severities: tuple[Severity, ...] = (Severity.P0, Severity.P1)


class Channels(Section):
    """Where things are told. What is not there is not used: the text is then there to be copied."""

    slack: Chat | None = None
    status_page: StatusPage | None = None
    mail: Mail | None = None
    pagerduty: Pager | None = None


class Stakeholders(Section):
    """`audience` hears of incidents of these severities, through these roles of contacts."""

    audience: str
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)]
    roles: tuple[str, ...] = ()


class Communication(Section):
    """The playbook's 'External Communication', as rules.

    `status_page`: at which severities. `mail_after_minutes`: customers get mail when an outage lasts longer; None:
    never. `in_app`: at which severities partial degradation is told inside the application, by a flag that it reads.
    """

    status_page: tuple[Severity, ...] = ()
    mail_after_minutes: Minutes | None = None
    in_app: tuple[Severity, ...] = ()
    stakeholders: tuple[Stakeholders, ...] = ()


class ChecklistsFile(Section):
    """`file`: another one in place of the packaged lists, of the same form (toolkit/checklist/checklists.toml)."""

    file: Path | None = None


class DrillSchedule(Section):
    """A drill that is due every so many months. `scenarios` that count as one; () for any."""

    title: str
    every_months: Annotated[int, Field(ge=1)]
    scenarios: tuple[str, ...] = ()
