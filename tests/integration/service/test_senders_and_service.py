"""The senders against the service itself: the accounting holds while they send, after a kill, and through a fault."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from live_service import CRON_SECRET, SECRET, Deploy

from toolkit.clock import wait_until
from toolkit.drill.ledger import account, downtime, reading, record_baseline, totals
from toolkit.drill.schema import MIGRATIONS, migrate_up, seed
from toolkit.lifeline import Lifeline, spawn

Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def ledger(tmp_path: Path, owner: psycopg.Connection) -> Path:
    """A ledger with the baseline of a seeded schema."""
    migrate_up(owner, 8)
    seed(owner, seed=1, events=500, cases=100)
    path = tmp_path / "ledger.sqlite"
    record_baseline(path, owner)
    return path


@pytest.fixture
def start(ledger: Path, tmp_path: Path, lifeline: Lifeline) -> Iterator[Start]:
    """Start the senders on a service's address. They end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(url: str) -> "subprocess.Popen[bytes]":
        config = tmp_path / "senders.json"
        secrets = {"webhook_secret_env": "A_SECRET", "cron_secret_env": "B_SECRET"}
        rates = {"webhooks_per_s": 100, "reads_per_s": 10, "cron_every_s": 0.5}
        config.write_text(json.dumps({"service_url": url, "ledger": str(ledger), "seed": 3, **secrets, **rates}))
        environment = os.environ | {"A_SECRET": SECRET.get_secret_value(), "B_SECRET": CRON_SECRET}
        argv = [sys.executable, "-m", "toolkit.drill.senders", config]
        started.append(spawn(argv, lifeline=lifeline, env=environment, stdout=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for_events(ledger: Path, count: int) -> None:
    wait_until(lambda: totals(ledger).acknowledged >= count, within=30, what=f"{count} acknowledged events")


def test_the_accounting_holds_at_any_moment_and_after_kill_9(
    start: Start, deploy: Deploy, ledger: Path, owner: psycopg.Connection
) -> None:
    process = start(str(deploy(8).client.base_url))
    for count in (1, 50, 100, 150, 200):
        wait_for_events(ledger, count)
        assert account(ledger, owner).faults == {}
    process.kill()
    process.wait()
    accounting = account(ledger, owner)
    assert accounting.valid
    assert accounting.acknowledged.count >= 200
    assert totals(ledger).failed == 0

    with reading(ledger) as book:
        (closed,) = book.execute(
            "SELECT membership FROM events WHERE type = 'payment_succeeded' AND acknowledged_at IS NOT NULL"
        ).fetchone()
    owner.execute("DELETE FROM recovery_cases WHERE membership_id = %(membership)s", {"membership": closed})
    gone = accounting.acknowledged.examples[-1]
    owner.execute("DELETE FROM events WHERE whop_event_id = %(gone)s", {"gone": gone})
    after = account(ledger, owner)
    assert after.lost.examples == (gone,)
    assert after.effects_missing.count >= 1


def test_all_is_delivered_once_a_breaking_migration_is_taken_back(
    start: Start, deploy: Deploy, ledger: Path, owner: psycopg.Connection
) -> None:
    process = start(str(deploy(8).client.base_url))
    wait_for_events(ledger, 50)
    migrate_up(owner, 9)
    wait_until(lambda: totals(ledger).failed >= 40, within=30, what="failures")
    wait_until(lambda: downtime(ledger).degraded_s >= 1, within=30, what="a degraded second")
    owner.execute((MIGRATIONS / "009_classify_failures.down.sql").read_text())
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=30) == 0
    accounting = account(ledger, owner)
    assert accounting.faults == {}
    assert accounting.attempted == accounting.acknowledged
    assert accounting.recovered.count == 0
