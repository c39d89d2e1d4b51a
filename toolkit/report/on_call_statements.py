"""The post-mortem's sentences on how bad it was said to be, by whom, how fast somebody answered, who was to be called.

People are named by a role of the playbook's contacts, or not at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from toolkit.analysis import Analysis, fields, words
from toolkit.analysis.discretion import discreet
from toolkit.analysis.entries import cite, every, first
from toolkit.analysis.references import Reference
from toolkit.analysis.telling import role
from toolkit.incident import OPENED, SEVERITY_CHANGED
from toolkit.journal import Entry
from toolkit.on_call import ANSWERS, ESCALATED, REAL_MINUTE_S, ROLE_TAKEN, Role, minute_in, response_clock
from toolkit.report.citations import Citations, markdown


@dataclass(frozen=True)
class SeverityRow:
    """A severity, from when on, who said so and why."""

    at: datetime
    severity: str
    by: str
    why: str
    reference: Reference


class OnCallStatements:
    """Sentences and cells in Markdown. `cite` remembers what they cite."""

    def __init__(self, analysis: Analysis, citations: Citations) -> None:
        self._playbook, self._cite = analysis.playbook, citations
        self._entries = analysis.evidence.journal
        self._roles = {contact.role for contact in self._playbook.contacts}

    def severities(self) -> list[SeverityRow]:
        """Every severity that it was said to have, in order."""
        said = {OPENED: "severity", SEVERITY_CHANGED: "to"}
        return [
            SeverityRow(
                entry.at,
                fields.text(entry.data, said[entry.kind]) or "?",
                self._who(entry),
                markdown(discreet("; ".join(fields.texts(entry.data, "reasons")))) or "not said",
                cite(entry),
            )
            for entry in every(self._entries, *said)
        ]

    def response(self) -> Iterator[str]:
        """Whether somebody answered in time, who was to be called before, and who had which role."""
        opened = first(self._entries, OPENED)
        if opened is None:
            yield "Response: not measured. The journal tells of no incident that was opened."
            return
        yield from self._scale()
        yield self._clock(opened)
        yield from (self._escalated(entry) for entry in every(self._entries, ESCALATED))
        yield from (self._role_taken(entry) for entry in every(self._entries, ROLE_TAKEN))

    def _scale(self) -> Iterator[str]:
        """That time was scaled, where it was."""
        minute_s = minute_in(self._entries)
        started = [entry for entry in every(self._entries, "monitor.started") if "minute_s" in entry.data]
        if started and minute_s != REAL_MINUTE_S:
            cited = self._cite(cite(started[-1]))
            yield f"Time was scaled: a minute of the playbook took {words.duration(minute_s)} here {cited}."

    def _clock(self, opened: Entry) -> str:
        clock = response_clock(self._playbook, self._entries)
        answer = next((entry for entry in self._entries if entry.kind in ANSWERS), None)
        if clock is None or answer is None or clock.answered is None:
            return f"Nobody had answered when the evidence ends {self._cite(cite(opened))}."
        due = clock.due
        took = words.duration((clock.answered - opened.at).total_seconds())
        since = f" (from {words.clock(due.since)} on)" if due.since > opened.at else ""
        within = f"within {words.duration(due.limit_s)}" if due.limit_s else "at once"
        late = clock.late_by(clock.answered)
        verdict = f", {words.duration(late.total_seconds())} late" if late else ", in time" if due.limit_s else ""
        done = f"{answer.kind.removeprefix('incident.').capitalize()} by {self._who(answer)} {took} after the opening"
        return f"{done}; {due.severity}{since} wants it {within}{verdict} {self._cite((cite(opened), cite(answer)))}."

    def _escalated(self, entry: Entry) -> str:
        minutes, minute_s = fields.number(entry.data, "after_minutes"), fields.number(entry.data, "minute_s")
        scaled = f" ({words.duration(minutes * minute_s)} here)" if minutes and minute_s not in (None, 60) else ""
        when = f"Nobody had answered after {minutes:g} min{scaled}" if minutes else "At once"
        called = words.listed(fields.texts(entry.data, "roles"))
        silent = fields.texts(entry.data, "without_number")
        gap = f"; the playbook has no number of {words.listed(silent)}" if silent else ""
        return f"{when}: to be called were {markdown(called + gap)} {self._cite(cite(entry))}."

    def _role_taken(self, entry: Entry) -> str:
        taken = fields.text(entry.data, "role")
        named = Role(taken).in_words if taken in list(Role) else "a role"
        who = fields.text(entry.data, "who") or ""
        return f"{named.capitalize()}: {self._named(who)} {self._cite(cite(entry))}."

    def _who(self, entry: Entry) -> str:
        return self._named(entry.actor)

    def _named(self, who: str) -> str:
        """A role of the playbook, a program by its name, else a responder."""
        return f"the {who}" if who in self._roles else f"the {role(who)}"
