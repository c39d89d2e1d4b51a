"""The monitor: a process that watches one target, journals what it sees, and opens the incident by itself.

    python -m toolkit.detect.monitor --folder DIR --target NAME [--playbook PATH] [--actor monitor]

It polls on a monotonic schedule and never waits for what it watches. It survives a target of which nothing answers, and
a journal that cannot be written for a while: what was not journaled is tried again. It must never know of drills.
"""

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from toolkit.adapters.systems import Systems, connect
from toolkit.clock import utc_now
from toolkit.communicate.cadence import Clock
from toolkit.communicate.drafting import draft_message
from toolkit.communicate.outbox import drafts
from toolkit.communicate.reminding import Reminder
from toolkit.detect.hysteresis import Change, Hysteresis
from toolkit.detect.logbook import Logbook
from toolkit.detect.observe import Observer
from toolkit.detect.outcomes import outcomes_in
from toolkit.detect.seen import Limits, Observation, Outcomes, Reading, Signal
from toolkit.detect.severity import Classification, Gauge, classify
from toolkit.detect.signals import read_signals
from toolkit.errors import JournalError, ToolkitError
from toolkit.incident import OPENED, SEVERITY_CHANGED, Incident, State, severity_in, state_in
from toolkit.lifeline import tie
from toolkit.on_call import mark_due, to_call
from toolkit.playbook import load_playbook

OBSERVED_EVERY_S = 2.0


