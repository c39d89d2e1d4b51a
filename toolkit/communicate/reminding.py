"""Reminds of updates: says when one is due, and marks in the journal that it was, or that it was missed.

The monitor looks as often as it polls; somebody at a terminal may wait for the next thing that happens. Whoever looks
first makes the mark, and nobody makes it twice.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from toolkit.clock import utc_now
from toolkit.communicate.cadence import Cadence, Clock, cadence_of, clock_for, marks_to_make
from toolkit.communicate.drafting import is_drill
from toolkit.errors import ToolkitError
from toolkit.incident import Incident
from toolkit.playbook import Playbook

LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class Standing:
    """How it stands with the promises at a moment (UTC). `marked` are the kinds of entries that were just made."""

    at: datetime
    cadence: Cadence
    marked: tuple[str, ...]


def next_due(playbook: Playbook, incident: Incident) -> str:
    """When the next update is due, for a banner; '' where none is, or where that cannot be told."""
    try:
        entries = incident.journal.entries()
        clock = clock_for(playbook, drill=is_drill(playbook, incident, entries))
        coming = cadence_of(playbook, entries, utc_now(), clock)
    except ToolkitError:
        return ""
    missed = f", {coming.missed} missed so far" if coming.missed else ""
    return f"next update due at {coming.next.due:%H:%M:%S} UTC{missed}" if coming.next else ""


@dataclass(frozen=True)
class Reminder:
    """Of one incident. `clock` is the target's, where that is known; `now` and `pause` are for a test to turn."""

    playbook: Playbook
    incident: Incident
    actor: str
    clock: Clock | None = None
    now: Callable[[], datetime] = utc_now
    pause: Callable[[float], None] = time.sleep

    def look(self) -> Standing:
        """Once; what is to be marked is. Raises JournalError."""
        entries, at = self.incident.journal.entries(), self.now()
        drill = self.clock is None and is_drill(self.playbook, self.incident, entries)
        cadence = cadence_of(self.playbook, entries, at, self.clock or clock_for(self.playbook, drill=drill))
        marks = list(marks_to_make(cadence, entries, at))
        for kind, data in marks:
            self.incident.record(kind, data, actor=self.actor)
        return Standing(at, cadence, tuple(kind for kind, _ in marks))

    def wait(self) -> Standing:
        """Until one is due or was missed, an update was made, or all is told."""
        before = self.look()
        while True:
            self.pause(LOOK_EVERY_S)
            now = self.look()
            if now.marked or now.cadence.past != before.cadence.past or now.cadence.next is None:
                return now
