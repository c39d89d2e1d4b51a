"""At-least-once delivery as a data structure: what may be sent now, what waits behind what, what is tried again when.

Pure: it sends nothing and asks no clock. Times are seconds on any one monotonic clock.
"""

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass

from toolkit.adapters.webhook import WebhookEvent

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 4.0
SHARE_OF_DUPLICATES = 0.02
DUPLICATE_WITHIN_S = 3.0
CAPACITY = 10_000


@dataclass
class Delivery:
    """An event on its way. `attempts` counts those that were begun."""

    event: WebhookEvent
    attempts: int = 0
    acknowledged: bool = False

    @property
    def retried(self) -> bool:
        return self.attempts > 0 and not self.acknowledged


class RetryBudget:
    """How many retries may be sent now, so that an outage of an hour does not become a storm.

    A steady rate, and two more for each retry that is acknowledged: once the service is well again the backlog is
    worked off as fast as it bears.
    """

    LARGEST = 128.0

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._steady = self._tokens = max(1.0, per_second)
        self._filled_at: float | None = None

    def take(self, now: float) -> bool:
        """Use one. False when there is none."""
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def earn(self) -> None:
        """A retry was acknowledged."""
        self._tokens = min(self.LARGEST, self._tokens + 2)

    def wait_s(self, now: float) -> float:
        """Seconds until there is one."""
        self._fill(now)
        return max(0.0, (1 - self._tokens) / self._per_second)

    def _fill(self, now: float) -> None:
        if self._filled_at is not None and self._tokens < self._steady:
            grown = self._tokens + (now - self._filled_at) * self._per_second
            self._tokens = min(self._steady, grown)
        self._filled_at = now


class Outbox:
    """Every event that is not yet acknowledged, and those acknowledged ones that will be sent once more by mistake.

    The events of one membership go one after the other, each only when the one before is acknowledged.
    """

    def __init__(self, rng: random.Random, retries_per_s: float, capacity: int = CAPACITY) -> None:
        self._rng, self._capacity = rng, capacity
        self._budget = RetryBudget(retries_per_s)
        self._fresh: deque[Delivery] = deque()
        self._later: list[tuple[float, int, Delivery]] = []
        self._behind: dict[str, deque[WebhookEvent]] = {}
        self._order = itertools.count()
        self.unacknowledged = 0

    @property
    def full(self) -> bool:
        """No more may be added: the backlog would outgrow the memory."""
        return self.unacknowledged >= self._capacity

    def add(self, event: WebhookEvent) -> None:
        """A new event. It waits while an earlier one of its membership is on its way."""
        self.unacknowledged += 1
        if event.membership_id in self._behind:
            self._behind[event.membership_id].append(event)
        else:
            self._behind[event.membership_id] = deque()
            self._fresh.append(Delivery(event))

    def take(self, now: float) -> Delivery | None:
        """What to send now, counted as one attempt more, or None. Settle it when its outcome is known."""
        if self._fresh:
            delivery = self._fresh.popleft()
        elif self._later and self._later[0][0] <= now:
            if self._later[0][2].retried and not self._budget.take(now):
                return None
            delivery = heapq.heappop(self._later)[2]
        else:
            return None
        delivery.attempts += 1
        return delivery

    def wait_s(self, now: float) -> float | None:
        """Seconds until something may be taken; None when only an addition or an outcome changes that."""
        if self._fresh:
            return 0.0
        if not self._later:
            return None
        due, _, delivery = self._later[0]
        return max(due - now, self._budget.wait_s(now) if delivery.retried else 0.0, 0.0)

    def settle(self, delivery: Delivery, acknowledged: bool, now: float) -> None:
        """The outcome of what was taken: done with, or to be tried again."""
        if delivery.acknowledged:
            return
        if not acknowledged:
            self._put_off(delivery, now + self._backoff_s(delivery.attempts))
            return
        if delivery.attempts > 1:
            self._budget.earn()
        delivery.acknowledged = True
        self.unacknowledged -= 1
        self._release(delivery.event.membership_id)
        if self._rng.random() < SHARE_OF_DUPLICATES:
            self._put_off(delivery, now + self._rng.uniform(0, DUPLICATE_WITHIN_S))

    def _release(self, membership: str) -> None:
        behind = self._behind[membership]
        if behind:
            self._fresh.append(Delivery(behind.popleft()))
        else:
            del self._behind[membership]

    def _put_off(self, delivery: Delivery, until: float) -> None:
        heapq.heappush(self._later, (until, next(self._order), delivery))

    def _backoff_s(self, attempts: int) -> float:
        """Doubling and capped, of which at least half is waited: those that failed together do not return together."""
        longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempts - 1, 10))
        return self._rng.uniform(longest / 2, longest)
