"""A monitor that polls when the test does, against a target of sockets and a real database."""

import time
from collections.abc import Callable
from pathlib import Path

from stub_target import StubTarget

from toolkit.clock import wait_until
from toolkit.detect.logbook import Logbook
from toolkit.detect.monitor import Monitor
from toolkit.drill.database import ServiceDatabase
from toolkit.incident import Incident
from toolkit.playbook import load_playbook

PLAYBOOK = load_playbook(Path(__file__).parents[3] / "playbook.toml")
FAST = {"poll_every_s": 0.05, "window_s": 3, "min_requests": 20, "polls_to_raise": 2, "polls_to_clear": 3}
FAST |= {"fast_enough_ms": 200}


class Watched:
    """A monitor that polls when the test does, on an incident of its own."""

    def __init__(
        self,
        stub: StubTarget,
        database: ServiceDatabase,
        folder: Path,
        log: Logbook | None = None,
        **monitoring: float,
    ) -> None:
        self.stub = stub
        self.incident = Incident(folder)
        self.systems = stub.systems(PLAYBOOK, database, **(FAST | monitoring))
        self.monitor = Monitor(log or Logbook.of(self.incident), self.systems)
        self.longest_poll_s = 0.0
        self.monitor.start()
        self.until(lambda: stub.followed and self.monitor.observer.database_word == "ok", "everything to be seen")

    def poll(self) -> None:
        began = time.monotonic()
        self.monitor.poll()
        self.longest_poll_s = max(self.longest_poll_s, time.monotonic() - began)

    def until(self, condition: Callable[[], object], what: str, within: float = 20) -> None:
        """Poll until it is so."""

        def polled() -> bool:
            self.poll()
            return bool(condition())

        wait_until(polled, within=within, what=what, every=0.05)

    def for_polls(self, count: int) -> None:
        """So many polls, each with something new to see."""
        for _ in range(count):
            asked = self.stub.asked.count("/api/health")
            self.until(lambda seen=asked: self.stub.asked.count("/api/health") > seen, "another look")

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.incident.journal.entries()]

    def raised(self) -> list[str]:
        return [e.data["signal"] for e in self.incident.journal.entries() if e.kind == "signal.raised"]

    def reasons(self) -> str:
        entry = self.incident.latest("incident.severity") or self.incident.latest("incident.opened")
        return " | ".join(entry.data["reasons"]) if entry else ""

    def end(self) -> None:
        self.monitor.end()
        self.monitor.observer.join(5)
        self.systems.platform.close()
        self.systems.service.close()
