"""Facts of what was prepared and of who was told: the playbook's people and rules, and the updates that went out."""

from toolkit.checklist.evidence import Answer, Evidence, said
from toolkit.checks import failed, passed, unknown
from toolkit.incident import severity_in
from toolkit.playbook.check import PLACEHOLDER

TOLD, MISSED = ("update.sent", "update.copied"), "update.missed"


def notified(seen: Evidence) -> Answer:
    """Whoever the playbook names for this severity was told; where it names nobody, anybody of ours was."""
    severity = severity_in(seen.entries)
    wanted = {each.audience for each in seen.playbook.communication.stakeholders if severity in each.severities}
    told = {str(entry.data.get("to")): entry for entry in seen.every(*TOLD) if entry.data.get("outside") is not True}
    if not told:
        return Answer(unknown("no update was sent yet: toolkit update draft"))
    if missing := sorted(wanted - set(told)):
        return Answer(unknown(f"not told yet: {', '.join(missing)}"))
    latest = max((told[name] for name in wanted or told), key=lambda entry: entry.seq)
    return said(latest, passed(f"told: {', '.join(sorted(wanted or told))}"))


def updates(seen: Evidence) -> Answer:
    """Updates went out, and none that was promised was missed."""
    made, missed = seen.every(*TOLD), seen.every(MISSED)
    if missed:
        return said(missed[-1], failed(f"{len(missed)} that were due were missed"))
    if not made:
        return Answer(unknown("no update was sent yet: toolkit update draft"))
    count = len({entry.data.get("update") for entry in made})
    return said(made[-1], passed(f"{count} went out, none was missed"))


def escalation(seen: Evidence) -> Answer:
    book = seen.playbook
    if not book.escalation:
        return Answer(failed("the playbook names no escalation"))
    people = [person for level in book.escalation for person in book.contacts_of(level.roles)]
    silent = [person.role for person in people if not person.phone or PLACEHOLDER.search(person.phone)]
    if silent:
        return Answer(failed(f"no telephone number for {', '.join(silent)}: toolkit playbook check"))
    return Answer(passed(f"{len(book.escalation)} levels, up to {', '.join(book.escalation[-1].roles)}"))


def communication_plan(seen: Evidence) -> Answer:
    book = seen.playbook
    chat, rules = book.channels.slack, book.communication
    if chat is None or not rules.stakeholders:
        return Answer(unknown("the playbook names no rooms or no stakeholders"))
    rooms = ", ".join(room.name for room in chat.rooms.values())
    return Answer(
        passed(f"the playbook says who is told: {rooms}; {', '.join(s.audience for s in rules.stakeholders)}")
    )


def verification_ready(seen: Evidence) -> Answer:
    book = seen.playbook
    paths, tables = book.endpoints.health_checks, book.database.critical_tables
    events = len(book.verification.events)
    return Answer(passed(f"{len(paths)} health endpoints, {len(tables)} critical tables, {events} synthetic events"))
