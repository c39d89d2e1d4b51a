"""A ledger that a test fills by hand, one line for one request, on a clock that it sets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from toolkit.adapters.webhook import EventType, WebhookEvent
from toolkit.drill.ledger import Ledger, Outcome

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
OK, ERROR, REFUSED = Outcome(200, 8.0, deployment="dpl_8"), Outcome(500, 9.0), Outcome(None, 1.0, "ConnectError")


class Clock:
    """A clock that a test sets, in seconds after NOON."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def set(self, seconds: float) -> None:
        self.now = NOON + timedelta(seconds=seconds)


class Book:
    """A ledger with a clock, and one line for one request."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, Clock()
        self.ledger = Ledger(path, self.clock)

    def webhook(self, name: str, outcome: Outcome | None, at: float, until: float | None = None, n: int = 1) -> None:
        self.clock.set(at)
        request = self.ledger.begin_attempt(event(name), n)
        self._finish(request, outcome, until)

    def read(self, outcome: Outcome | None, at: float, until: float | None = None) -> None:
        self.clock.set(at)
        self._finish(self.ledger.begin_request("read", "GET", "/dashboard"), outcome, until)

    def _finish(self, request: int, outcome: Outcome | None, until: float | None) -> None:
        if until is not None:
            self.clock.set(until)
        if outcome is not None:
            self.ledger.finish(request, outcome)


def event(name: str, kind: EventType = "payment_failed", membership: str = "mem_d_1") -> WebhookEvent:
    return WebhookEvent(name, kind, f"pay_{name}", membership, "user_1", "biz_01", 900, NOON)
