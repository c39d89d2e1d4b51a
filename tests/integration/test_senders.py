"""The senders as a process, against a receiver that fails in every way, and against the service itself."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from receiver import CRON_SECRET, WEBHOOK_SECRET, Receiver
from sending import finish, in_trouble, query, start_senders, wait_for_events

from toolkit.clock import wait_until
from toolkit.drill.ledger import Ledger, downtime, reading, totals
from toolkit.drill.senders import traffic
from toolkit.drill.senders.caller import Caller
from toolkit.lifeline import Lifeline

Senders = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    found.start()
    yield found
    found.stop()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def senders(tmp_path: Path, ledger: Path, lifeline: Lifeline) -> Iterator[Senders]:
    """Start the senders with these settings. Returns when they say that they are ready, unless told not to wait."""
    started: list[subprocess.Popen[bytes]] = []

    def start(line: Lifeline = lifeline, ready: bool = True, **settings: object) -> "subprocess.Popen[bytes]":
        process = start_senders(tmp_path, ledger, line, **settings)
        started.append(process)
        if ready:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"ready": True}
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, lifeline: Lifeline) -> Iterator[tuple[Receiver, Path]]:
    """A receiver and a ledger after a run through every kind of trouble that was ended by SIGUSR1."""
    folder = tmp_path_factory.mktemp("troubled")
    receiver, ledger = Receiver(), folder / "ledger.sqlite"
    receiver.decide = in_trouble
    receiver.start()
    process = start_senders(folder, ledger, lifeline, service_url=receiver.url)
    try:
        wait_for_events(ledger, 400)
        finish(process, signal.SIGUSR1)
    finally:
        process.kill()
        receiver.stop()
    yield receiver, ledger


def test_everything_is_acknowledged_in_the_end(troubled: tuple[Receiver, Path]) -> None:
    receiver, ledger = troubled
    assert totals(ledger).events == totals(ledger).acknowledged >= 400
    assert set(receiver.stored) == {row[0] for row in query(ledger, "SELECT id FROM events")}
    assert query(ledger, "SELECT ending FROM runs") == [("drained",)]


def test_a_retry_is_the_same_body_signed_and_dated_anew(troubled: tuple[Receiver, Path]) -> None:
    receiver, ledger = troubled
    assert query(ledger, "SELECT max(n) FROM attempts") >= [(3,)]
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
    assert receiver.faults == []
    for event, attempt, sent_us in query(ledger, "SELECT event_id, n, sent_at FROM attempts"):
        stamp = receiver.stamps.get((event, attempt))
        assert stamp is None or abs(stamp - sent_us / 1e6) <= 1.5, "each try says when it was sent, not the first"


def test_the_ledger_and_the_receiver_count_the_same_attempts(troubled: tuple[Receiver, Path]) -> None:
    receiver, ledger = troubled
    assert dict(query(ledger, "SELECT event_id, count(*) FROM attempts GROUP BY event_id")) == dict(receiver.seen)
    other = query(ledger, "SELECT count(*) FROM requests WHERE kind <> 'webhook' AND status = 200")
    assert other == [(len(receiver.requests),)]
    errors = {row[0] for row in query(ledger, "SELECT DISTINCT error FROM requests")}
    assert errors == {None, "RemoteProtocolError"}
    assert query(ledger, "SELECT DISTINCT deployment FROM requests WHERE status IS NOT NULL") == [("dpl_test",)]


def test_an_acknowledged_event_comes_again_now_and_then(troubled: tuple[Receiver, Path]) -> None:
    _, ledger = troubled
    again = """
        SELECT count(*)
        FROM attempts
        JOIN events ON events.id = event_id
        WHERE sent_at > events.acknowledged_at
    """
    assert query(ledger, again) > [(0,)]


def test_a_success_is_sent_only_after_its_failures_were_acknowledged(troubled: tuple[Receiver, Path]) -> None:
    receiver, ledger = troubled
    successes = query(ledger, "SELECT count(*) FROM events WHERE type = 'payment_succeeded'")
    assert successes > [(40,)]
    too_early = """
        SELECT success.id
        FROM events AS success
        JOIN events AS failure ON failure.membership = success.membership AND failure.type = 'payment_failed'
        WHERE success.type = 'payment_succeeded'
          AND failure.acknowledged_at >= success.first_attempt_at
    """
    assert query(ledger, too_early) == []
    stored = defaultdict(list)
    for event in receiver.stored.values():
        stored[event["data"]["membership_id"]].append(event["type"])
    assert not [
        kinds for kinds in stored.values() if "payment_succeeded" in kinds[:-1] or kinds[0] == "payment_succeeded"
    ]


def test_readers_and_the_cron_caller_come_too(receiver: Receiver, senders: Senders, ledger: Path) -> None:
    process = senders(service_url=receiver.url, reads_per_s=100)
    wait_until(
        lambda: (
            {"/dashboard", "/api/dashboard/kpis", "/api/dashboard/cases", "/api/scheduler/reminders"}
            <= {path for _, path, _ in receiver.requests}
        ),
        within=20,
        what="every kind of request",
    )
    finish(process, signal.SIGTERM)
    by_path = {path: (method, headers) for method, path, headers in receiver.requests}
    assert by_path["/dashboard"][0] == "GET"
    method, headers = by_path["/api/scheduler/reminders"]
    assert (method, headers["authorization"]) == ("POST", f"Bearer {CRON_SECRET}")
    names = [headers["x-request-id"] for _, _, headers in receiver.requests]
    assert len(set(names)) == len(names)
    assert query(ledger, "SELECT count(*) FROM requests WHERE path LIKE '%?%'") == [(0,)]


def test_a_refusing_service_costs_nothing_but_time(receiver: Receiver, senders: Senders, ledger: Path) -> None:
    process = senders(service_url=receiver.url)
    wait_for_events(ledger, 20)
    receiver.stop()
    wait_until(
        lambda: query(ledger, "SELECT count(*) FROM attempts WHERE error = 'ConnectError'") > [(100,)],
        within=20,
        what="refused attempts",
    )
    wait_until(lambda: downtime(ledger).downtime_s, within=20, what="downtime")
    receiver.start()
    finish(process, signal.SIGUSR1)
    assert totals(ledger).events == totals(ledger).acknowledged == len(receiver.stored)


def test_a_hanging_service_does_not_pile_up_requests(receiver: Receiver, senders: Senders, ledger: Path) -> None:
    receiver.decide = lambda _event, _seen: "hang"
    process = senders(service_url=receiver.url)
    wait_until(
        lambda: query(ledger, "SELECT count(*) FROM attempts WHERE error = 'ReadTimeout'") > [(40,)],
        within=20,
        what="timeouts",
    )
    under_way_at_once = """
        SELECT max((SELECT count(*)
                    FROM requests AS other
                    WHERE other.kind = 'webhook' AND other.at <= one.at AND ifnull(other.answered_at > one.at, true)))
        FROM requests AS one
    """
    assert query(ledger, under_way_at_once) == [(traffic.WEBHOOK_CONNECTIONS,)]
    receiver.decide = lambda _event, _seen: "ok"
    receiver.released.set()
    finish(process, signal.SIGUSR1)
    assert totals(ledger).events == totals(ledger).acknowledged == len(receiver.stored)
    assert downtime(ledger).downtime_s >= 4


def test_sigterm_ends_at_once_whatever_hangs(receiver: Receiver, senders: Senders, ledger: Path) -> None:
    receiver.decide = lambda _event, _seen: "hang"
    process = senders(service_url=receiver.url)
    wait_until(lambda: receiver.under_way >= 20, within=20, what="hanging requests")
    finish(process, signal.SIGTERM, within=15)
    assert query(ledger, "SELECT ending FROM runs") == [("stopped",)]
    assert totals(ledger).acknowledged == 0


def test_the_end_of_the_parent_ends_the_senders(receiver: Receiver, senders: Senders) -> None:
    line = Lifeline.create()
    process = senders(line=line, service_url=receiver.url)
    line.cut()
    assert process.wait(timeout=60) == 0


def test_what_never_succeeds_is_given_up(
    receiver: Receiver, tmp_path: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, to shorten the 20 seconds."""
    monkeypatch.setattr(traffic, "DRAIN_S", 5.0)  # time enough on a busy machine for all the others
    receiver.decide = lambda event, _seen: "error" if event == "evt_d0_0" else "ok"
    config = traffic.SendersConfig(
        service_url=receiver.url, webhook_secret_env="A", cron_secret_env="B", ledger=ledger, seed=1, webhooks_per_s=200
    )

    async def send() -> None:
        with Ledger(ledger) as book:
            async with Caller(receiver.url, 64) as caller:
                run = traffic.Traffic(config, SecretStr(WEBHOOK_SECRET), SecretStr(CRON_SECRET), book, caller)
                asyncio.get_running_loop().call_later(0.5, run.drain)
                await run.run()

    asyncio.run(send())
    assert query(ledger, "SELECT ending FROM runs") == [("gave_up",)]
    assert query(ledger, "SELECT id FROM events WHERE acknowledged_at IS NULL") == [("evt_d0_0",)]
    assert totals(ledger).events > 20


