"""One look, however many checks ask for what was seen: the same answer for all, and the same failure.

Without this, a database that hangs would be waited for by every check that needs it.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from toolkit.checks import Check, Finding

T = TypeVar("T")


class Once(Generic[T]):
    """Calls `look` at the first `seen`; later ones get the same value, or the same error, at once."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look, self._lock = look, threading.Lock()
        self._value: T | None = None
        self._error: Exception | None = None
        self._looked = False

    def seen(self) -> T:
        """What was seen. Raises what the look raised."""
        with self._lock:
            if not self._looked:
                try:
                    self._value = self._look()
                except Exception as error:  # raised again, here and at every later call
                    self._error = error
                self._looked = True
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def behind(gate: Once[T], check: Check) -> Check:
    """The same check, not made where the gate's look failed: then it is unknown, for the gate's reason."""

    def look() -> Finding:
        gate.seen()
        return check.look()

    return replace(check, look=look)
