"""The senders as a process of a test: started, watched through their ledger, ended."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from receiver import CRON_SECRET, WEBHOOK_SECRET

from toolkit.clock import wait_until
from toolkit.drill.ledger import reading, totals
from toolkit.errors import ToolkitError
from toolkit.lifeline import Lifeline, spawn


def start_senders(folder: Path, ledger: Path, line: Lifeline, **settings: object) -> "subprocess.Popen[bytes]":
    config = folder / "senders.json"
    names = {"webhook_secret_env": "TEST_WEBHOOK_SECRET", "cron_secret_env": "TEST_CRON_SECRET"}
    rates = {"webhooks_per_s": 200, "reads_per_s": 10, "cron_every_s": 0.3}
    config.write_text(json.dumps({"ledger": str(ledger), "seed": 1, **names, **rates, **settings}))
    environment = {**os.environ, "TEST_WEBHOOK_SECRET": WEBHOOK_SECRET, "TEST_CRON_SECRET": CRON_SECRET}
    argv = [sys.executable, "-m", "toolkit.drill.senders", config]
    return spawn(argv, lifeline=line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]", ending: signal.Signals, within: float = 20) -> None:
    """Ask the senders to end, and see that they do so without a word of complaint."""
    process.send_signal(ending)
    _, complaints = process.communicate(timeout=within)
    assert (process.returncode, complaints) == (0, b"")


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with reading(path) as book:
        return book.execute(sql).fetchall()


def wait_for_events(path: Path, count: int) -> None:
    def there() -> bool:
        with suppress(ToolkitError):  # the file is there a moment before its tables
            return totals(path).events >= count
        return False

    wait_until(there, within=60, what=f"{count} events")


def in_trouble(event: str, seen: int) -> str:
    """Each event meets its own trouble, twice at most."""
    troubles = ("ok", "error", "stored_error", "late", "drop", "broken", "ok")
    return troubles[int(event.rpartition("_")[2]) % len(troubles)] if seen <= 2 else "ok"
