"""What the senders tell and in which order they tell it, without a wire."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from toolkit.adapters.webhook import WebhookEvent
from toolkit.drill.senders.outbox import LONGEST_BACKOFF_S, Delivery, Outbox, RetryBudget
from toolkit.drill.senders.story import MEMBERS_PER_RUN, REASON_WEIGHTS, REASONS, Story

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def tell(seed: int = 1, run: int = 0, events: int = 5_000, companies: int = 20) -> list[WebhookEvent]:
    story = Story(seed, run, companies)
    return [story.next(NOON + timedelta(seconds=number)) for number in range(events)]


def test_a_seed_tells_one_story() -> None:
    assert [event.body() for event in tell(seed=7)] == [event.body() for event in tell(seed=7)]
    assert [event.body() for event in tell(seed=7)] != [event.body() for event in tell(seed=8)]


def test_a_second_run_on_the_same_ledger_repeats_no_id_and_no_member() -> None:
    first, second = tell(run=0), tell(run=1)
    assert not {event.id for event in first} & {event.id for event in second}
    assert not {event.membership_id for event in first} & {event.membership_id for event in second}
    assert len({event.id for event in first}) == len(first)
    assert max(int(event.user_id.removeprefix("user_")) for event in first) < MEMBERS_PER_RUN


def test_types_and_reasons_come_as_often_as_they_should() -> None:
    events = tell(events=20_000)
    types = Counter(event.type for event in events)
    assert types["payment_failed"] / len(events) == pytest.approx(0.45, abs=0.02)
    assert types["payment_succeeded"] / len(events) == pytest.approx(0.30, abs=0.02)
    assert types["membership_activated"] / len(events) == pytest.approx(0.15, abs=0.02)
    assert types["membership_deactivated"] / len(events) == pytest.approx(0.10, abs=0.02)
    reasons = Counter(event.failure_reason for event in events if event.type == "payment_failed")
    for reason, weight in zip(REASONS, REASON_WEIGHTS, strict=True):
        assert reasons[reason] / types["payment_failed"] == pytest.approx(weight / 100, abs=0.02)
    assert {event.failure_reason for event in events if event.type != "payment_failed"} == {None}
    assert {event.company_id for event in events} == {f"biz_{number:02}" for number in range(20)}


def test_a_success_ends_what_is_heard_of_a_membership() -> None:
    """The accounting rests on this: failures first, one success, and nothing after it."""
    lives: dict[str, list[WebhookEvent]] = defaultdict(list)
    for event in tell(events=20_000):
        lives[event.membership_id].append(event)
    shapes = Counter(tuple(event.type for event in life) for life in lives.values())
    for shape in shapes:
        failures = [kind for kind in shape if kind == "payment_failed"]
        rest = shape[len(failures) :]
        assert shape[: len(failures)] == tuple(failures)
        assert rest in ((), ("payment_succeeded",)) if failures else shape[0] == "membership_activated"
    assert shapes["payment_failed", "payment_failed", "payment_succeeded"] > 0
    for life in lives.values():
        assert len({(event.company_id, event.user_id, event.amount) for event in life}) == 1


# The outbox


def event(name: str, membership: str | None = None) -> WebhookEvent:
    return WebhookEvent(name, "payment_failed", "pay", membership or f"mem_{name}", "user", "biz_00", 900, NOON)


def outbox(retries_per_s: float = 100, capacity: int = 100, rng: random.Random | None = None) -> Outbox:
    return Outbox(rng or NoDuplicates(), retries_per_s, capacity)


class NoDuplicates(random.Random):
    """Never low enough for a duplicate."""

    def random(self) -> float:
        return 0.999


class OnlyDuplicates(random.Random):
    """Always low enough for one."""

    def random(self) -> float:
        return 0.001


def must_take(box: Outbox, now: float) -> Delivery:
    delivery = box.take(now)
    assert delivery is not None
    return delivery


def test_an_acknowledged_event_is_done_with() -> None:
    box = outbox()
    box.add(event("a"))
    box.settle(must_take(box, 0), acknowledged=True, now=0.1)
    assert (box.unacknowledged, box.take(100), box.wait_s(100)) == (0, None, None)


def test_what_fails_comes_again_later_and_later_up_to_the_cap() -> None:
    box = outbox()
    box.add(event("a"))
    now, pauses = 0.0, []
    for attempt in range(1, 9):
        delivery = must_take(box, now)
        assert (delivery.event.id, delivery.attempts) == ("a", attempt)
        box.settle(delivery, acknowledged=False, now=now)
        pause = box.wait_s(now)
        assert pause is not None
        assert box.take(now + pause * 0.99) is None
        now, pauses = now + pause, [*pauses, pause]
    assert box.unacknowledged == 1
    for attempt, pause in enumerate(pauses):
        longest = min(LONGEST_BACKOFF_S, 0.5 * 2**attempt)
        assert longest / 2 <= pause <= longest + 0.001


def test_events_of_one_membership_go_one_after_the_other() -> None:
    box = outbox()
    for name in ("a", "b", "c"):
        box.add(event(name, "mem_1"))
    box.add(event("other", "mem_2"))
    first, other = must_take(box, 0), must_take(box, 0)
    assert (first.event.id, other.event.id, box.take(0)) == ("a", "other", None)
    box.settle(first, acknowledged=False, now=0)
    assert must_take(box, 10).event.id == "a"
    box.settle(first, acknowledged=True, now=10)
    second = must_take(box, 10)
    assert second.event.id == "b"
    assert box.take(10) is None
    box.settle(second, acknowledged=True, now=11)
    assert must_take(box, 11).event.id == "c"
    assert box.unacknowledged == 2


def test_new_events_do_not_wait_for_retries() -> None:
    box = outbox()
    box.add(event("old"))
    box.settle(must_take(box, 0), acknowledged=False, now=0)
    box.add(event("new"))
    assert [must_take(box, 10).event.id, must_take(box, 10).event.id] == ["new", "old"]


def test_a_duplicate_of_an_acknowledged_event_goes_once() -> None:
    box = outbox(rng=OnlyDuplicates())
    box.add(event("a"))
    box.settle(must_take(box, 0), acknowledged=True, now=0)
    assert box.unacknowledged == 0
    again = must_take(box, 10)
    assert (again.event.id, again.attempts) == ("a", 2)
    box.settle(again, acknowledged=False, now=10)
    assert (box.take(100), box.unacknowledged) == (None, 0)


def test_a_full_outbox_says_so() -> None:
    box = outbox(capacity=2)
    box.add(event("a"))
    assert not box.full
    box.add(event("b"))
    assert box.full
    box.settle(must_take(box, 0), acknowledged=True, now=0)
    assert not box.full


def retry_everything(box: Outbox, now: float, acknowledged: bool) -> int:
    count = 0
    while (delivery := box.take(now)) is not None:
        box.settle(delivery, acknowledged, now)
        count += 1
    return count


def test_an_outage_does_not_become_a_storm_and_recovery_is_quick() -> None:
    box = outbox(retries_per_s=20, capacity=5_000)
    for number in range(2_000):
        box.add(event(f"e{number}"))
    assert retry_everything(box, 0, acknowledged=False) == 2_000
    retries = sum(retry_everything(box, 10 + tick / 10, acknowledged=False) for tick in range(600))
    assert 60 * 20 - 20 <= retries <= 60 * 20 + 20
    delivered = sum(retry_everything(box, 80 + tick / 10, acknowledged=True) for tick in range(20))
    assert delivered == 2_000


@pytest.mark.parametrize("per_second", [0.5, 1, 20])
def test_the_budget_says_how_long_to_wait(per_second: float) -> None:
    budget = RetryBudget(per_second)
    while budget.take(0):
        pass
    wait = budget.wait_s(0)
    assert 0 < wait <= 1 / per_second
    assert not budget.take(wait * 0.9)
    assert budget.take(wait * 1.1)
