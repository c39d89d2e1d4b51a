"""An incident: a folder that holds its journal and all evidence, a state, a severity, a clock.

    open ──► acknowledged ──► mitigated ──► resolved

Everything about an incident is derived from its journal; nothing is kept beside it, so that two programs (the monitor,
a notebook, a terminal) always agree. This module owns the kinds of entries that change the state. It never acts on a
target.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from toolkit.checks import CheckResult, overall, tally
from toolkit.errors import JournalError, UsageError
from toolkit.journal import Entry, Journal
from toolkit.playbook import Severity

JOURNAL_FILE = "journal.jsonl"
AFTERWARDS = timedelta(days=1)  # for which a resolved incident is still at hand
FACILITATOR_FILE = "facilitator.jsonl"  # beside it in a drill: what broke and when, sealed from the assessment


class State(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"


OPENED = "incident.opened"
SEVERITY_CHANGED = "incident.severity"
_STATE_KINDS = {OPENED: State.OPEN} | {f"incident.{state}": state for state in list(State)[1:]}


class Incident:
    """One incident's folder. The journal may begin before the incident opens: a monitor watches, then opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self.journal = Journal(folder / JOURNAL_FILE, self.id)

    @classmethod
    def at(cls, folder: Path | str) -> Self:
        """An incident that exists. UsageError when the folder holds no journal."""
        incident = cls(Path(folder))
        if not incident.journal.path.exists():
            raise UsageError(
                f"{folder} is no incident: it has no {JOURNAL_FILE}", next="name the folder that `toolkit` printed"
            )
        return incident

    def record(self, kind: str, data: Mapping[str, Any], *, actor: str) -> Entry:
        """Journal something. Raises JournalError."""
        return self.journal.append(kind, data, actor=actor)

    def open(self, severity: Severity, reasons: Sequence[str], *, actor: str) -> Entry:
        """Declare it. UsageError when it is open already."""
        if self.state is not None:
            raise UsageError(f"Incident {self.id} is {self.state} already", state="nothing was changed")
        return self.record(OPENED, {"severity": severity, "reasons": list(reasons)}, actor=actor)

    def change_severity(self, severity: Severity, reasons: Sequence[str], *, actor: str) -> bool:
        """Journal a changed severity; False, and no entry, when it is what it was."""
        before = self.severity
        if severity == before:
            return False
        changed = {"from": before, "to": severity, "reasons": list(reasons)}
        self.record(SEVERITY_CHANGED, changed, actor=actor)
        return True

    def advance(self, state: State, why: str, *, actor: str) -> bool:
        """Move on to a later state; False, and no entry, when it is there or further already (a repeated notebook).

        UsageError when the incident was never opened.
        """
        now = self.state
        if now is None:
            raise UsageError(f"Incident {self.id} was never opened", next="declare it, or let the monitor open it")
        order = list(State)
        if order.index(state) <= order.index(now):
            return False
        self.record(f"incident.{state}", {"from": now, "why": why}, actor=actor)
        return True

    def record_checks(self, kind: str, results: Sequence[CheckResult], *, actor: str) -> Entry:
        """Journal a set of checks whole, with their overall outcome: {'outcome', 'tally', 'checks': [...]}."""
        checks = [asdict(result) for result in results]
        outcome = {"outcome": overall(results), "tally": tally(results), "checks": checks}
        return self.record(kind, outcome, actor=actor)

    @property
    def state(self) -> State | None:
        """The furthest state that was journaled; None before the incident is opened."""
        return state_in(self.journal.entries())

    @property
    def severity(self) -> Severity | None:
        """The severity as it stands; None before the incident is opened."""
        return severity_in(self.journal.entries())

    @property
    def reasons(self) -> list[str]:
        """Why it has the severity that it has; [] before it is opened."""
        kinds = (OPENED, SEVERITY_CHANGED)
        return next((list(e.data["reasons"]) for e in reversed(self.journal.entries()) if e.kind in kinds), [])

    @property
    def worst_severity(self) -> Severity | None:
        """The worst that it ever was."""
        return worst_severity_in(self.journal.entries())

    def moment(self, state: State) -> datetime | None:
        """When the state was first reached, UTC; None when it was not."""
        return next((e.at for e in self.journal.entries() if _STATE_KINDS.get(e.kind) is state), None)

    def latest(self, kind: str) -> Entry | None:
        """The newest entry of that kind."""
        return next((e for e in reversed(self.journal.entries()) if e.kind == kind), None)


def new_folder(parent: Path, service: str, now: datetime) -> Path:
    """The folder of a new incident of a service, absolute, because a notebook runs in a folder of its own. Not made.

    Two that are declared within a second are told apart by a number.
    """
    name = f"{now:%Y%m%dT%H%M%SZ}-{service}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(folder for each in names if not (folder := (parent / each).resolve()).exists())


def incidents_at_hand(folder: Path, now: datetime) -> list[Incident]:
    """Those in the folders of this folder that are open, the newest last; where none is, those resolved within a day.

    What cannot be read is left out.
    """
    found = [Incident(path.parent) for path in sorted(folder.glob(f"*/{JOURNAL_FILE}"))]
    states = {each: _state_if_readable(each) for each in found}
    still_open = [each for each, state in states.items() if state not in (None, State.RESOLVED)]
    over = [each for each, state in states.items() if state is State.RESOLVED]
    return still_open or [each for each in over if (at := each.moment(State.RESOLVED)) and now - at < AFTERWARDS]


def _state_if_readable(incident: Incident) -> State | None:
    try:
        return incident.state
    except JournalError:
        return None


def state_in(entries: Sequence[Entry]) -> State | None:
    """The furthest state that these entries tell; None before an incident is opened."""
    return next((_STATE_KINDS[entry.kind] for entry in reversed(entries) if entry.kind in _STATE_KINDS), None)


def severity_in(entries: Iterable[Entry]) -> Severity | None:
    """The severity as it stands after these entries."""
    found = [severity for entry in entries if (severity := _severity_said(entry)) is not None]
    return found[-1] if found else None


def worst_severity_in(entries: Iterable[Entry]) -> Severity | None:
    """The worst that these entries tell."""
    found = [severity for entry in entries if (severity := _severity_said(entry)) is not None]
    return min(found, key=lambda severity: severity.value, default=None)


def _severity_said(entry: Entry) -> Severity | None:
    said = {OPENED: "severity", SEVERITY_CHANGED: "to"}.get(entry.kind)
    return Severity(entry.data[said]) if said else None
