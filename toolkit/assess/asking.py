"""Questions asked side by side, and taken together at one deadline: what has not answered by then is unknown.

Each question has bounds of its own, on both sides of its line. The deadline here holds whatever becomes of those: a
stopped server, a firewall that drops, a name that does not resolve keep one thread waiting and nobody else.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, Never, TypeVar

from toolkit.errors import DatabaseError, ToolkitError

WITHIN_S = 5.0
NO_SUCH_THING = ("42703", "42P01", "3F000")  # undefined column, undefined table, invalid schema name

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Seen(Generic[T_co]):
    """What one side told, or the trouble that kept it from telling. Both None: it told that there is nothing.

    `sqlstate` is PostgreSQL's code for the trouble, where it has one.
    """

    value: T_co | None
    trouble: str | None = None
    sqlstate: str | None = None

    @property
    def absent(self) -> bool:
        """Whether the server says that there is no such column, table or schema."""
        return self.sqlstate in NO_SUCH_THING


class Deadline:
    """A moment on the monotonic clock, `within_s` seconds from now."""

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._ends = time.monotonic() + within_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, 0 when none is."""
        return max(0.0, self._ends - time.monotonic())

    @property
    def missed(self) -> Seen[Never]:
        """What is said of whoever did not answer in time."""
        return Seen(None, f"no answer within {self.within_s:g} s")


class Asked(Generic[T]):
    """One question in a thread of its own, which ends by itself and holds nobody up."""

    def __init__(self, ask: Callable[[], T | None]) -> None:
        self._ask = ask
        self._answer: Seen[T] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def taken(self, deadline: Deadline) -> Seen[T]:
        """The answer, when there is one until then."""
        self._thread.join(deadline.left_s)
        return self._answer or deadline.missed

    def _run(self) -> None:
        self._answer = told(self._ask)


def told(ask: Callable[[], T | None]) -> Seen[T]:
    """The answer to a question, or why there is none. Never raises: what goes wrong is told."""
    try:
        return Seen(ask())
    except ToolkitError as error:
        return trouble(error)
    except Exception as error:  # of a thread whose error nobody would see
        return Seen(None, f"{type(error).__name__}: {error}")


def trouble(error: ToolkitError) -> Seen[Never]:
    return Seen(None, error.what, error.sqlstate if isinstance(error, DatabaseError) else None)


def ask_all(asks: Mapping[K, Callable[[], T | None]], deadline: Deadline) -> dict[K, Seen[T]]:
    """Each answer that came until the deadline, in the order given."""
    asked = {name: Asked(ask) for name, ask in asks.items()}
    return {name: each.taken(deadline) for name, each in asked.items()}
