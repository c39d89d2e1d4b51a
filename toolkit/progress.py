"""How far a long piece of work is: shown to a person at once, journaled now and then with an estimate of what is left.

Whoever works calls an `Advance` and knows nothing of who listens: a bar at a terminal, a notebook, the journal.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Advance = Callable[[str, float, float | None], None]  # what is being done, how much of it, of how much (None: unknown)
Tell = Callable[[str, Mapping[str, Any]], None]

JOURNAL_EVERY_S = 5.0
PROGRESS = "step.progress"


def no_advance(_what: str, _done: float, _of: float | None) -> None:
    """Shows nothing."""


@dataclass
class Progressing:
    """Called with what is being done, how much of it is done, and of how much (None: unknown)."""

    show: Advance
    tell: Tell
    _began: dict[str, float] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)

    def __call__(self, what: str, done: float, of: float | None) -> None:
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        self.show(what, done, of)
        if now - self._told.setdefault(what, began) >= JOURNAL_EVERY_S:
            self._told[what] = now
            left = remaining_s(now - began, done, of)
            told = {"what": what, "done": done, "of": of, "running_s": round(now - began, 1), "left_s": left}
            self.tell(PROGRESS, told)


def remaining_s(running_s: float, done: float, of: float | None) -> float | None:
    """Seconds that are left if it goes on as so far; None where that cannot be said."""
    if of is None or done <= 0:
        return None
    return round(max(0.0, running_s * (of - done) / done), 1)