def test_kill_9_leaves_a_ledger_that_can_be_read_and_written_on(
    receiver: Receiver, senders: Senders, ledger: Path
) -> None:
    receiver.decide = in_trouble
    process = senders(service_url=receiver.url)
    wait_for_events(ledger, 100)
    process.kill()
    process.wait()
    stored = set(receiver.stored)
    attempted = {row[0] for row in query(ledger, "SELECT id FROM events")}
    acknowledged = {row[0] for row in query(ledger, "SELECT id FROM events WHERE acknowledged_at IS NOT NULL")}
    assert acknowledged <= stored <= attempted
    assert query(ledger, "SELECT ending FROM runs") == [(None,)]

    again = senders(service_url=receiver.url)
    wait_until(lambda: totals(ledger).events > len(attempted) + 20, within=20, what="new events")
    finish(again, signal.SIGUSR1)
    assert query(ledger, "SELECT run, ending FROM runs") == [(0, None), (1, "drained")]
    assert receiver.faults == []


# Wrong use


def told(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    _, complaints = process.communicate(timeout=20)
    return process.returncode, complaints.decode()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"cron_secret_env": "NO_SUCH_SECRET"}, "NO_SUCH_SECRET is not set"),
        ({"web_hooks_per_s": 1}, "web_hooks_per_s"),
    ],
)
def test_wrong_settings_are_named(senders: Senders, setting: dict[str, object], complaint: str) -> None:
    status, text = told(senders(ready=False, service_url="http://127.0.0.1:1", **setting))
    assert (status, "Traceback" in text) == (2, False)
    assert complaint in text


def test_a_ledger_that_cannot_be_opened_is_told(senders: Senders, receiver: Receiver, ledger: Path) -> None:
    ledger.mkdir()
    status, text = told(senders(ready=False, service_url=receiver.url))
    assert (status, "Traceback" in text) == (1, False)
    assert "ledger cannot be written" in text
    assert not receiver.seen


def test_without_a_ledger_nothing_more_is_sent(senders: Senders, receiver: Receiver, ledger: Path) -> None:
    process = senders(service_url=receiver.url)
    wait_for_events(ledger, 20)
    with contextlib.closing(sqlite3.connect(ledger, timeout=10)) as book:
        book.execute("ALTER TABLE requests RENAME TO taken_away")
    status, text = told(process)
    assert (status, "Traceback" in text) == (1, False)
    assert "ledger cannot be written" in text
    with reading(ledger) as book:
        assert book.execute("SELECT count(*) FROM taken_away WHERE kind = 'webhook'").fetchone() >= (20,)
        attempted = {row[0] for row in book.execute("SELECT id FROM events")}
    assert set(receiver.stored) <= attempted
