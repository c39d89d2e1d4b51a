"""Reminds of updates: says when one is due, and marks in the journal that it was, or that it was missed.

The monitor looks as often as it polls; somebody at a terminal may wait for the next thing that happens. Whoever looks
first makes the mark, and nobody makes it twice.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from toolkit.clock import utc_now
from toolkit.communicate.cadence import Cadence, cadence_of, marks_to_make
from toolkit.communicate.drafting import clock_of
from toolkit.incident import Incident
from toolkit.playbook import Playbook

LOOK_EVERY_S = 5.0


@dataclass(frozen=True)
class Standing:
    """How it stands with the promises at a moment (UTC). `marked` are the kinds of entries that were just made."""

    at: datetime
    cadence: Cadence
    marked: tuple[str, ...]


@dataclass(frozen=True)
class Reminder:
    """Of one incident. `now` and `pause` are clocks, for a test to turn."""

    playbook: Playbook
    incident: Incident
    actor: str
    now: Callable[[], datetime] = utc_now
    pause: Callable[[float], None] = time.sleep

    def look(self) -> Standing:
        """Once; what is to be marked is. Raises JournalError."""
        entries, at = self.incident.journal.entries(), self.now()
        clock = clock_of(self.playbook, self.incident, entries)
        cadence = cadence_of(self.playbook, entries, at, clock)
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
