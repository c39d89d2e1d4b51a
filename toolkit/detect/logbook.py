"""Where a monitor writes: one incident's journal that it was given, or that of whatever incident is open.

A monitor that runs for months writes nothing while all is well. It keeps the last while in memory; when it opens an
incident, or finds one that somebody declared, this goes into that incident's journal first, each with `seen_at`. When
that incident is over it lets go of it, and the next one gets a folder of its own.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from toolkit.clock import iso, utc_now
from toolkit.incident import JOURNAL_FILE, Incident, State, incidents_at_hand, new_folder, state_in
from toolkit.journal import Entry, Tail
from toolkit.playbook import Severity

KEPT_BEFORE = 80

Data = Mapping[str, object]


class Logbook:
    """`incident` is the one that is written to; None while there is none."""

    def __init__(self, incident: Incident | None, folder: Path | None, service: str) -> None:
        self._folder, self._service = folder, service
        self._before: deque[tuple[str, Data]] = deque(maxlen=KEPT_BEFORE)
        self._start: Data = {}
        self._journals: dict[Path, int] = {}
        self._take(incident)

    @classmethod
    def of(cls, incident: Incident) -> Self:
        """This incident's, from the start to the end."""
        return cls(incident, None, "")

    @classmethod
    def following(cls, folder: Path, service: str) -> Self:
        """That of whichever incident of the service is open in this folder; none to begin with."""
        return cls(None, folder, service)

    def begin(self, told: Data, *, actor: str) -> None:
        """Say that somebody watches. Raises JournalError."""
        self._start = told
        if self.incident is not None:
            self.incident.record("monitor.started", told, actor=actor)

    def write(self, kind: str, data: Data, *, actor: str) -> None:
        """Journal it, or keep it until there is a journal. Raises JournalError."""
        if self.incident is None:
            self._before.append((kind, {**data, "seen_at": iso(utc_now())}))
        else:
            self.incident.record(kind, data, actor=actor)

    def open(self, severity: Severity, reasons: Sequence[str], *, actor: str) -> None:
        """Open the incident, in a folder of its own where none is there yet. Raises JournalError."""
        if self.incident is None:
            assert self._folder is not None
            folder = new_folder(self._folder, self._service, utc_now())
            folder.mkdir(parents=True, exist_ok=True)
            self._join(Incident(folder), actor)
        assert self.incident is not None
        if self.state is None:
            self.incident.open(severity, reasons, actor=actor)

    def look(self, *, actor: str) -> bool:
        """Join an incident that somebody opened meanwhile; whether it did. Only without one. Raises JournalError."""
        if self.incident is not None or self._folder is None or not self._changed(self._folder):
            return False
        found = [each for each in incidents_at_hand(self._folder, utc_now()) if each.state is not State.RESOLVED]
        if not found:
            return False
        self._join(found[-1], actor)
        return True

    def _changed(self, folder: Path) -> bool:
        """Whether any journal there was written to since the last time: reading all of them is not for every poll."""
        now = {path: path.stat().st_mtime_ns for path in folder.glob(f"*/{JOURNAL_FILE}")}
        before, self._journals = self._journals, now
        return now != before

    def let_go(self) -> bool:
        """After the resolution, where the next incident gets another folder; whether it did."""
        if self._folder is None or self.incident is None:
            return False
        self._take(None)
        return True

    def entries(self) -> list[Entry]:
        """Of the incident; [] without one. Raises JournalError."""
        return self._tail.entries() if self._tail else []

    @property
    def state(self) -> State | None:
        return state_in(self.entries())

    def _take(self, incident: Incident | None) -> None:
        self.incident = incident
        self._tail = Tail(incident.journal) if incident else None

    def _join(self, incident: Incident, actor: str) -> None:
        self._take(incident)
        incident.record("monitor.started", self._start, actor=actor)
        while self._before:
            incident.record(*self._before[0], actor=actor)
            self._before.popleft()
