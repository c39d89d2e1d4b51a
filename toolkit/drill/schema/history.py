"""Sixty days of an invented past: cases, and the events that led to them, in the order in which they happened.

Everything is a stream and depends on the seed and on `now` alone, so a million rows need no more memory than a
thousand, and two runs differ in nothing but the clock. It knows no SQL.
"""

import heapq
import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

COMPANIES = tuple(f"biz_{number:02d}" for number in range(20))
FAILURE_REASONS = {
    "card_declined": 0.35,
    "expired_card": 0.20,
    "insufficient_funds": 0.30,
    "authentication_required": 0.10,
    "fraud_suspected": 0.05,
}
REMINDER_OFFSETS = (timedelta(0), timedelta(days=2), timedelta(days=4))
# An hour short of the age at which the clean-up deletes events, so that a fresh sandbox has nothing to clean up.
SPAN = timedelta(days=60) - timedelta(hours=1)
PRICES_CENTS = (900, 1900, 2900, 4900, 9900)

# Shares of cases: how many are won back if time allows, and how many of the others a person or the clock has ended.
RECOVERING, MEAN_DAYS_TO_RECOVERY = 0.55, 3.0
ENDED_WHEN_OLD, ENDED_WHEN_YOUNG, OLD = 0.80, 0.10, timedelta(days=14)
REMINDER_OVERDUE = 0.02


class PastCase(NamedTuple):
    """One case. Times are aware and UTC, amounts in cents; `ended_at` is set unless `status` is 'open'."""

    number: int
    id: str
    company: str
    status: str
    reason: str
    failed_at: datetime
    attempts: int
    price_cents: int
    ended_at: datetime | None

    @property
    def membership(self) -> str:
        return f"mem_seed_{self.number}"

    @property
    def user(self) -> str:
        return f"user_seed_{self.number}"

    def nudged_at(self, attempt: int) -> datetime:
        """When the reminder of that number, from 0, went out."""
        return self.failed_at + REMINDER_OFFSETS[attempt] + timedelta(seconds=20)


class PastEvent(NamedTuple):
    """One webhook that was accepted. `reason` is set for failed payments only."""

    number: int
    type: str
    membership: str
    user: str
    company: str
    price_cents: int
    reason: str | None
    at: datetime


def past_cases(seed: int, count: int, now: datetime) -> Iterator[PastCase]:
    """`count` cases, the oldest failure first, spread evenly over SPAN before `now`."""
    rng = random.Random(f"{seed}:cases")  # noqa: S311 - invented data, no secrets
    reasons, weights = list(FAILURE_REASONS), list(FAILURE_REASONS.values())
    for number in range(count):
        failed_at = now - SPAN + SPAN * ((number + rng.random()) / count)
        status, ended_at = _fate(rng, failed_at, now)
        attempts = sum(failed_at + offset <= (ended_at or now) for offset in REMINDER_OFFSETS)
        if status == "open" and rng.random() < REMINDER_OVERDUE:
            attempts -= 1
        yield PastCase(
            number=number,
            id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            company=COMPANIES[int(rng.random() * len(COMPANIES))],
            status=status,
            # The first five show every reason, however few cases there are.
            reason=reasons[number] if number < len(reasons) else rng.choices(reasons, weights)[0],
            failed_at=failed_at,
            attempts=attempts,
            price_cents=PRICES_CENTS[int(rng.random() * len(PRICES_CENTS))],
            ended_at=ended_at,
        )


def _fate(rng: random.Random, failed_at: datetime, now: datetime) -> tuple[str, datetime | None]:
    recovered_at = failed_at + timedelta(days=rng.expovariate(1 / MEAN_DAYS_TO_RECOVERY))
    if rng.random() < RECOVERING and recovered_at < now:
        return "recovered", recovered_at
    age = now - failed_at
    if rng.random() < (ENDED_WHEN_OLD if age > OLD else ENDED_WHEN_YOUNG):
        return ("cancelled" if rng.random() < 0.6 else "terminated"), failed_at + age * rng.random()
    return "open", None


def past_events(seed: int, count: int, cases: Iterator[PastCase], now: datetime) -> Iterator[PastEvent]:
    """`count` events: each case's failure, the payments that closed cases, and between them everyday life.

    Fewer events than cases need leave the newest cases without theirs.
    """
    rng = random.Random(f"{seed}:events")  # noqa: S311 - invented data, no secrets
    upcoming = next(cases, None)
    recoveries: list[tuple[datetime, PastCase]] = []
    for number in range(count):
        at = now - SPAN + SPAN * ((number + rng.random()) / count)
        if recoveries and recoveries[0][0] <= at:
            when, case = heapq.heappop(recoveries)
            yield _event_of(case, number, "payment_succeeded", when)
        elif upcoming is not None and upcoming.failed_at <= at:
            yield _event_of(upcoming, number, "payment_failed", upcoming.failed_at)
            if upcoming.status == "recovered" and upcoming.ended_at is not None:
                heapq.heappush(recoveries, (upcoming.ended_at, upcoming))
            upcoming = next(cases, None)
        else:
            yield _everyday_event(rng, number, at)


def _event_of(case: PastCase, number: int, type: str, at: datetime) -> PastEvent:
    reason = case.reason if type == "payment_failed" else None
    return PastEvent(number, type, case.membership, case.user, case.company, case.price_cents, reason, at)


def _everyday_event(rng: random.Random, number: int, at: datetime) -> PastEvent:
    member = int(rng.random() * 50_000)
    draw = rng.random()
    type = "payment_succeeded" if draw < 0.35 else "membership_activated" if draw < 0.8 else "membership_deactivated"
    company, price = COMPANIES[member % len(COMPANIES)], PRICES_CENTS[member % len(PRICES_CENTS)]
    return PastEvent(number, type, f"mem_seed_m{member}", f"user_seed_m{member}", company, price, None, at)
