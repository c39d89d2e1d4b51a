"""What a vendor is told: a ticket with the facts filled in, to be put into its portal by a person.

Facts are ids that the vendor knows, moments in UTC, and errors by status, path and SQLSTATE. No message of an error, no
row and no address of a host is in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.analysis import fields
from toolkit.analysis.discretion import discreet
from toolkit.analysis.entries import first, latest
from toolkit.clock import utc_now
from toolkit.communicate.facts import Facts, facts_of, moment
from toolkit.communicate.outbox import FOLDER, NOTHING_SAID, write_text
from toolkit.errors import UsageError
from toolkit.incident import Incident
from toolkit.journal import Entry
from toolkit.playbook import PlatformIds, Playbook
from toolkit.playbook.check import PLACEHOLDER

UNKNOWN = "not known yet"
ERRORS = 5
ASKED: Mapping[str, str] = {
    "vercel": "Is anything known on your side for this project since then? Please leave the deployments named here as "
    "they are, and tell us before anything is changed.",
    "supabase": "Is anything known on your side for this project since then? Please keep the backups and the "
    "point-in-time recovery of before that moment, and restart or upgrade nothing.",
}


@dataclass(frozen=True)
class Ticket:
    """`portal` is where it goes; `file` is where the text is."""

    vendor: str
    subject: str
    text: str
    portal: str
    file: Path


def write_ticket(playbook: Playbook, incident: Incident, vendor: str, target: str, *, actor: str) -> Ticket:
    """Write and journal it. UsageError for a vendor that is not known, and before the opening."""
    if vendor not in ASKED:
        raise UsageError(f"There is no ticket for {vendor!r}", next=f"use {' or '.join(ASKED)}")
    entries = incident.journal.entries()
    facts = facts_of(playbook, entries, NOTHING_SAID, next_due=None, now=utc_now())
    if facts is None:
        raise UsageError(f"Incident {incident.id} was never opened", next="declare it: toolkit declare")
    ids = playbook.platform_ids(target)
    lines = _vercel(entries, ids) if vendor == "vercel" else _supabase(entries, ids)
    text = discreet("\n".join([*_shared(facts, entries), *lines, "", ASKED[vendor]]))
    subject = f"[{facts.severity}] {playbook.service.title}: production is affected since {moment(facts.opened)}"
    incident.record("ticket.written", {"vendor": vendor, "subject": subject, "text": text}, actor=actor)
    file = incident.folder / FOLDER / f"ticket-{vendor}.txt"
    write_text(file, f"{subject}\n\n{text}")
    return Ticket(vendor, subject, text, _portal(playbook, vendor), file)


def _shared(facts: Facts, entries: Sequence[Entry]) -> list[str]:
    return [
        f"Service: {facts.inside.service}",
        f"Severity for us: {facts.severity}; now: {facts.inside.status}",
        f"Since (opened): {moment(facts.opened)}",
        f"What we see: {facts.inside.impact or UNKNOWN}",
        *_errors(entries),
        f"What we did: {facts.inside.timeline or UNKNOWN}",
        f"On-call: {facts.inside.on_call or UNKNOWN}",
    ]


def _vercel(entries: Sequence[Entry], ids: PlatformIds) -> list[str]:
    seen = [e for e in entries if e.kind == "monitor.observed" and e.data.get("deployment")]
    deployments = list(dict.fromkeys(str(e.data["deployment"]) for e in seen))
    return [
        f"Project: {ids.vercel_project or UNKNOWN}; team: {ids.vercel_team or UNKNOWN}",
        f"Deployments that answered, the latest last: {', '.join(deployments[-4:]) or UNKNOWN}",
    ]


def _supabase(entries: Sequence[Entry], ids: PlatformIds) -> list[str]:
    assessed = latest(entries, "assessment.made", "plan.made")
    server = fields.within(assessed.data, "server") if assessed else {}
    migration = [e.data["migration"] for e in entries if e.kind == "monitor.observed" and e.data.get("migration")]
    state = ", ".join(f"{name} {value}" for name, value in migration[-1].items()) if migration else UNKNOWN
    backup = first(entries, "backup.made")
    return [
        f"Project: {ids.supabase_project or UNKNOWN}",
        f"Server: PostgreSQL {fields.text(server, 'version') or UNKNOWN}, "
        f"system identifier {fields.text(server, 'system_identifier') or UNKNOWN}",
        f"Migrations: {state}",
        f"A backup of our own: {moment(backup.at) if backup else UNKNOWN}",
    ]


def _errors(entries: Sequence[Entry]) -> list[str]:
    """By status, path and SQLSTATE, as the newest assessment counted them."""
    assessed = latest(entries, "assessment.made")
    found = fields.objects(assessed.data, "errors") if assessed else ()
    told = [f"  {_error(each)}" for each in found[:ERRORS]]
    return ["Errors:", *told] if told else [f"Errors: {UNKNOWN}"]


def _error(said: fields.Data) -> str:
    status, path = fields.text(said, "status") or "?", fields.text(said, "path") or "?"
    code = fields.text(said, "sqlstate")
    return f"{fields.whole(said, 'count') or '?'} × {status} on {path}" + (f", SQLSTATE {code}" if code else "")


def _portal(playbook: Playbook, vendor: str) -> str:
    """As the playbook names it; a placeholder says that it is one."""
    portals = [each.portal for each in playbook.contacts if each.vendor == vendor and each.portal]
    known = [portal for portal in portals if not PLACEHOLDER.search(portal)]
    return known[0] if known else "no portal in the playbook"