class Monitor:
    """Polls, journals, opens, follows. `now` is a monotonic clock."""

    def __init__(
        self, log: Logbook, systems: Systems, actor: str = "monitor", *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.log, self.systems, self.actor, self._now = log, systems, actor, now
        self.observer = Observer(systems)
        monitoring = systems.target.monitoring
        self._limits = Limits.of(systems.playbook, systems.target)
        self.hysteresis = Hysteresis(monitoring.polls_to_raise, monitoring.polls_to_clear)
        self._gauge = Gauge(monitoring.polls_to_clear)
        self.readings: Mapping[Signal, Reading] = {}
        self._observed_s: float | None = None
        self._recovered = True
        self._unwritten: list[tuple[str, dict[str, object]]] = []
        self._clock = Clock(monitoring.minute_s, drafts_count=systems.target.sandbox)

    def start(self) -> None:
        """Journal the start and begin to watch. Raises JournalError: a monitor that cannot journal is none."""
        monitoring = self.systems.target.monitoring
        told = {
            "target": self.systems.target.name,
            "window_s": monitoring.window_s,
            "poll_every_s": monitoring.poll_every_s,
            "minute_s": monitoring.minute_s,
        }
        self.log.begin(told, actor=self.actor)
        self.observer.start()

    def end(self) -> None:
        """Stop watching, and journal it where that is possible."""
        self.observer.end()
        self._write("monitor.ended", {"raised": sorted(self.hysteresis.raised)})

    def poll(self) -> list[Change]:
        """Look once, and do what follows from it; what was raised and cleared. What could not be journaled before comes
        first."""
        self._flush()
        seen = replace(self.observer.poll(), outcomes=self._outcomes())
        self.readings = read_signals(seen, self._limits)
        changes = self.hysteresis.update(self.readings)
        self._let_go_of_what_is_over(lambda: any(change.raised for change in changes))
        every_s = max(OBSERVED_EVERY_S, self.systems.target.monitoring.poll_every_s)
        if changes or self._observed_s is None or self._now() - self._observed_s >= every_s:
            self._observed_s = self._now()
            self._write("monitor.observed", self._observed(seen))
        for change in changes:
            self._write("signal.raised" if change.raised else "signal.cleared", _told(change))
        if self._unwritten:
            return changes
        try:
            if self.log.look(actor=self.actor):  # one that somebody declared
                self._gauge.now = severity_in(self.log.entries())
            self._follow(classify(self.hysteresis.raised, self.systems.playbook.severity))
            self._let_go_of_what_is_over(lambda: not self.hysteresis.raised)
            self._mark_due()
        except JournalError as error:
            _complain(error)
        return changes

    def _outcomes(self) -> Outcomes:
        try:
            return outcomes_in(self.log.entries())
        except JournalError:
            return Outcomes()

    def _let_go_of_what_is_over(self, when: Callable[[], bool]) -> None:
        """After the resolution, once all is well; what goes wrong anew is another incident."""
        with contextlib.suppress(JournalError):
            if self.log.state is State.RESOLVED and when() and self.log.let_go():
                self._gauge = Gauge(self.systems.target.monitoring.polls_to_clear)

    def _follow(self, found: Classification | None) -> None:
        """Open the incident, follow its severity, tell when all is clear.

        Raises JournalError; the next poll tries again. What comes after the resolution is another incident's.
        """
        if found is None:
            if not self._recovered:
                self._recovered = True
                self._write("monitor.recovered", {"signals": []})
            return
        self._recovered = False
        before = self._gauge.now
        changed = self._gauge.update(found)
        try:
            if self.log.state is None:
                self.log.open(found.severity, found.reasons, actor=self.actor)
            elif changed is not None and self._may_change(changed) and self.log.incident is not None:
                self.log.incident.change_severity(changed.severity, changed.reasons, actor=self.actor)
        except JournalError:
            self._gauge.now = before
            raise

    def _may_change(self, found: Classification) -> bool:
        """Not after the resolution; and what somebody else said is raised, but never lowered."""
        entries = self.log.entries()
        if state_in(entries) is State.RESOLVED:
            return False
        said = next(entry for entry in reversed(entries) if entry.kind in (OPENED, SEVERITY_CHANGED))
        known = severity_in(entries)
        return said.actor == self.actor or known is None or found.severity.worse_than(known)

    def _mark_due(self) -> None:
        """Journal that somebody should have answered, who is to be called now, which update is due. JournalError."""
        incident, book = self.log.incident, self.systems.playbook
        if incident is not None and self.log.state is not None:
            if mark_due(book, incident, self.log.entries(), utc_now(), actor=self.actor):
                self._draft_for_who_is_called(incident)
            Reminder(book, incident, self.actor, self._clock).look()

    def _draft_for_who_is_called(self, incident: Incident) -> None:
        """When the first who were called have not answered, the declaration is there to be sent by whoever comes next.

        It is never sent from here. Raises JournalError.
        """
        book, entries = self.systems.playbook, self.log.entries()
        if len(to_call(book, entries, utc_now())) > 1 and not drafts(entries):
            draft_message(book, incident, actor=self.actor)

    def _observed(self, seen: Observation) -> dict[str, object]:
        traffic, database = seen.traffic, seen.database
        rate = traffic.error_rate if traffic else None
        age = database.flow.newest_age_s if database and database.flow else None
        return {
            "window_s": round(traffic.window_s, 1) if traffic else self.systems.target.monitoring.window_s,
            "requests": traffic.requests if traffic else None,
            "failed": traffic.failed if traffic else None,
            "error_rate": None if rate is None else round(rate, 4),
            "p95_ms": traffic.p95_ms if traffic else None,
            "normal_p95_ms": seen.normal_p95_ms,
            "health": dict(seen.health.words),
            "pages": dict(seen.pages.words),
            "database": self.observer.database_word,
            "platform": self.observer.platform_word,
            "probes": seen.probed.steady_state() if seen.probed else None,
            "deployment": self.observer.log.deployment,
            "migration": vars(seen.migration) if seen.migration else None,
            "newest_event_age_s": None if age is None else round(age, 1),
            "raised": sorted(self.hysteresis.raised),
            "errors": traffic.errors_as_json() if traffic else [],
        }

    def _write(self, kind: str, data: dict[str, object]) -> None:
        """Journal it, after whatever could not be journaled before."""
        self._unwritten.append((kind, data))
        self._flush()

    def _flush(self) -> None:
        """Write what is unwritten, in order. What cannot be written now is kept; but not observations, of which there
        will be newer ones."""
        try:
            while self._unwritten:
                self.log.write(*self._unwritten[0], actor=self.actor)
                del self._unwritten[0]
        except JournalError as error:
            self._unwritten = [each for each in self._unwritten if each[0] != "monitor.observed"]
            _complain(error)


def _told(change: Change) -> dict[str, object]:
    reading = change.reading
    return {
        "signal": change.signal,
        "value": reading.value,
        "threshold": reading.threshold,
        "evidence": reading.evidence,
    }


def _complain(error: Exception) -> None:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()


class Ending:
    """SIGTERM and SIGINT as something that one can wait for. A handler that takes a lock could wait for itself."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)

    def wait(self, seconds: float) -> bool:
        """Whether the end was asked for, within `seconds`."""
        readable, _, _ = select.select([self._reading], [], [], max(0.0, seconds))
        return bool(readable)

    def _told(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._writing, b".")


def watch(monitor: Monitor, ending: Ending, told: Callable[[Sequence[Change]], None] = lambda _changes: None) -> None:
    """Poll until the end is asked for, and tell each time what changed. A poll that comes late is not made up for."""
    every_s = monitor.systems.target.monitoring.poll_every_s
    monitor.start()
    due = time.monotonic()
    while not ending.wait(due - time.monotonic()):
        told(monitor.poll())
        due = max(due + every_s, time.monotonic())
    monitor.end()


def main() -> None:
    """Exit code 0 when told to end, 1 or 2 with one paragraph when it cannot begin."""
    tie()
    parser = argparse.ArgumentParser(prog="python -m toolkit.detect.monitor", description="Watch one target.")
    parser.add_argument("--folder", required=True, type=Path, help="the incident's folder, made where it is missing")
    parser.add_argument("--target", required=True, help="a target of the playbook")
    parser.add_argument("--playbook", type=Path, help="a playbook.toml; without it, the one of this project")
    parser.add_argument("--actor", default="monitor", help="the name under which it journals")
    given = parser.parse_args()
    ending = Ending()
    try:
        book = load_playbook(given.playbook)
        systems = connect(book, book.target(given.target))
        given.folder.mkdir(parents=True, exist_ok=True)
        watch(Monitor(Logbook.of(Incident(given.folder)), systems, given.actor), ending)
    except ToolkitError as error:
        _complain(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
