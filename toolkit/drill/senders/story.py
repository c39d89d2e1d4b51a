"""What happens to members: an endless stream of events, decided by a seed and by nothing that the service does.

Each membership lives one of two short lives. Either its payment fails, perhaps more than once, and at last succeeds,
and then no more is heard of it; or it begins and perhaps ends. So whatever the order of answers was, it stays known
what the service must have made of an acknowledged event: a membership whose success followed all its failures has no
open case.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from toolkit.adapters.webhook import EventType, WebhookEvent

TYPES: Sequence[EventType] = get_args(EventType)
TYPE_WEIGHTS = (45, 30, 15, 10)
REASONS = ("card_declined", "expired_card", "insufficient_funds", "authentication_required", "fraud_suspected")
REASON_WEIGHTS = (35, 20, 30, 10, 5)
PRICES_CENTS = (900, 1900, 2900, 4900, 9900)
SHARE_OF_REPEATED_FAILURES = 0.12
EVENTS_BEFORE_SUCCESS = 20  # a payment takes a while to succeed: one second at the default rate
MEMBERS_PER_RUN = 10_000_000


@dataclass(frozen=True)
class Member:
    """One membership. `failed_at` is the number of the event that was its latest failure, or None."""

    number: int
    company_id: str
    price_cents: int
    failed_at: int | None = None


class Story:
    """The events of one run of the senders. The same seed and run tell the same story, word for word."""

    def __init__(self, seed: int, run: int, companies: int) -> None:
        self._rng = random.Random(f"{seed}/{run}/story")  # noqa: S311 - a story, no secret
        self._run = run
        self._companies = [f"biz_{number:02}" for number in range(companies)]
        self._members = run * MEMBERS_PER_RUN
        self._events = 0
        self._owing: list[Member] = []
        self._quiet: list[Member] = []

    def next(self, at: datetime) -> WebhookEvent:
        """The next event, created at `at` (UTC)."""
        (kind,) = self._rng.choices(TYPES, TYPE_WEIGHTS)
        match kind:
            case "payment_succeeded" if (payer := self._one_who_owes_long_enough()) is not None:
                return self._event(kind, payer, at)
            case "membership_deactivated" if self._quiet:
                return self._event(kind, self._take(self._quiet), at)
            case "membership_activated" | "membership_deactivated":
                self._quiet.append(self._new_member())
                return self._event("membership_activated", self._quiet[-1], at)
        return self._failure(at)

    def _failure(self, at: datetime) -> WebhookEvent:
        repeated = self._rng.random() < SHARE_OF_REPEATED_FAILURES
        member = self._take(self._owing) if repeated and self._owing else self._new_member()
        self._owing.append(Member(member.number, member.company_id, member.price_cents, failed_at=self._events))
        (reason,) = self._rng.choices(REASONS, REASON_WEIGHTS)
        return self._event("payment_failed", member, at, reason)

    def _one_who_owes_long_enough(self) -> Member | None:
        """A membership out of those whose latest failure is old enough, or None. Three draws have to find one."""
        for _ in range(min(3, len(self._owing))):
            place = self._rng.randrange(len(self._owing))
            failed_at = self._owing[place].failed_at
            if failed_at is not None and self._events - failed_at >= EVENTS_BEFORE_SUCCESS:
                return self._take(self._owing, place)
        return None

    def _take(self, members: list[Member], place: int | None = None) -> Member:
        at = self._rng.randrange(len(members)) if place is None else place
        members[at], members[-1] = members[-1], members[at]
        return members.pop()

    def _new_member(self) -> Member:
        self._members += 1
        return Member(self._members, self._rng.choice(self._companies), self._rng.choice(PRICES_CENTS))

    def _event(self, kind: EventType, member: Member, at: datetime, reason: str | None = None) -> WebhookEvent:
        number = self._events
        self._events += 1
        return WebhookEvent(
            id=f"evt_d{self._run}_{number}",
            type=kind,
            payment_id=f"pay_d{self._run}_{number}",
            membership_id=f"mem_d_{member.number}",
            user_id=f"user_{member.number}",
            company_id=member.company_id,
            amount=member.price_cents,
            created_at=at,
            failure_reason=reason,
        )
