"""Time, in one place: UTC and aware for people, monotonic for durations, deadlines instead of sleeps.

Nothing else in the toolkit asks the system for the wall clock.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from toolkit.errors import DeadlineExceeded

T = TypeVar("T")


def utc_now() -> datetime:
    """The wall clock, aware, UTC, microseconds."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """`2026-11-24T03:00:00.123456Z`: always UTC, always microseconds, so that text sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_utc(text: str) -> datetime:
    """The inverse of `iso`; also takes any ISO 8601 text with an offset. ValueError without one."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def wait_until(condition: Callable[[], T], *, within: float, what: str, every: float = 0.05) -> T:
    """The first truthy value of `condition`, asked every `every` seconds for at most `within` seconds.

    Raises DeadlineExceeded, which names `what` was waited for.
    """
    deadline = time.monotonic() + within
    while True:
        if value := condition():
            return value
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(f"Waited {within:g} s for {what}, in vain")
        time.sleep(every)
