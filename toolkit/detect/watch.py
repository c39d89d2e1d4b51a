"""One question, asked again and again in a thread of its own, so that no answer that does not come holds up the rest.

Whoever polls takes the newest answer, once. A question that is still open long after it was asked is told as overdue:
clients have deadlines of their own, and this is for what those do not bound.
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from toolkit.errors import ToolkitError
from toolkit.redaction import redact

T = TypeVar("T")

OVERDUE_S = 12.0


class Watch(Generic[T]):
    """Asks every `every_s` seconds, on a schedule that a slow answer delays but does not pile up.

    `close` is called by the thread when it has asked for the last time.
    """

    def __init__(
        self, name: str, ask: Callable[[], T], every_s: float, close: Callable[[], None] = lambda: None
    ) -> None:
        self.name, self._ask, self._every_s, self._close = name, ask, every_s, close
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._answer: T | None = None
        self._asked_s: float | None = None
        self._complained = False
        self._thread = threading.Thread(target=self._run, name=f"watch {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Ask no more. An open question ends by its own deadline, or with the process."""
        self._ended.set()

    def join(self, within_s: float) -> None:
        """Wait until the thread has ended, for `within_s` seconds at most."""
        self._thread.join(within_s)

    def take(self) -> T | None:
        """The newest answer; None when there is none since the last call."""
        with self._lock:
            answer, self._answer = self._answer, None
            return answer

    @property
    def overdue(self) -> bool:
        """Whether the open question was asked OVERDUE_S seconds ago or earlier."""
        asked = self._asked_s
        return asked is not None and time.monotonic() - asked >= OVERDUE_S

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            self._asked_s = time.monotonic()
            try:
                answer = self._ask()
                with self._lock:
                    self._answer = answer
            except Exception as error:  # a watch outlives whatever it meets
                self._complain(error)
            finally:
                self._asked_s = None
            due = max(due + self._every_s, time.monotonic())
            self._ended.wait(due - time.monotonic())
        self._close()

    def _complain(self, error: Exception) -> None:
        """Once: what is expected to go wrong is an answer, and this was not expected."""
        if not self._complained:
            self._complained = True
            told = str(error) if isinstance(error, ToolkitError) else type(error).__name__
            sys.stderr.write(redact(f"{self.name} could not be asked: {told}\n"))
            sys.stderr.flush()
